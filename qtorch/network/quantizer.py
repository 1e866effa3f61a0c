"""The quantizer of one activation tensor: an observer, a grid, and the way onto it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.compiler import is_compiling

from qtorch.config import LayerConfig
from qtorch.errors import BadCheckpoint, BadConfiguration
from qtorch.network.learned_scale import LearnedScale
from qtorch.network.mode import Mode
from qtorch.network.read_once import ReadOnce
from qtorch.numbers.functional import logarithm, range_to_grid
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.numbers.qparams import INDICES, QParams
from qtorch.numbers.rescaled_sums import rescale_and_hold
from qtorch.numbers.rescaling import Rescaling
from qtorch.numbers.short_mantissa import rounded_up_short
from qtorch.numbers.straight_through import Ends, Learned, lsq_gradient_scale, normalized_and_held, round_and_hold
from qtorch.packed_state import packed, unpacked
from qtorch.ranges.observer import is_distributed
from qtorch.ranges.observers import make_observer
from qtorch.row.fused_activation import activate, step_ends
from qtorch.surroundings import (
    as_indices,
    autocasts,
    in_float32,
    moved,
    require_float32,
    require_no_nan,
    undisturbed,
    without_autocast,
)

__all__ = ["Quantizer"]

Value = TypeVar("Value")


class Quantizer(nn.Module):
    """The grid of one activation tensor of any shape, and the way onto it and back.

    While the network is quantized, what goes from op to op is the tensor in **steps** of this grid: code less zero
    point, float32.

    Its figures follow the network to another device, and stay in float32 there. On the meta device, where nothing can
    be read, the grid is the one from before.

    Args:
        config: how; of the layer that first computes the tensor.
        rectified: whether the tensor is never negative, so that no code is spent below zero.
        dtype: ``"int8"`` or ``"int16"``; the configuration's if ``None``.
        fixed: the one grid that the kernel assumes; then nothing is measured.
        smallest: the scale's lower bound.

    Attributes:
        measured: the scale, float32 ``[]``; 0 until calibrated. This and the next two are saved with the network, but
            are no buffers: those get averaged with weights, and an averaged zero point is none.
        zero_point: int32 ``[]``.
        smallest: the scale's lower bound, float32 ``[]``.
        log_scale: parameter, float32 ``[]``, where the scale is learned: its natural logarithm, because the optimizers
            in use take steps of the size of the learning rate, whatever a parameter's own size.
        zero_share: parameter, float32 ``[]``, where the zero point is learned too: in units of 256 codes, so that a
            step of it is of the size of a step of ``log_scale``.
        of_indices: whether the tensor holds indices, integers that pass as they are in every mode.
        rows: of indices that come in, those of the smallest table that they are looked up in; else 0.
        observing: whether ranges are measured and followed in quantized training too; those that are learned are not.
        together: whether the processes of a distributed run calibrate together.
    """

    def __init__(
        self,
        config: LayerConfig | None = None,
        *,
        rectified: bool = False,
        dtype: str | None = None,
        fixed: QParams | None = None,
        smallest: float = 0.0,
    ) -> None:
        super().__init__()
        self.config = config or LayerConfig()
        self.rectified, self.fixed, self.of_indices, self.rows = rectified, fixed, fixed == INDICES, 0
        self.dtype = dtype or self.config.activations
        self.mode, self.observing, self.together = Mode.FLOAT, False, False
        low, high = CODE_RANGE[self.dtype]
        self.observer = make_observer(self.config.observers[0], None, high - low + 1, self.dtype == "int16")
        self.measured = torch.tensor(0.0 if fixed is None else fixed.scale[0], dtype=torch.float32)
        self.zero_point = torch.tensor(0 if fixed is None else fixed.zero_point[0], dtype=torch.int32)
        self.smallest = rounded_up_short(torch.tensor(smallest, dtype=torch.float32))
        scales = self.config.scales if fixed is None else "measured"
        # PACT learns where a rectified tensor is clipped; others keep their measured range.
        self.learned = scales if scales in ("lsq", "lsq+") or (scales == "pact" and rectified) else "measured"
        if self.learned != "measured":
            self.log_scale = nn.Parameter(torch.zeros((), dtype=torch.float32))
        if self.learned == "lsq+" and not rectified and self.dtype == "int8":
            self.zero_share = nn.Parameter(torch.zeros((), dtype=torch.float32))
        self._read, self.learned_scale = ReadOnce(), LearnedScale()
        #: Of a network on the meta device: what it had before, if it was calibrated.
        self._left_behind: QParams | None = None

    def get_extra_state(self) -> Tensor:
        """What a checkpoint keeps beside parameters and the observer's buffers, packed."""
        return packed({"scale": self.measured, "zero_point": self.zero_point, "smallest": self.smallest})

    def set_extra_state(self, state: Any) -> None:
        """See :meth:`get_extra_state`.

        Raises:
            BadCheckpoint: they are no scale, or no zero point.
        """
        state = unpacked(state)
        scale, zero_point = float(state["scale"]), int(state["zero_point"])
        low, high = CODE_RANGE[self.dtype]
        if not (0 <= scale < math.inf and 0 <= float(state["smallest"]) < math.inf and low <= zero_point <= high):
            raise BadCheckpoint(
                where="a quantizer's state",
                expected=f"a scale that is finite and not negative, and a zero point from {low} to {high}",
                got=f"scale {scale}, zero point {zero_point}",
                remedy="load the state as it was saved",
            )
        for name, own in (("scale", self.measured), ("zero_point", self.zero_point), ("smallest", self.smallest)):
            own.copy_(state[name])

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        measured = moved(self.measured, fn)
        if not measured.is_meta:
            self._left_behind = None
        elif not self.measured.is_meta:
            self._left_behind = self.qparams() if self.calibrated else None
        self.measured, self.zero_point, self.smallest = measured, moved(self.zero_point, fn), moved(self.smallest, fn)
        return super()._apply(fn, recurse)

    @property
    def scale(self) -> Tensor:
        """float32 ``[]``, without gradient; 0 before calibration."""
        if self.learned == "measured" or not self.calibrated:
            # Of a grid that follows, autograd keeps what it was when it was used.
            return self.measured.clone() if self.observing else self.measured
        return self.learned_scale.of(self.log_scale, self.smallest).scale

    @property
    def grid(self) -> Grid:
        """The grid as tensors; ``scale`` is 0 before calibration."""
        return Grid(self.scale, self._zero_point_now(), self.dtype)

    def _zero_point_now(self) -> Tensor:
        if not self.learns_zero or not self.calibrated:
            return self.zero_point
        low, high = CODE_RANGE[self.dtype]
        return (self.zero_share.detach() * 256).round().clamp(low, high).to(torch.int32)

    @property
    def learns_zero(self) -> bool:
        """Whether the zero point is learned."""
        return "zero_share" in self._parameters

    @property
    def calibrated(self) -> bool:
        """Whether the range was measured, or is fixed."""
        if self.measured.is_meta:
            return self._left_behind is not None
        if is_compiling():
            # A compiler reads no numbers, and set_mode has asked.
            return True
        # Asked in every step where a scale is learned, and read only when it was written to.
        return self._read_once("measured", lambda: float(self.measured)) > 0

    @property
    def has_learned(self) -> bool:
        """Whether training has moved the scale, or the zero point, away from what was measured."""
        if self.learned == "measured" or not self.calibrated or self.measured.is_meta:
            return False
        moved = float(self.log_scale.detach()) != logarithm(self.measured)
        return moved or (self.learns_zero and float(self.zero_share.detach()) != float(self.zero_point) / 256)

    def qparams(self, name: str = "") -> QParams:
        """The frozen record for export.

        Args:
            name: of the quantizer in its network, for the message.

        Raises:
            BadConfiguration: the range was never measured.
        """
        if not self.calibrated:
            raise BadConfiguration(
                where=f"quantizer {name!r}" if name else "quantizer",
                expected="a calibrated range",
                got="none",
                remedy="call qtorch.calibrate(network, batches) before training with quantization or exporting",
            )
        return self._left_behind or QParams.of(self.grid)

    @torch.no_grad()
    def settle(self) -> None:
        """Take the range that the observer saw, with the margin; from zero up where the tensor can't be negative."""
        if self.fixed is not None:
            return
        low, high = self.observer.range()
        more = self.config.margin * (high - low)
        low = torch.zeros_like(low) if self.rectified else low - more
        self._take(range_to_grid(low, high + more, self.dtype, float(self.smallest)))

    @torch.no_grad()
    def coarsen(self, scale: float, *, stays: bool = True) -> None:
        """Take a coarser scale, and let none be finer from now on if it ``stays``; zero keeps its code."""
        self._take(Grid(rounded_up_short(torch.tensor(scale, dtype=torch.float32)), self.zero_point, self.dtype))
        if stays:
            torch.maximum(self.smallest, self.measured, out=self.smallest)

    def _take(self, grid: Grid) -> None:
        self.measured.copy_(grid.scale)
        self.zero_point.copy_(grid.zero_point)
        if self.learned != "measured":
            self.log_scale.fill_(logarithm(grid.scale))
        if self.learns_zero:
            self.zero_share.fill_(float(grid.zero_point) / 256)

    @property
    def steps(self) -> tuple[int, int]:
        """Lowest and highest code less the zero point."""
        (low, high), known = CODE_RANGE[self.dtype], self._left_behind
        with unset_fake_temporarily():
            zero_point = int(self._zero_point_now()) if known is None else known.zero_point[0]
        return low - zero_point, high - zero_point

    @property
    def reach(self) -> int:
        """How far a code may lie from the zero point; of a zero point that is learned, at most."""
        low, high = CODE_RANGE[self.dtype]
        if self.learns_zero or is_compiling():
            return high - low
        return self._read_once("reach", lambda: max(map(abs, self.steps)))

    @property
    def step(self) -> float:
        """The scale as a Python number; read from its tensor only when that was written to."""
        if self.learned == "measured":
            return self._read_once("step", self._read_scale)
        now = self.learned_scale.now
        return self._read_scale() if now is None or now.number is None else now.number

    def _read_scale(self) -> float:
        with unset_fake_temporarily():
            return float(self.scale) if self._left_behind is None else self._left_behind.scale[0]

    def ends(self, activation: str = "none") -> Ends:
        """The lowest and highest step, of a fused activation where there is one."""
        moves = self.follows or self.learns_zero or (activation == "relu6" and self.learned != "measured")
        now = self.learned_scale.now
        if now is not None and now.zero_point is not None and activation == "none":
            low, high = (float(each - now.zero_point) for each in CODE_RANGE[self.dtype])
            return Ends(low, high)
        if moves or is_compiling():
            return step_ends(activation, self.grid)
        return self._read_once(activation, lambda: self._read_ends(activation))

    def _read_ends(self, activation: str) -> Ends:
        grid = self._left_behind.grid if self._left_behind else Grid(self.measured, self.zero_point, self.dtype)
        low, high, rectifies, caps = step_ends(activation, grid)
        return Ends(float(low), float(high), rectifies, bool(caps))

    def _read_once(self, name: str, read: Callable[[], Value]) -> Value:
        """A number of the measured grid; read from its device only when that was written to."""
        return self._read((self.measured, self.zero_point), name, read)

    def forward(self, x: Tensor) -> Tensor:
        """Real numbers as they are (FLOAT, CALIBRATE), or in steps of the grid (QUANTIZED); same shape.

        What comes in from outside in another type than float32 becomes that: exactly in half precision and from
        integers up to 2**24, rounded from float64. But for FLOAT, autocast does not reach inside.

        Args:
            x: real numbers.

        Raises:
            NotFinite: QUANTIZED, but for a training step, and a value is NaN.
        """
        if self.of_indices:
            return as_indices(x, self.rows, self.training) if self.rows else x
        # A float layer's result under autocast stays what it is in the float network as it came.
        halves = x.dtype in (torch.float16, torch.bfloat16) and self.mode is Mode.FLOAT and autocasts()
        if x.dtype is not torch.float32 and not halves:
            x = in_float32(x)
        if self.mode is Mode.FLOAT:
            # Said to depend on what it does not: processes that average gradients need one of every parameter.
            return x + 0.0 * sum(self.parameters()) if self._parameters and torch.is_grad_enabled() else x
        if undisturbed():
            return self._observed_or_rounded(x)
        with without_autocast(x):
            return self._observed_or_rounded(x)

    def _observed_or_rounded(self, x: Tensor) -> Tensor:
        if self.mode is Mode.QUANTIZED:
            return self.steps_of(x)
        if self.together and self.observer.in_step:
            self.observer.observe_together(x)
        else:
            self.observer.observe(x)
        return x

    def steps_of(self, real: Tensor, activation: str = "none", *, even: bool = False, known: bool = False) -> Tensor:
        """Real numbers in steps of the grid, rounded half away from zero and held; float32.

        Args:
            real: float32.
            activation: that is fused into the op.
            even: round half to even instead, for what no device computes.
            known: the grid has seen the tensor in this step, and moves no more.

        Raises:
            NotFinite: but for a training step, and a value is NaN.
        """
        if not ((self.training and torch.is_grad_enabled()) or is_compiling()):
            require_no_nan(real, "a tensor that is to be quantized")
        if self.follows and not known:
            self.follow(real)
        steps = torch.div(real, self.scale)
        ends, learned = self.ends(activation), self._learned(real)
        return round_and_hold(steps, ends, self.config.gradient, learned, even=even, overwrite=True)

    def steps_of_normalized(self, real: Tensor, activation: str) -> Tensor:
        """Real numbers that a batch norm computed from its batch, in steps; no device computes them.

        Args:
            real: float32, before the activation; overwritten.
            activation: that is fused into the op.
        """
        if self.follows:
            self.follow(activate(activation, real))
        if self.learned != "measured":
            return self.steps_of(activate(activation, real), even=True, known=True)
        ends = self.ends(activation)
        if ends.moving or self.config.gradient != "clipped":
            return self.steps_of(real, activation, even=True, known=True)
        return normalized_and_held(real, self.measured, ends, overwrite=True)

    def rounded(self, steps: Tensor, activation: str = "none", *, overwrite: bool = False) -> Tensor:
        """Steps that training has left between whole ones, or beyond the grid, on it again; half to even."""
        ends = self.ends(activation)
        if self.learned != "measured" or self.config.gradient != "clipped" or ends.moving:
            return round_and_hold(steps, ends, self.config.gradient, self._learned(steps), even=True)
        return normalized_and_held(steps, None, ends, overwrite=overwrite)

    def steps_of_sums(self, sums: Tensor, rescaling: Rescaling, activation: str, *, any_sum: bool) -> Tensor:
        """Sums of products as the device brings them onto the grid; see
        :func:`qtorch.numbers.straight_through.rescale_and_hold`."""
        learned, ends = self._learned(sums), self.ends(activation)
        return rescale_and_hold(sums, rescaling, ends, self.config.gradient, learned, any_sum=any_sum)

    def real(self, x: Tensor) -> Tensor:
        """The real numbers that ``x``, as it goes from op to op, stands for: in QUANTIZED mode those of its steps."""
        return x * self.scale if self.mode is Mode.QUANTIZED and not self.of_indices else x

    def _learned(self, x: Tensor) -> Learned | None:
        """What of the grid is learned from a tensor of ``x``'s shape."""
        if self.learned == "measured":
            return None
        require_float32(self._parameters.items(), "learned-scale")
        # None where the smallest scale that there may be has taken its place.
        free = self.learned_scale.of(self.log_scale, self.smallest).free
        share = self.share((x.shape[1:] if x.dim() > 1 else x.shape).numel(), free)
        return Learned(self.learned, self.log_scale, share, self.zero_share if self.learns_zero else None)

    def share(self, elements: int, free: Any = True) -> Any:
        """By what a learned grid's gradients are multiplied; see :class:`qtorch.network.learned_scale.ScaleNow`."""
        return free if self.learned == "pact" else free * lsq_gradient_scale(elements, self._highest_step)

    @property
    def _highest_step(self) -> int:
        """For the size of a gradient: as it was measured, since a learned one would have to be read in every step."""
        (_, high), known = CODE_RANGE[self.dtype], self._left_behind
        if is_compiling():
            return high
        return high - (known.zero_point[0] if known else self._read_once("zero point", lambda: int(self.zero_point)))

    @property
    def follows(self) -> bool:
        """Whether the grid follows what goes through it now."""
        return self.observing and self.training and self.learned == "measured" and self.fixed is None

    @torch.no_grad()
    def follow(self, real: Tensor) -> None:
        """Observe real numbers, and move the grid along."""
        if is_distributed():
            self.observer.observe_together(real)
        else:
            self.observer.observe(real)
        self.settle()

    def extra_repr(self) -> str:
        """Scale and zero point, for ``print(network)``."""
        low, _ = self.steps
        return f"{self.dtype}, scale={self.step:.6g}, zero_point={CODE_RANGE[self.dtype][0] - low}"
