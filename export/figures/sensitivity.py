"""What each layer's quantization costs: one layer at a time on its grids, all others in float."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from export.console.page import Table
from qtorch.capture.call_form import tensors_in
from qtorch.capture.samples import Samples, called, chunks
from qtorch.network.calibration import in_mode, set_mode
from qtorch.network.mode import Mode
from qtorch.network.quantized_op import QuantizedOp
from qtorch.progress import steps
from qtorch.surroundings import evaluating

__all__ = ["LayerCost", "layer_costs", "sensitivity_table"]

#: Samples that a network computes at a time.
_CHUNK = 512


@dataclass(frozen=True)
class LayerCost:
    """One layer quantized: its weights, and its inputs' and outputs' grids.

    Attributes:
        name: of the layer; ``"(none)"`` and ``"(all)"`` for the float network and the quantized one.
        op: its row's name.
        bits: of weights and activations, as ``"w4 a8"``.
        noise: power of the output's error over the float output's power, 0 or more.
        figures: the task's figures.
    """

    name: str
    op: str
    bits: str
    noise: float
    figures: dict[str, float]


@contextmanager
def _only(op: QuantizedOp) -> Iterator[None]:
    """One op of a float network on its grids, with what it reads and what it gives; all else sees real numbers."""

    def take(mode: Mode) -> None:
        for each in (op, op.output, *op.sources.values()):
            each.mode = mode  # type: ignore[assignment]

    def enter(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        take(Mode.QUANTIZED)
        return tuple(source.steps_of(x) for source, x in zip(op.sources.values(), inputs, strict=True))

    def leave(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        real = op.output.real(output)
        take(Mode.FLOAT)
        return real

    hooks = op.register_forward_pre_hook(enter), op.register_forward_hook(leave)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def layer_costs(
    network: fx.GraphModule, x: Samples, figures: Callable[[Tensor], dict[str, float]] = lambda output: {}
) -> list[LayerCost]:
    """The cost of every layer with weights, the dearest first, between the float network's and the quantized one's.

    Args:
        network: prepared and calibrated; left as it was.
        x: inputs, float32 ``[N, ...]``, or a tuple of a network's several.
        figures: of the network's output for ``x``.

    Raises:
        BadConfiguration: the network was not calibrated.
    """
    with evaluating(network), in_mode(network, Mode.FLOAT):
        return _costs(network, x, figures)


def _costs(network: fx.GraphModule, x: Samples, figures: Callable[[Tensor], dict[str, float]]) -> list[LayerCost]:
    """See :func:`layer_costs`; the network comes in FLOAT mode."""
    plain = _output(network, x)
    power = float((plain.to(torch.float64) ** 2).mean()) or 1.0

    def cost(name: str, op: str, bits: str) -> LayerCost:
        output = _output(network, x)
        noise = float(((output.to(torch.float64) - plain) ** 2).mean()) / power
        return LayerCost(name, op, bits, noise, figures(output))

    alone = []
    layers = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, QuantizedOp) and module.has_weight and not module.config.skip
    ]
    for name, module in steps(layers, "quantizing one layer at a time"):
        bits = f"w{module.config.weight_bits} a{module.config.activations.removeprefix('int')}"
        with _only(module):
            alone.append(cost(name, module.row.name, bits))
    none = LayerCost("(none)", "", "float", 0.0, figures(plain))
    set_mode(network, Mode.QUANTIZED)
    return [none, *sorted(alone, key=lambda layer: -layer.noise), cost("(all)", "", "")]


@torch.no_grad()
def _output(network: nn.Module, x: Samples) -> Tensor:
    return torch.cat([tensors_in(called(network, part))[0] for part in chunks(x, _CHUNK)])


def sensitivity_table(costs: Sequence[LayerCost], columns: Sequence[str]) -> Table:
    """One row per layer: noise in dB below the signal, and figures.

    Marked are layers with half of the noise of the whole network, or more: sparing another mends little.
    """
    whole = max((cost.noise for cost in costs if cost.name == "(all)"), default=0.0)
    return Table(
        ("layer", "op", "bits", "noise", *columns),
        "lllr" + "r" * len(columns),
        tuple(
            (cost.name, cost.op, cost.bits, _level(cost.noise), *(_figure(cost, column) for column in columns))
            for cost in costs
        ),
        "what each layer's quantization costs, all others in float",
        frozenset(i for i, cost in enumerate(costs) if cost.name != "(all)" and 0 < whole <= 2 * cost.noise),
    )


def _level(noise: float) -> str:
    return f"{10 * math.log10(noise):.1f} dB" if noise > 0 else "none"


def _figure(cost: LayerCost, column: str) -> str:
    return f"{cost.figures.get(column, float('nan')):.5g}"
