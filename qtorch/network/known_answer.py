"""A known answer: one input of a prepared network and what it makes of it, kept to see whether another is the same.

A network that was loaded is compared here with the one that was saved: of a checkpoint by
:mod:`qtorch.lightning.checkpoint`, of a state dict by :mod:`qtorch.network.quantized_network`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from qtorch.capture.call_form import tensors_in
from qtorch.errors import BadCheckpoint, BadInput
from qtorch.network.calibration import calibrated, has_float_layers, in_mode, quantizers
from qtorch.network.input_quantizers import input_quantizers
from qtorch.network.mode import Mode
from qtorch.network.quantized_op import QuantizedOp
from qtorch.surroundings import evaluating

__all__ = ["known_answer", "require_known_answer"]

#: How far float outputs may lie apart, as a share of the largest: sums in another order, on another processor.
_FLOAT_TOLERANCE = 1e-3
#: How many inputs, and how many numbers of all.
_SAMPLES, _NUMBERS = 8, 2**14
_REMEDY = (
    "its weights or ranges are not those that were saved, or it computes with something that is neither in its weights "
    "nor in the arguments that were saved: pass that to the constructor and call self.save_hyperparameters(), or "
    "register it as a buffer"
)


def known_answer(network: nn.Module, shapes: Sequence[Sequence[int]]) -> dict[str, Any] | None:
    """Random inputs and the network's outputs: the device's own numbers where ranges are calibrated, with a digest of
    what every op makes of them; else the float network's.

    ``None`` where it has none, because its sums overflow.

    Args:
        network: prepared.
        shapes: of one sample of each of its inputs.
    """
    generator = torch.Generator().manual_seed(0)
    grids = [each.grid for name, each in quantizers(network).items() if "." not in name and name.endswith("_quantizer")]
    count = max(1, min(_SAMPLES, _NUMBERS // max(1, sum(map(prod, shapes)))))
    measured = calibrated(network)
    # On the grids' own range: beyond it all inputs are alike.
    ranged = measured and len(grids) == len(shapes)
    ends = [_ends(grid) for grid in grids] if ranged else [(-1.0, 1.0)] * len(shapes)
    rows = [each.rows for each in input_quantizers(network)]
    inputs = [
        torch.rand(count, *shape, generator=generator) * (high - low) + low
        if not below
        else torch.randint(below, (count, *shape), generator=generator)
        for shape, (low, high), below in zip(shapes, ends, rows, strict=True)
    ]
    try:
        outputs, digests = _answer(network, inputs)
    except (BadInput, ArithmeticError):
        return None
    return {"calibrated": measured, "inputs": inputs, "outputs": outputs, "digests": digests}


def require_known_answer(network: nn.Module, answer: dict[str, Any] | None, where: str) -> None:
    """Refuse a network that makes something else of the inputs of :func:`known_answer`.

    Raises:
        BadCheckpoint: so it does; names the first op that differs, or the first output and both values.
    """
    if answer is None:
        return
    if answer["calibrated"] is not calibrated(network):
        raise BadCheckpoint(
            where=where,
            expected="a calibrated network" if answer["calibrated"] else "a network that is not calibrated",
            got="the other",
            remedy="pass the file as training wrote it",
        )
    exact = answer["calibrated"] and not has_float_layers(network)
    outputs, digests = _answer(network, answer["inputs"])
    for name, digest in answer["digests"].items() if exact else ():
        if digests.get(name) != digest:
            raise BadCheckpoint(
                where=where,
                expected=f"a network that answers as the trained one did, layer {name!r} too",
                got="other numbers from that layer on",
                remedy=_REMEDY,
            )
    for index, (expected, got) in enumerate(zip(answer["outputs"], outputs, strict=False)):
        bound = 0.0 if exact else _FLOAT_TOLERANCE * float(expected.abs().max())
        if expected.shape != got.shape or not bool(((expected - got).abs() <= bound).all()):
            at = _first(expected, got, bound)
            raise BadCheckpoint(
                where=where,
                expected=f"a network that answers as the trained one did, output {index}{at} {_at(expected, at)}",
                got=_at(got, at),
                remedy=_REMEDY,
            )


def _ends(grid: Any) -> tuple[float, float]:
    low, high = ((code - int(grid.zero_point)) * float(grid.scale) for code in grid.limits)
    return low, high


def _answer(network: nn.Module, inputs: list[Tensor]) -> tuple[list[Tensor], dict[str, str]]:
    """Outputs, and of a calibrated network a digest of each op's."""
    device = next((tensor.device for tensor in (*network.parameters(), *network.buffers())), torch.device("cpu"))
    measured, digests = calibrated(network), {}

    def watch(name: str) -> Any:
        def note(module: Any, arguments: Any, result: Any) -> None:
            # As real numbers, zero without a sign: what earlier versions, which knew no steps, wrote down.
            parts = [module.output.real(each) + 0.0 for each in (result if isinstance(result, tuple) else (result,))]
            whole = hashlib.sha256()
            for tensor in (*parts, *_integers(module)):
                whole.update(tensor.detach().cpu().contiguous().numpy().tobytes())
            digests[name] = whole.hexdigest()

        return note

    ops = network.named_modules() if measured else ()
    hooks = [op.register_forward_hook(watch(name)) for name, op in ops if isinstance(op, QuantizedOp)]
    try:
        with torch.no_grad(), evaluating(network), in_mode(network, Mode.QUANTIZED if measured else Mode.FLOAT):
            outputs = network(*(each.to(device) for each in inputs))
    finally:
        for hook in hooks:
            hook.remove()
    return [each.cpu() for each in tensors_in(outputs)], digests


def _integers(op: Any) -> Iterator[Tensor]:
    """What the device has of an op: its constants, their grids, its output's."""
    for constant in op.constants.integers().values():
        yield from (constant.codes, constant.grid.scale, constant.grid.zero_point)
    yield from (op.output.grid.scale, op.output.grid.zero_point)


def _first(expected: Tensor, got: Tensor, bound: float) -> list[int]:
    if expected.shape != got.shape:
        return []
    index: list[int] = (~((expected - got).abs() <= bound)).nonzero()[0].tolist()
    return index


def _at(values: Tensor, at: list[int]) -> str:
    return f"{float(values[tuple(at)]):.6g}" if at else f"of shape {list(values.shape)}"
