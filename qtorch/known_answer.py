"""A known answer: one input of a prepared network and what it makes of it, kept to see whether another is the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qtorch.calibration import evaluating, in_mode, quantizers
from qtorch.errors import BadCheckpoint, BadInput
from qtorch.fake_quant import Mode
from qtorch.quantized_network import QuantizedNetwork

__all__ = ["known_answer", "require_known_answer"]

#: How far float outputs may lie apart, as a share of the largest: sums in another order, on another processor.
_FLOAT_TOLERANCE = 1e-3


def known_answer(network: QuantizedNetwork) -> dict[str, Any] | None:
    """Random inputs, a batch of one, and the network's outputs: the device's own numbers where ranges are calibrated.

    Of a network that is not calibrated yet, the float network's. ``None`` where it has none, because its sums overflow.
    """
    generator = torch.Generator().manual_seed(0)
    grids = [each.grid for name, each in quantizers(network).items() if "." not in name and name.endswith("_quantizer")]
    shapes = [(1, *shape[1:]) for shape in network.origin.shapes]
    if network.calibrated and len(grids) == len(shapes):
        # On the grids' own range: beyond it all inputs are alike.
        ends = [_ends(grid) for grid in grids]
    else:
        ends = [(-1.0, 1.0)] * len(shapes)
    inputs = [
        torch.rand(shape, generator=generator) * (high - low) + low
        for shape, (low, high) in zip(shapes, ends, strict=True)
    ]
    try:
        return {"calibrated": network.calibrated, "inputs": inputs, "outputs": _outputs(network, inputs)}
    except (BadInput, ArithmeticError):
        return None


def require_known_answer(network: QuantizedNetwork, answer: dict[str, Any] | None, where: str) -> None:
    """Refuse a network that makes something else of the inputs of :func:`known_answer`.

    Raises:
        BadCheckpoint: so it does; names the first output that differs and both values.
    """
    if answer is None:
        return
    exact = answer["calibrated"] and not network.has_float_layers
    found = _outputs(network, answer["inputs"])
    for index, (expected, got) in enumerate(zip(answer["outputs"], found, strict=False)):
        bound = 0.0 if exact else _FLOAT_TOLERANCE * float(expected.abs().max())
        if expected.shape != got.shape or not bool(((expected - got).abs() <= bound).all()):
            at = _first(expected, got, bound)
            raise BadCheckpoint(
                where=where,
                expected=f"a network that answers as the trained one did, output {index}{at} {_at(expected, at)}",
                got=_at(got, at),
                remedy="something that the network computes with is neither in its weights nor in the arguments that "
                "were saved: pass it to the constructor and call self.save_hyperparameters(), or register it as a "
                "buffer",
            )


def _ends(grid: Any) -> tuple[float, float]:
    low, high = ((code - int(grid.zero_point)) * float(grid.scale) for code in grid.limits)
    return low, high


def _outputs(network: QuantizedNetwork, inputs: list[Tensor]) -> list[Tensor]:
    device = next((tensor.device for tensor in (*network.parameters(), *network.buffers())), torch.device("cpu"))
    mode = Mode.EXACT if network.calibrated else Mode.FLOAT
    with torch.no_grad(), evaluating(network), in_mode(network, mode):
        found = network(*(each.to(device) for each in inputs))
    return [each.cpu() for each in (found if isinstance(found, tuple | list) else (found,))]


def _first(expected: Tensor, got: Tensor, bound: float) -> list[int]:
    if expected.shape != got.shape:
        return []
    index: list[int] = (~((expected - got).abs() <= bound)).nonzero()[0].tolist()
    return index


def _at(values: Tensor, at: list[int]) -> str:
    return f"{float(values[tuple(at)]):.6g}" if at else f"of shape {list(values.shape)}"
