"""Where float arithmetic parts from the device's integers: every op alone, on the inputs that the device gives it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from qtorch.network.calibration import in_mode
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Mode
from qtorch.network.routes import exact_route, fake_route
from qtorch.numbers.functional import codes_on_grid
from qtorch.surroundings import evaluating

__all__ = ["OpAgreement", "agreement"]


@dataclass(frozen=True)
class OpAgreement:
    """One op: the share of its outputs that float arithmetic rounds to the device's code, and the largest distance."""

    layer: str
    op: str
    outputs: int
    exact_share: float
    max_lsb: int


def agreement(network: fx.GraphModule, batches: Iterable[tuple[Tensor, ...]]) -> tuple[OpAgreement, ...]:
    """Every op that rounds, in the order of execution.

    Args:
        network: prepared and calibrated; left as it was.
        batches: float32 inputs.
    """
    ops = {n: m for n, m in network.named_modules() if isinstance(m, QuantizedOp) and not m.row.selects}
    found: dict[str, list[Tensor]] = {}

    def watch(name: str, op: QuantizedOp, inputs: tuple[Tensor, ...]) -> None:
        found.setdefault(name, []).append(_distances(op, inputs).abs().flatten())

    hooks = [
        op.register_forward_pre_hook(lambda module, inputs, name=name: watch(name, module, inputs))
        for name, op in ops.items()
    ]
    try:
        with torch.no_grad(), evaluating(network), in_mode(network, Mode.QUANTIZED):
            for batch in batches:
                network(*batch)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(_summary(name, ops[name], torch.cat(parts)) for name, parts in found.items())


def _distances(op: QuantizedOp, inputs: tuple[Tensor, ...]) -> Tensor:
    """How many steps of the output's grid FAKE mode lies from the device's integers, int64."""
    exact, grid = exact_route(op, *inputs), op.output.grid
    fake = exact if op.row.fake_exactly else fake_route(op, *inputs)
    return codes_on_grid(fake, grid) - codes_on_grid(exact, grid)


def _summary(name: str, op: QuantizedOp, distances: Tensor) -> OpAgreement:
    share = float((distances == 0).double().mean())
    return OpAgreement(name, op.row.name, distances.numel(), share, int(distances.max()))
