"""The forward pass of training against the exported file in TFLite Micro: the same codes at every step.

Networks drawn at random, batch norms frozen and dropout off, are trained for some steps, each of which moves weights by
several codes. Before a step the very pass whose gradients it takes is held against a file of the same weights; the
gradients must be finite. Forty networks always, a thousand with ``-m sweep``; ``QTORCH_TRAINED_NETWORKS`` says how many
are drawn instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

import qtorch
from export.engines.tflm import TFLM
from export.graph.build import integer_graph
from export.graph.encoding import codes_of
from export.graph.ir import Graph
from export.parity.outputs import corner_codes
from export.tflite.writer import write_tflite
from qtorch import Mode, QuantizationConfig
from qtorch.capture.call_form import tensors_in
from qtorch.errors import BadInput
from qtorch.numbers.rescaled_sums import rescale_and_hold
from qtorch.numbers.rescaling import rescaling
from qtorch.numbers.straight_through import Ends
from tests.random_drawing import FURTHER, draw
from tests.random_networks import Program, shrink
from tests.test_random_networks import CONFIGURATIONS

#: Some write behind dropout, which is another tensor in training.
pytestmark = pytest.mark.filterwarnings("ignore:prepare. in training the network computes something else")

COUNT = int(os.environ.get("QTORCH_TRAINED_NETWORKS", "1000"))
#: Those beyond are no other kind of network: a sweep draws them, and whoever says how many.
ALWAYS = COUNT if "QTORCH_TRAINED_NETWORKS" in os.environ else 40
CHUNK = 10
STEPS = 4

#: Half of the networks have the default; the others what a layer can be told, and each way to learn scales.
TRAINED = dict(enumerate(CONFIGURATIONS.values())) | {
    5: QuantizationConfig(scales="lsq"),
    6: QuantizationConfig(scales="lsq+"),
    7: QuantizationConfig(scales="pact", weight_bits=4),
    8: QuantizationConfig(gradient="ewgs"),
    9: QuantizationConfig(gradient="plain", observer="mse", weight_observer="mse"),
}


#: A network, and its inputs.
Trainable = tuple[qtorch.QuantizedNetwork, tuple[Tensor, ...]]


@dataclass(frozen=True)
class Step:
    """One step's forward pass against the file.

    Attributes:
        outputs: how many codes were compared.
        wrong: how many differ.
        most: the largest difference, in codes.
        constants: of the file, all in a row.
    """

    outputs: int
    wrong: int
    most: int
    constants: np.ndarray


def trainable(program: Program, config: QuantizationConfig | None) -> Trainable:
    """A network that trains as the device computes, and its inputs: samples, and a few of any codes."""
    data = program.data(8)
    qat = qtorch.prepare(program.build(), tuple(x[:1].clone() for x in data), config)
    qtorch.calibrate(qat, [data])
    graph = integer_graph(qat)
    drawn = [torch.from_numpy(graph.decode(*each)) for each in zip(graph.inputs, any_codes(graph), strict=True)]
    qtorch.set_mode(qat, Mode.QUANTIZED)
    qtorch.freeze_batch_norm(qat)
    qat.train()
    for module in qat.modules():
        if isinstance(module, _DropoutNd):
            module.eval()
    return qat, tuple(torch.cat(pair) for pair in zip(data, drawn, strict=True))


def any_codes(graph: Graph) -> list[np.ndarray]:
    """Four random samples, without the corners."""
    return [codes[-4:] for codes in corner_codes(graph, 4)]


def compared(graph: Graph, results: Sequence[Tensor], inputs: tuple[Tensor, ...]) -> Step:
    """What a forward pass gave, against the file of ``graph``."""
    codes = codes_of(graph, inputs if len(inputs) > 1 else inputs[0])
    of_file = zip(graph.outputs, results, TFLM.run(write_tflite(graph), codes), strict=True)
    apart = [
        np.abs(graph.encode(name, real.detach().numpy()).astype(np.int64) - expected.astype(np.int64)).ravel()
        for name, real, expected in of_file
    ]
    distances = np.concatenate(apart)
    constants = [value.data.astype(np.int64).ravel() for value in graph.values.values() if value.data is not None]
    wrong, most = int((distances > 0).sum()), int(distances.max(initial=0))
    return Step(distances.size, wrong, most, np.concatenate([*constants, np.empty(0, np.int64)]))


def training(qat: qtorch.QuantizedNetwork, inputs: tuple[Tensor, ...], steps: int = STEPS) -> Iterator[Step]:
    """Steps of gradient descent towards random targets, each compared before it is taken."""
    generator, targets = torch.Generator().manual_seed(0), []
    for _ in range(steps):
        graph = integer_graph(qat)
        results = tensors_in(qat(*(x.clone() for x in inputs)))
        yield compared(graph, results, inputs)
        if not targets:
            spread = [y.detach().std(unbiased=False).clamp_min(1e-3) for y in results]
            noise = [torch.randn(y.shape, generator=generator) for y in results]
            targets = [y.detach() + s * n for y, s, n in zip(results, spread, noise, strict=True)]
        pairs = [(y, t) for y, t in zip(results, targets, strict=True) if y.requires_grad]
        losses = [(y - t).square().mean() / t.square().mean().clamp_min(1e-12) for y, t in pairs]
        if not losses:
            return
        torch.stack(losses).sum().backward()
        descend(qat)


@torch.no_grad()
def descend(net: nn.Module, rate: float = 0.03) -> None:
    """Against each gradient, its largest element by so much of the parameter's largest: some four of 127 codes."""
    for name, parameter in net.named_parameters():
        if parameter.grad is None:
            continue
        assert bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite"
        largest = float(parameter.grad.abs().max())
        if largest:
            size = max(float(parameter.abs().max()), 1e-3)
            parameter.sub_(parameter.grad / largest * (rate * size))
        parameter.grad = None


def outcome(program: Program) -> str:
    """``"equal"``, ``"refused"``, or what went wrong at which step."""
    try:
        qat, inputs = trainable(program, TRAINED.get(program.seed % 20))
        for number, step in enumerate(training(qat, inputs)):
            if step.wrong:
                return f"step {number}: {step.wrong} of {step.outputs} codes differ, by up to {step.most}"
    except (BadInput, OverflowError) as error:
        return f"refused: {error}"
    except (AssertionError, RuntimeError, IndexError, KeyError, ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return "equal"


def seeds(first: int) -> Iterator[int]:
    """Of a chunk's networks, a fifth of them such as write into their inputs and have windows that are no squares."""
    return (seed if seed % 5 else FURTHER + seed for seed in range(first, first + CHUNK))


@pytest.mark.tflm
@pytest.mark.filterwarnings("ignore:layers.* has no effect")
@pytest.mark.parametrize(
    "first",
    [
        pytest.param(first, id=f"from {first}", marks=[] if first < ALWAYS else [pytest.mark.sweep])
        for first in range(0, COUNT, CHUNK)
    ],
)
def test_training_computes_what_the_file_does(first: int) -> None:
    refused = 0
    for program in map(draw, seeds(first)):
        found = outcome(program)
        refused += found.startswith("refused")
        if not found.startswith(("equal", "refused")):
            small = shrink(program, lambda p: not outcome(p).startswith(("equal", "refused")))
            pytest.fail(f"seed {program.seed}: {outcome(small)}\ninputs {small.inputs}\n{small.code()}")
    assert refused <= CHUNK // 2, "most networks drawn should be trained"


@pytest.mark.tflm
@pytest.mark.filterwarnings("ignore:layers.* has no effect")
def test_the_steps_move_codes() -> None:
    """Else each file would be the first one, and the comparison of the others nothing new."""
    with_weights = [p for p in map(draw, range(60)) if any(kind in p.code() for kind in ("Conv2d", "Linear"))]
    moved = 0
    for program in with_weights[:10]:
        qat, inputs = trainable(program, None)
        first, second = training(qat, inputs, steps=2)
        moved += int((first.constants != second.constants).sum())
    assert moved >= 100


def linear() -> Trainable:
    """Trainable, with a batch norm."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(512, 6)
    qat = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    qtorch.freeze_batch_norm(qat)
    return qat.train(), (x,)


@pytest.mark.tflm
@pytest.mark.parametrize("by", [1, -1])
def test_a_code_in_another_place_is_found(by: int) -> None:
    """One weight of the file's last layer moved by one code."""
    qat, inputs = linear()
    graph = integer_graph(qat)
    results = tensors_in(qat(*inputs))
    assert compared(graph, results, inputs).wrong == 0
    *_, weight = (value.data for value in graph.values.values() if value.dtype == "int8" and value.data is not None)
    weight.flat[0] += by if abs(int(weight.flat[0]) + by) < 128 else -by
    assert compared(graph, results, inputs).wrong > 0


@pytest.mark.tflm
def test_it_is_the_training_pass_that_is_compared() -> None:
    """Dropout, which no device has, shows."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)), torch.randn(64, 6)
    qat = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    assert next(training(qat.train(), (x,))).wrong > 0
    assert next(training(qat.eval(), (x,))).wrong == 0


@pytest.mark.parametrize("axis", [1, 3])
def test_one_factor_for_all_channels_is_as_exact_as_one_for_each(axis: int) -> None:
    """Numbers of a layer with weights per tensor: 156.999994 before what is behind the point goes, 157 in float32."""
    real, sums = float.fromhex("0x1.8a55d3fc00000p-7"), torch.full((2, 3, 4, 3), 13004.0)
    for factor in (torch.tensor(real, dtype=torch.float64), torch.full((3,), real, dtype=torch.float64)):
        steps = rescale_and_hold(sums.clone(), rescaling(factor).along(axis, 4), Ends(0, 255, False))
        assert steps.unique().tolist() == [156.0]
