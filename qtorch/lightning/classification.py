"""Classification: a task whose network maps an input to one number per class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.errors import BadConfiguration
from qtorch.lightning.data import ArrayDataModule
from qtorch.lightning.task import Task
from qtorch.task_figures import CLASSIFICATION, classification_contributions, classification_metrics

__all__ = ["Classification", "classification_metrics"]

#: Half a step of SOFTMAX's output grid: on it a probability may be 0, whose logarithm has no gradient.
_SMALLEST_PROBABILITY = 2.0**-9


class Classification(Task):
    """Float32 ``[N, ...]`` to ``[N, classes]``, trained by cross entropy.

    Args:
        net: ends in logits, or in a softmax if ``probabilities``.
        example: an input batch of one.
        probabilities: whether the network's outputs are probabilities.
        learning_rate: at the start of float training.
        qat_learning_rate: at the start of quantized training.
    """

    columns: ClassVar[tuple[str, ...]] = CLASSIFICATION.columns
    better: ClassVar[Mapping[str, Literal["higher", "lower"]]] = CLASSIFICATION.better

    def __init__(
        self,
        net: nn.Module,
        example: Tensor,
        probabilities: bool = False,
        learning_rate: float = 1e-2,
        qat_learning_rate: float = 1e-3,
    ) -> None:
        super().__init__(net, example, learning_rate, qat_learning_rate)
        self.probabilities = probabilities

    def on_fit_start(self) -> None:
        """Refuse data with more or fewer classes than the network has outputs.

        Raises:
            BadConfiguration: so it is.
        """
        data: Any = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, ArrayDataModule):
            return
        target = data.arrays.train[1]
        classes = max(int(target.max()) + 1, len(data.arrays.interface.outputs))
        with torch.no_grad():
            outputs = self.net.eval()(self.example_input_array).shape[1]
        self.net.train()
        if classes != outputs:
            raise BadConfiguration(
                where="model.classes",
                expected=f"{classes}, as many as the data has",
                got=f"{outputs}",
                remedy=f"set --model.classes {classes}",
            )

    def objective(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy."""
        if self.probabilities:
            return F.nll_loss(torch.log(output + _SMALLEST_PROBABILITY), target)
        return F.cross_entropy(output, target)

    def metrics(self, x: Tensor, output: Tensor, target: Tensor) -> dict[str, float]:
        """See :func:`classification_metrics`."""
        return classification_metrics(output, target)

    def contributions(self, x: Tensor, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """1 for each sample that is right; of the number of errors, the number of samples for each that is wrong."""
        return classification_contributions(output, target)
