"""An op's constants: their grids, their integers on the device, and what float arithmetic makes of them in training.

One function quantizes a weight, in training and at export alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qtorch.config import LayerConfig
from qtorch.network.axis_order import lift_weight
from qtorch.network.batch_norm import BatchNorm, fold, scaling
from qtorch.network.folded_normalization import FoldedNormalization
from qtorch.network.quantizer import Quantizer
from qtorch.numbers.functional import (
    WEIGHT_RANGE,
    bias_codes,
    bias_scale,
    constant_steps_,
    largest_magnitude,
    quantize,
    range_to_grid,
    weight_codes,
    with_room_for_bias,
)
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.numbers.straight_through import (
    Bounds,
    fake_constants,
    fake_quantize,
    learned_step,
    lsq_gradient_scale,
    replace_value,
    scale_gradient,
)
from qtorch.ranges.observers import make_observer
from qtorch.row.constraints import BiasFromAccumulator, Free, SameAs, SymmetricWeight
from qtorch.row.row import Row
from qtorch.surroundings import moved, without_values

__all__ = ["Constant", "OpConstants"]

_ZERO = torch.zeros((), dtype=torch.int32)
# As a tensor: PyTorch wraps a Python number anew at every call.
_HIGHEST_CODE = {dtype: torch.tensor(float(high)) for dtype, (_, high) in WEIGHT_RANGE.items()}


@dataclass(frozen=True)
class Constant:
    """A constant as the device stores it: integer ``codes`` (int64) and their quantization."""

    codes: Tensor
    grid: Grid
    axis: int | None

    @property
    def qparams(self) -> QParams:
        """The frozen record for export."""
        return QParams.of(self.grid, self.axis)


class OpConstants(nn.Module):
    """The part of a :class:`qtorch.network.quantized_op.QuantizedOp` that holds its constants.

    Attributes:
        weight_clip: float32 ``[C]`` or ``[]``: the share of a weight's largest magnitude that its highest code stands
            for; 1 but for observers that clip. Saved, but no buffer: those get averaged with weights.
        weight_step: float32 ``[C]`` or ``[]``, saved: a scale that no longer follows the weight, where one was pinned;
            else 0.
        log_weight_scale: parameter, float32 ``[C]`` or ``[]``, where the scale is learned: its natural logarithm.
    """

    def __init__(
        self,
        row: Row,
        constants: Mapping[str, Tensor],
        sources: Mapping[str, Quantizer],
        config: LayerConfig,
        output: Quantizer,
        norm: BatchNorm | None,
        front: FoldedNormalization | None = None,
    ) -> None:
        super().__init__()
        # In the kernel's order, whichever a module happens to have registered first.
        order = {role: place for place, role in enumerate(row.roles)}
        constants = {role: constants[role] for role in sorted(constants, key=lambda role: order.get(role, len(order)))}
        self.row, self.config = row, config
        self.has_weight = isinstance(row.constraints.get("weight"), SymmetricWeight) and "weight" in constants
        # In containers that nn.Module does not look into: each module is saved once, by its owner.
        self.sources = dict(sources)
        self._norm, self._output = (norm,), (output,)
        #: The normalization of its input that is folded into this op; its module stands elsewhere in the network.
        self.front = front
        for role, tensor in constants.items():
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(role, tensor)
            else:
                self.register_buffer(role, tensor.to(torch.float32))
        self.constant_roles = tuple(constants)
        #: Whether the constants are used as they are: all of them parameters, nothing folded, no bias to make up.
        folds = norm is not None or front is not None
        self._plain = set(self._parameters) == set(constants) and not folds and not row.needs_bias
        #: Whether the weight's scale is its largest magnitude's, so that nothing saturates.
        self.covering = True
        #: Whether the weight's scale is one that was pinned.
        self._pinned = False
        #: The axis along which the weight has a scale each; ``None`` for one in all.
        self.scale_axis: int | None = None
        if self.has_weight:
            demand = row.constraints["weight"]
            assert isinstance(demand, SymmetricWeight)
            per_channel = config.weights == "per_channel" and config.weight_dtype not in demand.per_tensor
            axis = self.scale_axis = self._channel_axis() if per_channel else None
            shape = () if axis is None else (constants["weight"].shape[axis],)
            self.weight_clip, self.weight_step = (torch.full(shape, value, dtype=torch.float32) for value in (1.0, 0.0))
            self.covering = self._measures
            if config.scales in ("lsq", "lsq+"):
                self.log_weight_scale = nn.Parameter(torch.zeros(shape, dtype=torch.float32))

    @property
    def output(self) -> Quantizer:
        """The quantizer of the result."""
        return self._output[0]

    @property
    def norm(self) -> BatchNorm | None:
        """The batch norm that is folded into this op."""
        return self._norm[0]

    def constants(self) -> dict[str, Constant]:
        """The integers that the constants become on the device, by role; the same code serves training and export."""
        return {role: self._stored(role, tensor, grid) for role, (tensor, grid) in self._folded_grids().items()}

    @torch.no_grad()
    def float_constants(self) -> dict[str, Tensor]:
        """:meth:`real_constants` as the device stores them."""
        found = self.real_constants()
        for role, order in self.row.weight_order.items():
            if role in found:
                found[role] = lift_weight(found[role]).permute(order)
        return found

    @torch.no_grad()
    def real_constants(self) -> dict[str, Tensor]:
        """The constants as float numbers by role, a batch norm's running statistics folded in."""
        return {role: tensor.detach() for role, tensor in self._folded().items()}

    @torch.no_grad()
    def rounded_constants(self) -> dict[str, Tensor]:
        """:meth:`real_constants` on their grids: the real numbers that the device's integers stand for."""
        return self._fake_constants()[0]

    @torch.no_grad()
    def settle_weight(self) -> None:
        """Let the weight's observer decide what its scale covers, from the weight as it is now."""
        if not self.has_weight or self.covering:
            return
        weight, axis = self._folded()["weight"], self.scale_axis
        limit = WEIGHT_RANGE[self.config.weight_dtype][1]
        observer = make_observer(self.config.observers[1], axis, 2 * limit + 1, symmetric=True)
        observer.observe(weight)
        low, high = observer.range()
        wanted = torch.maximum(-low, high).to(weight.device)
        if self._learns:
            scale = torch.clamp_min(wanted, 2.0**-30) / limit
            self.log_weight_scale.copy_(torch.log(scale))
            return
        full = largest_magnitude(weight, axis)
        self.weight_clip.copy_(torch.where(full > 0, wanted / full.clamp_min(2.0**-120), 1.0).clamp(2.0**-20, 1.0))

    @torch.no_grad()
    def pin_weight(self, weight: Tensor, scale: Tensor) -> None:
        """Make ``weight`` the weight and ``scale`` its scale for good, as a rounding that was optimized needs it.

        Args:
            weight: float32, of the parameter's shape; with nothing folded into it.
            scale: float32 ``[C]`` or ``[]``.
        """
        self._own()["weight"].copy_(weight if self.front is None else self.front.unfold(weight))
        self.weight_step.copy_(scale)
        self.covering, self._pinned = False, True

    def get_extra_state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps beside parameters and buffers."""
        return {"clip": self.weight_clip, "step": self.weight_step} if self.has_weight else {}

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        """See :meth:`get_extra_state`."""
        if self.has_weight:
            self.weight_clip.copy_(state["clip"])
            self.weight_step.copy_(state["step"])
            self._pinned = bool((self.weight_step > 0).any())
            self.covering = self._measures and not self._pinned

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        if self.has_weight:
            self.weight_clip, self.weight_step = moved(self.weight_clip, fn), moved(self.weight_step, fn)
        return super()._apply(fn, recurse)

    @property
    def _learns(self) -> bool:
        return "log_weight_scale" in self._parameters

    @property
    def _measures(self) -> bool:
        """Whether the configuration lets the scale follow the weight's largest magnitude."""
        return self.config.observers[1] == "minmax" and self.config.scales not in ("lsq", "lsq+")

    def _own(self) -> dict[str, Tensor]:
        return {role: getattr(self, role) for role in self.constant_roles}

    def _raw(self) -> dict[str, Tensor]:
        """The constants with nothing folded in but a normalization of the input."""
        found = self._own()
        return found if self.front is None else self.front.fold(found["weight"], found.get("bias"))

    def _unrounded(self) -> dict[str, Tensor]:
        """The constants as float arithmetic takes them, depending on every parameter as the quantizer's output does."""
        found = self._raw()
        if self._learns and torch.is_grad_enabled():
            found["weight"] = found["weight"] + 0.0 * self.log_weight_scale.sum()
        return found

    def _folded(self) -> dict[str, Tensor]:
        """The constants with the batch norm's running statistics folded in, and a bias where the kernel needs one."""
        found = self._raw()
        if self.norm is not None:
            found |= fold(self.norm, found["weight"], found.get("bias"), self._channel_axis())
        elif self.row.needs_bias and "bias" not in found:
            found["bias"] = found["weight"].new_zeros(found["weight"].shape[self._channel_axis()])
        return found

    def _fake_scaled_weight(self) -> Tensor:
        """The weight as it is once the batch norm is folded, rounded there, and scaled back.

        Rounding to a grid per channel commutes with scaling the channel, so this is what the frozen network will see.
        """
        assert self.norm is not None
        weight = self._raw()["weight"]
        if self.covering and self.scale_axis is not None:
            # Then the factor cancels; that a large bias may widen the scale, it does not have to see.
            scale = with_room_for_bias(self._covering_scale(weight), None, 1.0)
            return self._fake_weight(weight, None, scale, scale)[0]
        factor = scaling(self.norm, weight.dim(), self._channel_axis())
        folded = self._folded()
        scale = self._weight_scale(folded["weight"], folded["bias"])
        return self._fake_weight(weight * factor, None, scale, scale)[0] / factor

    def _fake_constants(self) -> tuple[dict[str, Tensor], Tensor | None]:
        """The constants on their grids, by role, and the accumulator's unit where there is a weight."""
        if not self.has_weight:
            return {role: self._fake_other(*pair) for role, pair in self._folded_grids().items()}, None
        # Said once more than in _folded_grids, because every training step comes through here.
        own = self._plain and "weight" in self._parameters
        folded: Any = self._parameters if own else self._folded()
        weight, bias = folded["weight"], folded.get("bias")
        scale = self._weight_scale(weight, bias)
        unit = bias_scale(self.sources["input"].scale, scale)
        weight, bias = self._fake_weight(weight, bias, scale, unit)
        return {"weight": weight} if bias is None else {"weight": weight, "bias": bias}, unit

    def _fake_weight(
        self, weight: Tensor, bias: Tensor | None, scale: Tensor, unit: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        if self.covering:
            return fake_constants(weight, bias, scale, unit, self.scale_axis)
        axis, limit = self.scale_axis, WEIGHT_RANGE[self.config.weight_dtype][1]
        # A scale that was pinned no longer follows the learned one.
        if self._learns and not self._pinned:
            factor = lsq_gradient_scale(weight.numel() // max(scale.numel(), 1), limit)
            learned = scale_gradient(torch.exp(self.log_weight_scale), factor)
            # torch.maximum would give each of two equal ones half of the gradient.
            scale = torch.where(learned < scale, scale, learned)
        zero = torch.zeros((), device=weight.device)
        clipped = learned_step(weight, scale, zero, -limit, limit, axis, even=True)
        if bias is None:
            return clipped, None
        return clipped, replace_value(bias, constant_steps_(bias.detach().clone(), unit).mul_(unit))

    def _fake_other(self, tensor: Tensor, grid: Grid) -> Tensor:
        """A constant of an op without weights, quantized as an activation is."""
        if without_values(tensor):
            return tensor.clone()
        low, high = (code - int(grid.zero_point) for code in grid.limits)
        return fake_quantize(tensor, grid.scale, Bounds.of(grid.scale, low, high))

    def _channel_axis(self) -> int:
        """PyTorch's axis of the weight's output channels."""
        constraint = self.row.constraints["weight"]
        assert isinstance(constraint, SymmetricWeight)
        order = self.row.weight_order.get("weight")
        return constraint.axis if order is None else order[constraint.axis]

    def _folded_grids(self) -> dict[str, tuple[Tensor, Grid]]:
        """Every constant with its grid, by role; a weight's scale is ``[C]`` per channel, else ``[]``."""
        found: dict[str, tuple[Tensor, Grid]] = {}
        folded = self._folded()
        # A bias lies on the weight's grid, so that has to be known.
        for role in sorted(folded, key=lambda role: role == "bias"):
            tensor, constraint = folded[role], self.row.constraint(role)
            if isinstance(constraint, SymmetricWeight):
                grid = Grid(self._weight_scale(tensor, folded.get("bias")), _ZERO, self.config.weight_dtype)
            elif isinstance(constraint, BiasFromAccumulator):
                scale = bias_scale(self.sources["input"].scale, found["weight"][1].scale)
                grid = Grid(scale, _ZERO, "int64" if self.config.activations == "int16" else "int32")
            elif isinstance(constraint, SameAs):
                grid = self.output.grid
            else:
                assert isinstance(constraint, Free)
                own = self.config.activations in constraint.dtypes
                dtype = self.config.activations if own else constraint.dtypes[0]
                grid = range_to_grid(*torch.aminmax(tensor.detach()), dtype)
            found[role] = (tensor, grid)
        return found

    def _weight_scale(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        source = self.sources["input"].step
        if self.covering:
            return with_room_for_bias(self._covering_scale(weight), bias, source)
        learned = torch.exp(self.log_weight_scale.detach()) if self._learns else None
        scale = self._covering_scale(weight) * self.weight_clip if learned is None else learned
        return with_room_for_bias(torch.where(self.weight_step > 0, self.weight_step, scale), bias, source)

    def _covering_scale(self, weight: Tensor) -> Tensor:
        limit = _HIGHEST_CODE[self.config.weight_dtype]
        return torch.div(largest_magnitude(weight, self.scale_axis), limit)

    def _codes(self, role: str, tensor: Tensor, grid: Grid) -> Tensor:
        if isinstance(self.row.constraint(role), BiasFromAccumulator):
            return bias_codes(tensor, grid).to(torch.int64)
        if isinstance(self.row.constraint(role), SymmetricWeight):
            return weight_codes(tensor, grid, self.scale_axis)
        return quantize(tensor.detach(), grid, *grid.limits)

    def _stored(self, role: str, tensor: Tensor, grid: Grid) -> Constant:
        codes = self._codes(role, tensor, grid)
        axis = None if grid.scale.dim() == 0 else 0
        constraint = self.row.constraint(role)
        if isinstance(constraint, SymmetricWeight) and axis is not None:
            axis = constraint.axis
        order = self.row.weight_order.get(role)
        if order is not None:
            codes = lift_weight(codes).permute(order)
        return Constant(codes, grid, axis)
