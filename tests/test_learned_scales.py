"""Networks with learned scales and with every observer: gradients, training, checkpoints, export."""

from __future__ import annotations

import copy

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor, fx, nn
from torch.utils.data import DataLoader, TensorDataset

import qtorch
from qtorch import Mode
from qtorch.calibration import observe_in_training
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.regression import Regression
from qtorch.straight_through import learned_step, lsq_gradient_scale


def perceptron() -> nn.Sequential:
    """3-8-2, from seed 0."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))


def calibrated(net: nn.Module, x: Tensor, **config: object) -> fx.GraphModule:
    """``net`` prepared and calibrated on ``x``."""
    qat = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(**config))  # type: ignore[arg-type]
    qtorch.calibrate(qat, [x])
    return qat


@pytest.mark.parametrize("weights", ["per_channel", "per_tensor"])
def test_a_weight_s_scale_has_lsq_s_gradient(weights: str) -> None:
    qat = calibrated(nn.Linear(3, 4), torch.rand(50, 3), scales="lsq", weights=weights)
    op = next(m for m in qat.modules() if isinstance(m, qtorch.QuantizedOp))
    constants, _ = op._fake_constants()
    constants["weight"].square().sum().backward()
    scale = op.log_weight_scale.detach().exp().requires_grad_()
    axis = 0 if weights == "per_channel" else None
    learned_step(op.weight.detach(), scale, torch.zeros(()), -127, 127, axis, even=True).square().sum().backward()
    assert scale.grad is not None
    assert op.log_weight_scale.grad is not None
    factor = lsq_gradient_scale(12 // scale.numel(), 127)
    torch.testing.assert_close(op.log_weight_scale.grad, scale.grad * factor * scale.detach())


@pytest.mark.parametrize("scales", ["lsq", "lsq+", "pact"])
@pytest.mark.parametrize("mode", [Mode.FLOAT, Mode.FAKE, Mode.EXACT])
def test_every_parameter_gets_a_gradient(scales: str, mode: Mode) -> None:
    """In float training too: processes that average gradients wait for one of every parameter."""
    x = torch.rand(64, 3)
    qat = calibrated(perceptron(), x, scales=scales)
    qtorch.set_mode(qat, mode)
    qat(x).square().sum().backward()
    for name, parameter in qat.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


@pytest.mark.parametrize(("scales", "moves"), [("measured", True), ("lsq", False)])
def test_learned_scales_do_not_follow_the_observer(scales: str, moves: bool) -> None:
    x = torch.rand(64, 3)
    qat = calibrated(perceptron(), x, scales=scales)
    qtorch.set_mode(qat, Mode.FAKE)
    observe_in_training(qat, True)
    before = [float(q.scale) for q in qtorch.quantizers(qat).values()]
    qat.train()(5 * x)
    after = [float(q.scale) for q in qtorch.quantizers(qat).values()]
    assert all((a != b) == moves for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize(("gradient", "passed"), [("clipped", [0, 1, 0]), ("plain", [0, 1, 1]), ("ewgs", [0, 1, 0])])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6()])
def test_the_estimator_is_that_of_layers_with_weights_too(
    gradient: str, passed: list[int], activation: nn.Module
) -> None:
    """Below zero no estimator undoes the ReLU; above the calibrated range only ``plain`` passes."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 1.27)
    config = {"layers": {"input_1": {"observer": "fixed:-9:9", "gradient": "plain"}}, "gradient": gradient}
    qat = calibrated(nn.Sequential(layer, activation), torch.tensor([[0.0], [2.07]]), **config)
    qtorch.set_mode(qat, Mode.FAKE)
    x = torch.tensor([[-1.0], [1.0], [4.0]], requires_grad=True)
    qat(x).sum().backward()
    assert x.grad is not None
    shares = (x.grad / layer.weight.detach()).flatten()
    assert shares.round().tolist() == passed
    assert (float(shares[1]) == 1) == (gradient != "ewgs")


class Line(Regression):
    """Sums of three features, learned by :func:`perceptron`."""

    def __init__(self) -> None:
        super().__init__(perceptron(), 3)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Two batches of 32."""
        x = torch.rand(64, 3)
        return DataLoader(TensorDataset(x, x.sum(1, keepdim=True).repeat(1, 2)), 32)


def test_averages_of_learned_scales_begin_where_they_were_calibrated() -> None:
    """Not at those of float training, which mean nothing."""
    module = Line()
    qat = QuantizationAwareTraining(start=2, scales="lsq+")
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=[qat, EMAWeightAveraging(decay=0.99)],
        max_epochs=3,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(module)
    x = torch.rand(64, 3)
    with torch.no_grad():
        fake = module.net(x)
        qtorch.set_mode(module.net, Mode.FLOAT)
        real = module.net(x)
    assert float((fake - real).abs().max()) < 0.5 * float(real.abs().max())


def test_a_copy_has_grids_of_its_own() -> None:
    """What is kept of a grid for speed must not outlive it: a copy's tensors count their changes anew."""
    x = torch.rand(64, 3)
    qat = calibrated(perceptron(), x)
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.FAKE)
    qat(x)
    copied, anew = copy.deepcopy(qat), calibrated(perceptron(), 9 * x)
    qtorch.calibrate(copied, [9 * x])
    for net in (copied, anew):
        qtorch.set_mode(net, Mode.FAKE)
    assert torch.equal(copied(9 * x), anew(9 * x))
