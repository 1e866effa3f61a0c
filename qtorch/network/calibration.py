"""A prepared network's modes and ranges: what it computes, measuring its activations, and what its grids can't hold."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qtorch.errors import BadConfiguration, BadData, NotFinite
from qtorch.network.agreement import let_agree
from qtorch.network.batch_norm import require_statistics
from qtorch.network.lost_operands import lost_operands, weak_masks
from qtorch.network.mode import Mode
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer
from qtorch.progress import steps
from qtorch.ranges.observer import is_distributed
from qtorch.surroundings import evaluating, not_finite

__all__ = [
    "Saturation",
    "batch_normalized",
    "calibrate",
    "calibrated",
    "freeze_batch_norm",
    "has_float_layers",
    "in_mode",
    "observe_in_training",
    "quantizers",
    "saturation",
    "set_mode",
    "unfrozen_batch_norms",
]

#: A scale beyond which widening grids has no end.
_COARSEST = 2.0**60

#: One batch: what a network's example was, see :func:`qtorch.prepare`; or its input tensors in a tuple.
Batch = Any


def quantizers(net: nn.Module) -> dict[str, Quantizer]:
    """Every activation quantizer of a prepared network, by its name in it."""
    return {name: module for name, module in net.named_modules() if isinstance(module, Quantizer)}


def calibrated(net: nn.Module) -> bool:
    """Whether every range of a prepared network was measured, or is fixed."""
    return all(quantizer.calibrated for quantizer in quantizers(net).values())


def has_float_layers(net: nn.Module) -> bool:
    """Whether the configuration leaves a layer in float32, on the device too."""
    return any(module.config.skip for module in net.modules() if isinstance(module, QuantizedOp))


def set_mode(net: nn.Module, mode: Mode) -> None:
    """What the network computes from now on; see :class:`Mode`.

    Raises:
        BadConfiguration: QUANTIZED was asked for before calibration, the network was not prepared, or ``mode`` is no
            :class:`Mode`.
        AccumulatorOverflow: QUANTIZED, and a layer's sums could leave the device's integers for some input.
        NotFinite: QUANTIZED, and a constant, or a batch norm's running statistics, are NaN.
    """
    if not isinstance(mode, Mode):
        raise BadConfiguration(
            where="set_mode",
            expected=f"one of {', '.join(f'Mode.{each.name}' for each in Mode)}",
            got=repr(mode),
            remedy="pass the member itself, as in qtorch.Mode.QUANTIZED",
        )
    _require_prepared(net, "set_mode")
    if mode is Mode.QUANTIZED:
        require_statistics(net)
        for name, quantizer in quantizers(net).items():
            quantizer.qparams(name)
        for name, module in net.named_modules():
            if isinstance(module, QuantizedOp):
                module.require_accumulator(name)
    for part in _with_a_mode(net):
        part.mode = mode


def _require_prepared(net: nn.Module, where: str) -> None:
    if not quantizers(net):
        raise BadConfiguration(
            where=where,
            expected="a prepared network",
            got=type(net).__name__,
            remedy="pass what qtorch.prepare(net, example_input) returns, not net itself",
        )


def _with_a_mode(net: nn.Module) -> list[Quantizer | QuantizedOp]:
    return [module for module in net.modules() if isinstance(module, Quantizer | QuantizedOp)]


@contextmanager
def in_mode(net: nn.Module, mode: Mode) -> Iterator[None]:
    """The network in ``mode`` for a block, then every part of it in whichever it was, whatever happens.

    Example:
        >>> with in_mode(qat, Mode.QUANTIZED):
        ...     device_accuracy = accuracy(qat.eval(), test)

    Raises:
        BadInput: see :func:`set_mode`.
    """
    before = [(module, module.mode) for module in _with_a_mode(net)]
    set_mode(net, mode)
    try:
        yield
    finally:
        for module, was in before:
            module.mode = was


def freeze_batch_norm(net: nn.Module, frozen: bool = True) -> None:
    """Whether folded batch norms use their running statistics in training too, as the device does.

    Until then a batch norm in training mode normalizes by its batch and goes on measuring: in QUANTIZED mode with
    rounded weights and ranges, which no device computes. In evaluation its statistics are folded in any case. So the
    last part of quantized training is one with frozen batch norms: its values are the device's.

    Example:
        >>> set_mode(qat, Mode.QUANTIZED)
        >>> train(qat, epochs=8)
        >>> freeze_batch_norm(qat)
        >>> train(qat, epochs=2)

    Raises:
        BadConfiguration: the network was not prepared.
    """
    _require_prepared(net, "freeze_batch_norm")
    for module in net.modules():
        if isinstance(module, QuantizedOp) and module.norm is not None:
            module.norm_frozen = frozen


def unfrozen_batch_norms(net: nn.Module) -> dict[str, QuantizedOp]:
    """The layers whose batch norm normalizes by the batch in training, by name; see :func:`freeze_batch_norm`."""
    return {
        name: module
        for name, module in net.named_modules()
        if isinstance(module, QuantizedOp) and module.norm is not None and not module.norm_frozen
    }


def batch_normalized(net: nn.Module) -> list[str]:
    """Names of those of :func:`unfrozen_batch_norms` that did so in quantized training: no device does."""
    return [name for name, layer in unfrozen_batch_norms(net).items() if layer.constants.normalized_by_batch]


def observe_in_training(net: nn.Module, observing: bool) -> None:
    """Whether ranges go on being measured, and follow, in quantized training's steps."""
    followed = [quantizer for quantizer in quantizers(net).values() if quantizer.observing]
    for quantizer in quantizers(net).values():
        quantizer.observing = observing
    ops = [module for module in net.modules() if isinstance(module, QuantizedOp)]
    # What stays now has not been looked at since it began to move.
    while followed and not observing and sum(let_agree(op) for op in ops):
        pass
    for op in ops:
        op.choose_route()


def calibrate(net: nn.Module, batches: Iterable[Batch], *, together: bool = False) -> None:
    """Measure every activation's range on ``batches`` of float32 inputs, anew; leaves the network in FLOAT mode.

    Args:
        net: prepared.
        batches: inputs, each as the network's example was: a tensor, a tuple of arguments, a dict of them. A loader's
            targets, behind the inputs, are not looked at; where ``forward`` has a place for them, that is warned of.
        together: every process of a distributed run calls this, each with as many batches of its own, and all come to
            the same ranges; without one it changes nothing.

    Raises:
        NotFinite: data, activations or a batch norm's running statistics hold NaN or infinity; names batch and tensor.
        BadData: a batch is none that the network takes: of another form, or of samples of another shape.
        BadConfiguration: there was no batch, or the network was not prepared.

    Warns:
        UserWarning: scales that were learned since the last calibration are lost; a layer adds two tensors, and no
            value of one is half a step of the other's grid.
    """
    _require_prepared(net, "calibrate")
    _require_batches(batches, "calibrate")
    require_statistics(net)
    quantizer_of = quantizers(net)
    lost = [name for name, quantizer in quantizer_of.items() if quantizer.has_learned]
    if lost:
        warnings.warn(
            f"calibrate: the learned scales of {len(lost)} of {len(quantizer_of)} tensors ({', '.join(lost[:3])}"
            f"{', ...' if len(lost) > 3 else ''}) are replaced by measured ones",
            UserWarning,
            stacklevel=2,
        )
    for quantizer in quantizer_of.values():
        quantizer.observer.reset()
        quantizer.together = together and is_distributed()
    if together and is_distributed():
        # Every process has its own batches' statistics in its batch norms; all must measure one network.
        for buffer in net.buffers():
            torch.distributed.broadcast(buffer, 0)
    # What fails on the way leaves the network in the mode in which it was, and with the ranges that it had.
    with torch.no_grad(), evaluating(net), in_mode(net, Mode.CALIBRATE):
        count = 0
        for count, batch in enumerate(steps(batches, "calibrating"), 1):
            try:
                _run(net, batch)
            except NotFinite as error:
                raise _located(net, batch, count - 1) or error from None
    set_mode(net, Mode.FLOAT)
    if not count:
        raise BadConfiguration(
            where="calibrate", expected="at least one batch", got="none", remedy="pass batches of training inputs"
        )
    for quantizer in quantizer_of.values():
        if quantizer.together and not quantizer.observer.in_step:
            quantizer.observer.synchronize()
        quantizer.settle()
    ops = [module for module in net.modules() if isinstance(module, QuantizedOp)]
    for op in ops:
        op.constants.settle_weight()
    # A grid that was widened may be another op's input, so until nothing changes; scales only ever grow.
    while (widened := sum(op.widen_output() for op in ops)) + sum(let_agree(op) for op in ops):
        coarsest = max(float(quantizer.scale) for quantizer in quantizer_of.values())
        if coarsest > _COARSEST:
            raise BadConfiguration(
                where="calibrate",
                expected="activations of a size that 32-bit kernels can multiply",
                got=f"a tensor on the same grid as its own square: no scale up to {_COARSEST:.3g} will do"
                if widened
                else f"a tensor with a scale of {coarsest:.3g}, beyond {_COARSEST:.3g}",
                remedy="normalize the inputs, or put a batch norm before the multiplication",
            )
    for said in [*lost_operands(net), *weak_masks(net)]:
        warnings.warn(f"calibrate: {said}", UserWarning, stacklevel=2)


def _require_batches(batches: Any, where: str) -> None:
    if isinstance(batches, Tensor | np.ndarray | str):
        raise BadData(
            where=where,
            expected="batches of inputs, one after the other",
            got=f"a single {type(batches).__name__}",
            remedy=f"pass a list of batches, as in {where}(network, [x])",
        )


def _located(net: nn.Module, batch: Batch, number: int) -> NotFinite | None:
    """Which tensor of a batch is the first that holds NaN or infinity; ``None`` where none does."""
    found: list[str] = []
    quantizer_of = quantizers(net)
    names = {quantizer: name for name, quantizer in quantizer_of.items()}

    def look(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        bad = "" if found else not_finite(arguments[0])
        if bad:
            found.append(f"{names[module]!r}: {bad}")  # type: ignore[index]

    hooks = [each.register_forward_pre_hook(look) for each in quantizer_of.values()]
    try:
        with in_mode(net, Mode.FLOAT):
            _run(net, batch)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        return None
    return NotFinite(
        where=f"calibration, batch {number}, counted from 0", expected="finite activations",
        got=f"in the tensor of quantizer {found[0]}",
        remedy="look for NaN or infinity in that batch, and leave it out; of an input without any, in the weights",
    )  # fmt: skip


def _run(net: nn.Module, batch: Batch) -> Any:
    # A part of a network, as post-training steps have it, is called with tensors in a row.
    inputs_of: Any = getattr(net, "inputs_of", None)
    if inputs_of is not None:
        return net(*inputs_of(batch))
    return net(*batch) if isinstance(batch, tuple | list) else net(batch)


#: Of the power of a tensor's values, what a range may cut off before it is too narrow.
_CUT_OFF = 0.01


@dataclass(frozen=True)
class Saturation:
    """Activations of one tensor that its grid can't hold.

    Attributes:
        name: of the quantizer.
        share: of the values, in [0, 1], NaN included.
        needed: lowest and highest value seen, NaN apart; infinities the wrong way round if nothing else was.
        covered: lowest and highest value that the grid holds.
        not_numbers: share of the values that are NaN, in [0, 1], for which no grid has a code.
        cut_off: share of the power of all numbers that is cut off, in [0, 1]; NaN of infinities.
    """

    name: str
    share: float
    needed: tuple[float, float]
    covered: tuple[float, float]
    not_numbers: float = 0.0
    cut_off: float = 0.0

    @property
    def outgrown(self) -> bool:
        """Whether the values have outgrown the range: a network that learns in integers has its ends among what it
        learned, so that values beyond are nothing yet; they are where more than 1 % of the power is cut off."""
        return self.not_numbers > 0 or not self.cut_off <= _CUT_OFF

    def __str__(self) -> str:
        if self.not_numbers == self.share:
            return f"{self.name}: {_percent(self.not_numbers)} of the values are NaN"
        also = f"; {_percent(self.not_numbers)} are NaN" if self.not_numbers else ""
        return (
            f"{self.name}: {_percent(self.share)} of the values lie outside "
            f"[{self.covered[0]:.4g}, {self.covered[1]:.4g}]; seen [{self.needed[0]:.4g}, {self.needed[1]:.4g}]{also}"
        )


def _percent(share: float) -> str:
    """In words, in which what is there is not nothing."""
    return f"{share:.2%}" if share >= 0.00005 else "less than 0.01%"


class _Watch:
    """Counts one quantizer's values, those outside its grid and those that are none, and their limits."""

    def __init__(self, quantizer: Quantizer) -> None:
        qparams = quantizer.qparams()
        low, high = ((code - qparams.zero_point[0]) * qparams.scale[0] for code in qparams.code_range)
        # A kernel's own grid may end a step below what it stands for: 1 of a softmax is 255/256, and is no fault.
        self.covered, self.room = (low, high), qparams.scale[0] * (0.5 if quantizer.fixed is None else 1 + 1e-6)
        self.count = self.outside = self.not_numbers = 0
        self.power = self.cut_off = 0.0
        self.needed = (float("inf"), -float("inf"))

    def __call__(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        values = arguments[0].detach()
        self.count += values.numel()
        low, high = (float(v) for v in torch.aminmax(values))
        if math.isnan(low):
            numbers = values[~torch.isnan(values)]
            self.not_numbers += values.numel() - numbers.numel()
            if not numbers.numel():
                return
            values = numbers
            low, high = (float(v) for v in torch.aminmax(values))
        self.needed = (min(self.needed[0], low), max(self.needed[1], high))
        self.power += float(values.double().square().sum())
        below, above = self.covered[0] - self.room, self.covered[1] + self.room
        if low < below or high > above:
            self.outside += int(((values < below) | (values > above)).sum())
            self.cut_off += float((values.double() - values.double().clamp(*self.covered)).square().sum())


def saturation(net: nn.Module, batches: Iterable[Batch]) -> tuple[Saturation, ...]:
    """Which activations saturate on ``batches``: those with values more than half a step outside their grid, or NaN.

    Of a grid that a kernel fixes, as a softmax's, more than a step: there it ends below what the op gives at most.
    """
    _require_batches(batches, "saturation")
    quantizer_of = quantizers(net)
    watches = {name: _Watch(quantizer) for name, quantizer in quantizer_of.items()}
    hooks = [quantizer.register_forward_pre_hook(watches[name]) for name, quantizer in quantizer_of.items()]
    try:
        # In float every tensor passes its quantizer as it is; elsewhere integers may bypass it.
        with torch.no_grad(), evaluating(net), in_mode(net, Mode.FLOAT):
            for batch in steps(batches, "looking for saturated ranges"):
                _run(net, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(
        Saturation(
            name,
            (watch.outside + watch.not_numbers) / watch.count,
            watch.needed,
            watch.covered,
            watch.not_numbers / watch.count,
            watch.cut_off / watch.power if watch.power else 0.0,
        )
        for name, watch in watches.items()
        if watch.outside or watch.not_numbers
    )
