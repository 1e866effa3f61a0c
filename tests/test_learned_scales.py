"""Networks with learned scales and with every observer: gradients, training, checkpoints, export."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor, fx, nn
from torch.utils.data import DataLoader, TensorDataset

import qtorch
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch import Mode
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.regression import Regression
from qtorch.network.calibration import observe_in_training
from qtorch.numbers.functional import along
from qtorch.numbers.straight_through import lsq_gradient_scale
from qtorch.ranges.observers import make_observer
from tests.observers import every_observer


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
    steps, grids = op.constants.in_steps()
    axis = 0 if weights == "per_channel" else None
    (steps["weight"] * along(grids["weight"].scale, axis, 2)).square().sum().backward()
    scale = op.log_weight_scale.detach().exp().requires_grad_()
    real = op.weight.detach() / along(scale, axis, 2)
    whole = real.detach().round()
    held = torch.where(whole.abs() > 127, whole.clamp(-127, 127), real + (whole - real).detach())
    (held * along(scale, axis, 2)).square().sum().backward()
    assert scale.grad is not None
    assert op.log_weight_scale.grad is not None
    factor = lsq_gradient_scale(12 // scale.numel(), 127)
    torch.testing.assert_close(op.log_weight_scale.grad, scale.grad * factor * scale.detach())


def only_op(qat: fx.GraphModule) -> qtorch.QuantizedOp:
    """The op of a network of one layer."""
    return next(m for m in qat.modules() if isinstance(m, qtorch.QuantizedOp))


@pytest.mark.parametrize("weights", ["per_channel", "per_tensor"])
@pytest.mark.parametrize("name", ["percentile:90", "mse", "entropy", "lsq", "lsq+", "fixed:-0.3:0.1", "fixed:-9:9"])
def test_a_weight_observer_decides_what_the_highest_code_stands_for(name: str, weights: str) -> None:
    """As a share of the largest magnitude, which then goes on following the weight."""
    torch.manual_seed(0)
    layer = nn.Linear(40, 4)
    nn.init.normal_(layer.weight)
    qat = calibrated(layer, torch.rand(50, 40), weight_observer=name, weights=weights)
    axis = 0 if weights == "per_channel" else None
    observer = make_observer(name, axis, 255, symmetric=True)
    observer.observe(layer.weight.detach())
    low, high = observer.range()
    largest = layer.weight.detach().abs().amax(() if axis is None else 1)
    expected = torch.minimum(torch.maximum(-low, high), largest) / 127
    torch.testing.assert_close(only_op(qat).constants.integers()["weight"].grid.scale, expected)
    with torch.no_grad():
        only_op(qat).get_parameter("weight").mul_(3)
    torch.testing.assert_close(only_op(qat).constants.integers()["weight"].grid.scale, 3 * expected)


@pytest.mark.parametrize("config", [{"weight_observer": "percentile:90"}, {"scales": "lsq"}, {"scales": "lsq+"}])
@pytest.mark.parametrize("weights", ["per_channel", "per_tensor"])
def test_what_training_multiplies_with_is_what_is_exported(weights: str, config: dict[str, str]) -> None:
    qat = calibrated(nn.Linear(400, 4), torch.rand(50, 400), weights=weights, **config)
    op = only_op(qat)
    scale = op.constants.integers()["weight"].grid.scale.flatten()[0]
    with torch.no_grad():
        # A small one on a tie, which does not change what the scale is.
        op.get_parameter("weight")[0, 0] = scale * 2.5
    steps, grids = op.constants.in_steps()
    for role, constant in op.constants.integers().items():
        assert torch.equal(steps[role].detach().to(torch.int64), constant.codes)
        assert torch.equal(grids[role].scale, constant.grid.scale)
    assert int(op.constants.integers()["weight"].codes[0, 0]) == 2


def test_pact_learns_the_upper_end_from_what_lies_beyond_it() -> None:
    """Choi et al., section 3: the gradient of alpha is 1 there, and 0 elsewhere."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    qat = calibrated(nn.Sequential(layer, nn.ReLU()), torch.tensor([[-9.0], [2.0]]), scales="pact")
    qtorch.set_mode(qat, Mode.QUANTIZED)
    quantizer = qtorch.quantizers(qat)["0.quantizer"]
    for inputs, beyond in ([[-3.0], [0.31], [1.7]], 0), ([[-3.0], [0.31], [8.0], [9.0]], 2):
        qat.zero_grad()
        # The input's range is wider than the layer's.
        quantizer.log_scale.data.fill_(-6.0)
        alpha = 255 * float(quantizer.scale) if beyond else 0.0
        if not beyond:
            quantizer.log_scale.data.fill_(0.0)
        qat(torch.tensor(inputs)).sum().backward()
        assert float(quantizer.log_scale.grad) == pytest.approx(beyond * alpha, rel=1e-5)


@pytest.mark.parametrize("scales", ["lsq", "lsq+", "pact"])
@pytest.mark.parametrize("mode", [Mode.FLOAT, Mode.QUANTIZED])
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
    qtorch.set_mode(qat, Mode.QUANTIZED)
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
    qtorch.set_mode(qat, Mode.QUANTIZED)
    x = torch.tensor([[-1.0], [1.0], [4.0]], requires_grad=True)
    qat(x).sum().backward()
    assert x.grad is not None
    (op,) = (each for each in qat.modules() if isinstance(each, qtorch.QuantizedOp))
    shares = (x.grad / op.constants.rounded()["weight"].detach()).flatten()
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
        quantized = module.net(x)
        qtorch.set_mode(module.net, Mode.FLOAT)
        real = module.net(x)
    assert float((quantized - real).abs().max()) < 0.5 * float(real.abs().max())


def test_a_copy_has_grids_of_its_own() -> None:
    """What is kept of a grid for speed must not outlive it: a copy's tensors count their changes anew."""
    x = torch.rand(64, 3)
    qat = calibrated(perceptron(), x)
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    qat(x)
    copied, anew = copy.deepcopy(qat), calibrated(perceptron(), 9 * x)
    qtorch.calibrate(copied, [9 * x])
    for net in (copied, anew):
        qtorch.set_mode(net, Mode.QUANTIZED)
    assert torch.equal(copied(9 * x), anew(9 * x))


class Branches(nn.Module):
    """Two branches of different reach that a concatenation brings onto one grid, and a grid that a kernel fixes."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.last = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        return self.last(torch.cat([a, 3 * torch.relu(self.b(x)), torch.tanh(a)], 1))


def image_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(),
        nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip


def example(net: nn.Module) -> tuple[Tensor, Tensor]:
    """96 inputs of a network from :data:`NETWORKS`, and targets that it can learn."""
    shape = (1, 6, 6) if isinstance(net, nn.Sequential) and isinstance(net[0], nn.Conv2d) else (3,)
    x = torch.randn(96, *shape)
    flat = x.flatten(1)
    return x, torch.stack([flat[:, :3].sum(1), flat[:, 1].abs()], 1)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "perceptron": perceptron,
    "image": image_network,
    "branches": Branches,
}
OBSERVERS = every_observer(moving_average="0.8", percentile="99", fixed="-4:4")
CONFIGS: list[dict[str, Any]] = [
    *({"scales": scales} for scales in ("lsq", "lsq+", "pact")),
    *({"scales": scales, "weights": "per_tensor", "weight_bits": 4} for scales in ("lsq", "lsq+", "pact")),
    *({"scales": scales, "activations": "int16"} for scales in ("lsq", "lsq+", "pact")),
    *({"weight_observer": name} for name in ("percentile:99", "mse", "entropy")),
    *({"weight_observer": name, "weights": "per_tensor"} for name in ("percentile:99", "mse", "entropy")),
    *({"observer": name} for name in OBSERVERS),
    *({"gradient": name} for name in ("plain", "ewgs")),
    {"scales": "lsq+", "gradient": "ewgs", "observer": "percentile:99.9", "weight_observer": "percentile:99"},
]


def train(qat: fx.GraphModule, x: Tensor, target: Tensor, steps: int) -> list[float]:
    """Losses of ``steps`` steps with Adam."""
    optimizer = torch.optim.Adam(qat.parameters(), 1e-2)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (qat(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def activation_scales(qat: fx.GraphModule) -> dict[str, tuple[bool, float]]:
    """Of each quantizer: whether its scale is learned, and the scale."""
    return {n: (q.learned != "measured", float(q.scale)) for n, q in qtorch.quantizers(qat).items()}


def assert_finite_gradients(qat: fx.GraphModule, x: Tensor) -> None:
    qat.zero_grad()
    qat(x).square().mean().backward()
    for name, parameter in qat.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


@pytest.mark.tflm
@pytest.mark.parametrize(
    ("network", "config"),
    [
        # Every configuration with the smallest network, and in turn with the others.
        pytest.param(network, config, marks=[] if network == "perceptron" or (i + j) % 2 == 0 else [pytest.mark.sweep])
        for i, network in enumerate(NETWORKS)
        for j, config in enumerate(CONFIGS)
        if network == "perceptron" or "observer" not in config
    ],
    ids=lambda case: case if isinstance(case, str) else "-".join(map(str, case.values())),
)
@pytest.mark.usefixtures("one_thread")
def test_training_export_and_checkpoint(network: str, config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = NETWORKS[network]()
    x, target = example(net)
    qat = calibrated(net, x, **config).train()
    qtorch.set_mode(qat, Mode.QUANTIZED)
    before = activation_scales(qat)
    losses = train(qat, x, target, 30)
    assert losses[-1] < 0.8 * losses[0]
    for name, (learned, scale) in activation_scales(qat).items():
        assert (scale != before[name][1]) == learned, name
    assert any(learned for learned, _ in before.values()) == ("scales" in config)
    qtorch.freeze_batch_norm(qat)
    qtorch.set_mode(qat, Mode.QUANTIZED)
    assert_finite_gradients(qat, x)
    graph = integer_graph(qat.eval())
    model = write_tflite(graph)
    engines = parity(graph, model, corner_codes(graph, 500), qat, reported=()).engines
    assert engines["tflm"].mismatches == engines["qat_network"].mismatches == 0
    again = qtorch.prepare(NETWORKS[network](), x[:1], qtorch.QuantizationConfig(**config)).eval()
    again.load_state_dict(copy.deepcopy(qat.state_dict()))
    assert write_tflite(integer_graph(again)) == model
    for mode in Mode:
        for each in (qat, again):
            qtorch.set_mode(each, mode)
        with torch.no_grad():
            assert torch.equal(again(x), qat(x)), mode
