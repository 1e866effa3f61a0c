"""What each layer's quantization costs: one layer at a time on its grids, all others in float."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from qtorch.calibration import set_mode
from qtorch.fake_quant import Mode
from qtorch.layers import QuantizedOp

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
def _only(network: fx.GraphModule, op: QuantizedOp) -> Iterator[None]:
    """One op, what it reads and what it gives, as quantized; the rest as float."""
    set_mode(network, Mode.FLOAT)
    own: list[nn.Module] = [op, op.output, *op.sources.values()]
    for module in own:
        module.mode = Mode.FAKE  # type: ignore[assignment]
    try:
        yield
    finally:
        set_mode(network, Mode.FLOAT)


def layer_costs(
    network: fx.GraphModule, x: Tensor, figures: Callable[[Tensor], dict[str, float]] = lambda output: {}
) -> list[LayerCost]:
    """The cost of every layer with weights, the dearest first, between the float network's and the quantized one's.

    Args:
        network: prepared and calibrated; left in FAKE mode.
        x: inputs, float32 ``[N, ...]``.
        figures: of the network's output for ``x``.

    Raises:
        BadConfiguration: the network was not calibrated.
    """
    network.eval()
    set_mode(network, Mode.FLOAT)
    plain = _output(network, x)
    power = float((plain.to(torch.float64) ** 2).mean()) or 1.0

    def cost(name: str, op: str, bits: str) -> LayerCost:
        output = _output(network, x)
        noise = float(((output.to(torch.float64) - plain) ** 2).mean()) / power
        return LayerCost(name, op, bits, noise, figures(output))

    found = []
    for name, module in network.named_modules():
        if isinstance(module, QuantizedOp) and module.has_weight and not module.config.skip:
            bits = f"w{module.config.weight_bits} a{module.config.activations.removeprefix('int')}"
            with _only(network, module):
                found.append(cost(name, module.row.name, bits))
    none = LayerCost("(none)", "", "float", 0.0, figures(plain))
    set_mode(network, Mode.FAKE)
    return [none, *sorted(found, key=lambda layer: -layer.noise), cost("(all)", "", "")]


@torch.no_grad()
def _output(network: nn.Module, x: Tensor) -> Tensor:
    parts = [network(part) for part in x.split(_CHUNK)]
    return torch.cat([part[0] if isinstance(part, tuple) else part for part in parts])


def sensitivity_table(costs: list[LayerCost], columns: tuple[str, ...]) -> str:
    """One line per layer: noise in dB below the signal, and figures."""
    wide = max(len(cost.name) for cost in costs) + 2
    lines = [f"{'layer':{wide}}{'op':20}{'bits':8}{'noise':>10}" + "".join(f"{column:>12}" for column in columns)]
    for cost in costs:
        level = f"{10 * torch.log10(torch.tensor(cost.noise)).item():.1f} dB" if cost.noise > 0 else "none"
        shown = "".join(f"{cost.figures.get(column, float('nan')):12.5g}" for column in columns)
        lines.append(f"{cost.name:{wide}}{cost.op:20}{cost.bits:8}{level:>10}{shown}")
    return "\n".join(lines)
