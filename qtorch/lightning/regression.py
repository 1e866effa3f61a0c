"""A LightningModule for regression with a plain network inside."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics.functional import mean_absolute_error, mean_squared_error, r2_score

from qtorch.errors import BadConfiguration

__all__ = ["Regression", "linear_regression", "regression_metrics"]


def regression_metrics(prediction: Tensor, target: Tensor) -> dict[str, float]:
    """Mean squared and absolute error, root of the former, and R2; any shape, in double precision."""
    p, t = prediction.to(torch.float64).flatten(), target.to(torch.float64).flatten()
    mse = float(mean_squared_error(p, t))
    return {
        "mse": mse,
        "mae": float(mean_absolute_error(p, t)),
        "rmse": math.sqrt(mse),
        "r2": float(r2_score(p, t)),
    }


def linear_regression(train: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
    """Predictions for ``x [N, F]`` of least squares with an intercept, fitted on ``train``: the bar to clear."""

    def design(inputs: Tensor) -> Tensor:
        return torch.cat([inputs.to(torch.float64), torch.ones(len(inputs), 1, dtype=torch.float64)], 1)

    solution = torch.linalg.lstsq(design(train[0]), train[1].to(torch.float64)).solution
    return design(x) @ solution


#: Share of float training during which the learning rate rises.
_WARM_UP = 0.05


class Regression(pl.LightningModule):
    """Trains ``net`` with Adam; the learning rate falls along a half cosine, once per phase.

    It rises first, during 5 % of float training.

    Args:
        net: maps float32 ``[N, F]`` to ``[N, T]``.
        features: ``F``.
        loss: ``"mse"`` or ``"huber"`` (delta 1, in the target's unit).
        learning_rate: at the start of float training.
        qat_learning_rate: at the start of quantized training.
    """

    def __init__(
        self,
        net: nn.Module,
        features: int,
        loss: Literal["mse", "huber"] = "mse",
        learning_rate: float = 1e-2,
        qat_learning_rate: float = 1e-3,
    ) -> None:
        super().__init__()
        for name, rate in (("learning_rate", learning_rate), ("qat_learning_rate", qat_learning_rate)):
            if not 0 < rate < math.inf:
                raise BadConfiguration(
                    where=f"model.{name}", expected="a positive number", got=f"{rate}", remedy="try 0.01"
                )
        self.net = net
        self.example_input_array = torch.zeros(1, features)
        self.loss = nn.HuberLoss() if loss == "huber" else nn.MSELoss()
        self.learning_rate, self.qat_learning_rate = learning_rate, qat_learning_rate

    def forward(self, x: Tensor) -> Tensor:
        """Predictions ``[N, T]`` in the target's unit."""
        return self.net(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch."""
        loss: Tensor = self.loss(self.net(batch[0]), batch[1])
        self.log("loss", loss, prog_bar=True, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Logs ``val_mse``."""
        self.log("val_mse", nn.functional.mse_loss(self.net(batch[0]), batch[1]), prog_bar=True)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Logs ``test_mse`` and ``test_mae``."""
        prediction = self.net(batch[0])
        self.log("test_mse", nn.functional.mse_loss(prediction, batch[1]))
        self.log("test_mae", nn.functional.l1_loss(prediction, batch[1]))

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Predictions of one batch of inputs."""
        return self.net(batch)

    def configure_optimizers(self) -> Any:
        """Adam with the two-phase schedule."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}

    def _rate(self, epoch: int) -> float:
        epochs = int(self.trainer.max_epochs or 1)
        start = min(round(self._qat_start() * epochs), epochs - 1)
        if epoch < start:
            # The first steps towards a distant mean are large; without a warm-up they can leave hidden units dead.
            return _half_cosine(epoch, start) * min(1.0, (epoch + 1) / max(1.0, _WARM_UP * start))
        return self.qat_learning_rate / self.learning_rate * _half_cosine(epoch - start, epochs - start)

    def _qat_start(self) -> float:
        from qtorch.lightning.callback import QuantizationAwareTraining

        found = [c for c in self.trainer.callbacks if isinstance(c, QuantizationAwareTraining)]  # type: ignore[attr-defined]
        return found[0].start if found else 1.0


def _half_cosine(step: int, steps: int) -> float:
    """1 at step 0, falling to 1 % at ``steps``."""
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(step, steps) / max(steps, 1)))
