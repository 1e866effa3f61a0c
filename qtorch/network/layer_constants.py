"""A layer's constants: as they are trained, with what is folded into them, on their grids, and as the device has them.

One function quantizes a weight, in training and at export alike.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qtorch.capture.constant_expression import ConstantExpression
from qtorch.config import LayerConfig
from qtorch.network.axis_order import lift_weight
from qtorch.network.batch_norm import BatchNorm, fold, scaling
from qtorch.network.computed_constants import ComputedConstants
from qtorch.network.folded_normalization import FoldedNormalization
from qtorch.network.quantizer import Quantizer
from qtorch.network.summing import largest_products
from qtorch.network.weight_grid import WeightGrid
from qtorch.numbers.functional import (
    SMALLEST_WEIGHT_SCALE,
    WEIGHT_RANGE,
    along,
    bias_codes,
    bias_scale,
    bias_steps,
    largest_magnitude,
    quantize,
    range_to_grid,
    weight_codes,
    with_room_for_bias,
)
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.numbers.short_mantissa import power_of_two_beside, rounded_up_short
from qtorch.numbers.straight_through import Ends, round_and_hold
from qtorch.numbers.sum_figures import SumFigures
from qtorch.row.constraints import BiasFromAccumulator, Free, SameAs, SymmetricWeight
from qtorch.row.row import Row
from qtorch.surroundings import require_float32, require_no_nan, without_values

if TYPE_CHECKING:
    from qtorch.network.sum_constants import LinearRun

__all__ = ["Constant", "LayerConstants"]

_ZERO = torch.zeros((), dtype=torch.int32)


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


class LayerConstants:
    """The constants of one layer, by role.

    They are parameters and buffers of ``holder`` under their roles' names, and are looked up there at every use: an
    optimizer, a checkpoint, pruning or a move to another device finds, and may replace, them where PyTorch has them.

    Args:
        row: the op.
        holder: the module that has the constants, and ``log_weight_scale`` where the weight's scale is learned.
        roles: of the constants, in the kernel's order.
        config: how to quantize.
        sources: the quantizers of the tensors that come in at run time, by role.
        output: the quantizer of the result.
        norm: a batch norm to fold; it is registered where it stands in the network.
        front: a normalization of the input to fold; likewise.
        expressions: those that are computed from parameters of other modules, by role; ``holder`` has none of them.

    Attributes:
        weight_grid: of the weight, where there is one that sums of products are made with; else ``None``.
        trained_as_they_are: whether all constants are parameters, and nothing is folded into them.
        computed: those of ``roles`` that are expressions.
        figures: what the sums of the step that is being computed are made with, where the network worked it out.
        normalized_by_batch: whether the batch norm has normalized by a batch in quantized training.
    """

    def __init__(
        self,
        row: Row,
        holder: nn.Module,
        roles: Sequence[str],
        config: LayerConfig,
        sources: Mapping[str, Quantizer],
        output: Quantizer,
        norm: BatchNorm | None,
        front: FoldedNormalization | None,
        expressions: Mapping[str, ConstantExpression],
    ) -> None:
        self.row, self.holder, self.roles, self.config = row, holder, tuple(roles), config
        self.sources, self.output, self.norm, self.front = sources, output, norm, front
        self.computed = ComputedConstants(holder, expressions)
        self.normalized_by_batch = False
        self.figures: LinearRun | SumFigures | None = None
        bare = norm is None and front is None
        self.trained_as_they_are = bare and all(role in holder._parameters for role in roles)
        self.weight_grid: WeightGrid | None = None
        demand = row.constraints.get("weight")
        if isinstance(demand, SymmetricWeight) and "weight" in roles:
            per_channel = config.weights == "per_channel" and config.weight_dtype not in demand.per_tensor
            channels = self.own()["weight"].shape[self.channel_axis]
            self.weight_grid = WeightGrid(config, self.channel_axis if per_channel else None, channels)

    def __getstate__(self) -> dict[str, Any]:
        # What is given for a call is that call's, and no copy's.
        return {**self.__dict__, "figures": None}

    def held_by(self, holder: nn.Module) -> LayerConstants:
        """The same constants of another module: of a copy that shares everything but the parameters themselves."""
        if holder is self.holder:
            return self
        constants = copy.copy(self)
        constants.holder, constants.figures, constants.computed = holder, None, self.computed.held_by(holder)
        return constants

    # What is trained, and what float arithmetic takes.

    def own(self) -> dict[str, Tensor]:
        """The constants as they are trained: parameters, what pruning computes of one, buffers."""
        # nn.Module's own look-up takes several times as long, in every layer of every step.
        parameters: Any = self.holder._parameters
        if self.computed:
            parameters = {**parameters, **self.computed.now()}
        return {role: parameters[role] if role in parameters else getattr(self.holder, role) for role in self.roles}

    def held(self) -> dict[str, Tensor | ConstantExpression]:
        """What the constants are, by role: tensors, and expressions, also those that were made permanent."""
        expressions = self.computed.expressions
        return {role: expressions[role] if role in expressions else getattr(self.holder, role) for role in self.roles}

    def writable(self, role: str) -> Tensor:
        """One as a tensor that can be written to for good: an expression is made permanent."""
        self.computed.make_permanent(role)
        return self.own()[role]

    def unfolded(self) -> dict[str, Tensor]:
        """The constants with nothing folded in but a normalization of the input."""
        own = self.own()
        return own if self.front is None else self.front.fold(own["weight"], own.get("bias"))

    def unrounded(self) -> dict[str, Tensor]:
        """:meth:`unfolded`, depending on every parameter as the quantizer's output does."""
        constants = self.unfolded()
        if self.learned_scale is not None and torch.is_grad_enabled():
            constants["weight"] = constants["weight"] + 0.0 * self.learned_scale.sum()
        return constants

    def folded(self) -> dict[str, Tensor]:
        """The constants with the batch norm's running statistics folded in, and a bias where the kernel needs one."""
        constants = self.unfolded()
        if self.norm is not None:
            constants |= fold(self.norm, constants["weight"], constants.get("bias"), self.channel_axis)
        elif self.row.needs_bias and "bias" not in constants:
            weight = constants["weight"]
            constants["bias"] = weight.new_zeros(weight.shape[self.channel_axis])
        return constants

    @property
    def taken_as_they_are(self) -> bool:
        """Whether the kernel takes what is trained: nothing is folded in, and no bias is made up."""
        return self.trained_as_they_are and not self.row.needs_bias

    def real(self) -> dict[str, Tensor]:
        """:meth:`folded`, without gradients."""
        if self.taken_as_they_are:
            return {role: tensor.detach() for role, tensor in self.own().items()}
        with torch.no_grad():
            return {role: tensor.detach() for role, tensor in self.folded().items()}

    # On their grids.

    def in_steps(self) -> tuple[dict[str, Tensor], dict[str, Grid]]:
        """The folded constants in whole steps of their grids, with gradients, and the grids.

        A weight is float32; a bias float64, because float32 can't hold every int32.
        """
        if self.weight_grid is None:
            pairs = self.with_grids()
            grids = {role: grid for role, (_, grid) in pairs.items()}
            return {role: _activation_steps(*pair) for role, pair in pairs.items()}, grids
        # Said once more than in with_grids, because every training step comes through here.
        folded = self.own() if self.taken_as_they_are else self.folded()
        weight, bias = folded["weight"], folded.get("bias")
        source, learned = self.sources["input"].scale, self.learned_scale
        scale = self.weight_grid.scale(weight, bias, source, learned)
        steps, grids = {"weight": self.weight_grid.steps(weight, scale, learned)}, {"weight": self._weight_grid(scale)}
        if bias is not None:
            grids["bias"] = Grid(bias_scale(source, scale), _ZERO, self.bias_dtype)
            steps["bias"] = bias_steps(bias, grids["bias"])
        return steps, grids

    def scaled_weight(self) -> Tensor:
        """The unfolded weight, rounded as it is once the batch norm is folded in, and scaled back; real numbers.

        Rounding to a grid per channel commutes with scaling the channel, so this is what the frozen network will see.
        """
        grid = self.weight_grid
        assert grid is not None
        assert self.norm is not None
        weight = self.unfolded()["weight"]
        if grid.covering and not grid.short:
            # Then the factor cancels; that a large bias may widen the scale, it does not have to see.
            scale = torch.clamp_min(grid.covering_scale(weight), SMALLEST_WEIGHT_SCALE)
            return grid.steps(weight, scale, None) * along(scale, grid.axis, weight.dim())
        factor = scaling(self.norm, weight.dim(), self.channel_axis)
        folded = self.folded()
        scale = grid.scale(folded["weight"], folded["bias"], self.sources["input"].scale, self.learned_scale)
        steps = grid.steps(weight * factor, scale, self.learned_scale)
        return steps * along(scale, grid.axis, weight.dim()) / factor

    @torch.no_grad()
    def rounded(self) -> dict[str, Tensor]:
        """:meth:`real` on their grids: the real numbers that the device's integers stand for."""
        steps, grids = self.in_steps()
        axis = None if self.weight_grid is None else self.weight_grid.axis
        return {
            role: (each * along(grids[role].scale, axis if role == "weight" else 0, each.dim())).to(torch.float32)
            for role, each in steps.items()
        }

    def with_grids(self) -> dict[str, tuple[Tensor, Grid]]:
        """Every folded constant with its grid; a weight's scale is ``[C]`` per channel, else ``[]``."""
        pairs: dict[str, tuple[Tensor, Grid]] = {}
        folded = self.folded()
        # A bias lies on its weight's grid, so that has to be known.
        for role in sorted(folded, key=lambda role: isinstance(self.row.constraint(role), BiasFromAccumulator)):
            tensor, constraint = folded[role], self.row.constraint(role)
            if isinstance(constraint, SymmetricWeight) and self.weight_grid is None:
                grid = self._weight_grid(self._one_scale(role, folded))
            elif isinstance(constraint, SymmetricWeight):
                assert self.weight_grid is not None
                source = self.sources["input"].scale
                scale = self.weight_grid.scale(tensor, folded.get("bias"), source, self.learned_scale)
                grid = self._weight_grid(scale)
            elif isinstance(constraint, BiasFromAccumulator):
                scale = bias_scale(self.sources[constraint.input].scale, pairs[constraint.weight][1].scale)
                grid = Grid(scale, _ZERO, self.bias_dtype)
            elif isinstance(constraint, SameAs):
                grid = self.output.grid
            else:
                assert isinstance(constraint, Free)
                own = self.config.activations in constraint.dtypes
                dtype = self.config.activations if own else constraint.dtypes[0]
                grid = range_to_grid(*torch.aminmax(tensor.detach()), dtype)
                if self.row.divides_scales and dtype == "int16":
                    others = [*(source.scale for source in self.sources.values()), self.output.scale]
                    grid = grid._replace(scale=power_of_two_beside(grid.scale, others))
            pairs[role] = (tensor, grid)
        return pairs

    # As the device has them.

    def integers(self) -> dict[str, Constant]:
        """The integers that the constants become on the device; the same code serves training and export."""
        return {role: self._stored(role, *pair) for role, pair in self.with_grids().items()}

    def require_numbers(self) -> None:
        """Refuse constants for which there is no integer.

        Raises:
            NotFinite: one is NaN.
        """
        for role, tensor in self.own().items():
            require_no_nan(tensor, f"{role!r} of a {self.row.name} layer")
        if self.norm is not None and self.norm.running_var is not None:
            require_no_nan(self.norm.running_var, f"the running statistics of a {self.row.name} layer's batch norm")

    def integers_of_numbers(self) -> dict[str, Constant]:
        """:meth:`integers`, for arithmetic on them.

        Raises:
            NotFinite: a constant is NaN, for which there is no integer.
        """
        self.require_numbers()
        return self.integers()

    @torch.no_grad()
    def stored_floats(self) -> dict[str, Tensor]:
        """:meth:`real` as a float file stores them."""
        constants = self.real()
        for role, order in self.row.weight_order.items():
            if role in constants:
                constants[role] = lift_weight(constants[role]).permute(order)
        return constants

    @torch.no_grad()
    def settle_weight(self) -> None:
        """Let the weight's observer decide what its scale covers, from the weight as it is now."""
        if self.weight_grid is not None and not self.weight_grid.covering:
            self.weight_grid.settle(self.folded()["weight"], self.learned_scale)

    # What they are made of.

    @property
    def learned_scale(self) -> Tensor | None:
        """The natural logarithm of the weight's scale, float32 ``[C]`` or ``[]``, where that is learned."""
        return self.holder._parameters.get("log_weight_scale")

    @property
    def bias_dtype(self) -> str:
        """``"int32"`` or ``"int64"``."""
        return "int64" if self.config.activations == "int16" else "int32"

    @property
    def channels(self) -> int:
        """How many output channels the weight has."""
        return int(self.own()["weight"].shape[self.channel_axis])

    @property
    def largest_products(self) -> float:
        """No sum of products of int8 weights with steps of the input's grid is larger."""
        return largest_products(self.own()["weight"], self.channel_axis, self.sources["input"].reach)

    @property
    def weight_limit(self) -> int:
        """The weight's highest code."""
        return WEIGHT_RANGE[self.config.weight_dtype][1]

    def on_cpu_in_float32(self) -> bool:
        """Whether all are, and are parameters or buffers: what is neither is computed whenever it is asked for."""
        parameters, buffers = self.holder._parameters, self.holder._buffers
        for role in self.roles:
            each = parameters[role] if role in parameters else buffers.get(role)
            if each is None or each.dtype is not torch.float32 or not each.is_cpu:
                return False
        learned = self.learned_scale
        return learned is None or (learned.dtype is torch.float32 and learned.is_cpu)

    @property
    def channel_axis(self) -> int:
        """PyTorch's axis of the weight's output channels."""
        constraint = self.row.constraints["weight"]
        assert isinstance(constraint, SymmetricWeight)
        order = self.row.weight_order.get("weight")
        return constraint.axis if order is None else order[constraint.axis]

    def require_float32(self) -> None:
        """Refuse parameters of another type.

        Raises:
            BadConfiguration: one is not float32.
        """
        require_float32(chain(self.holder._parameters.items(), self.holder._buffers.items()), self.row.name)
        for each in self.computed.expressions.values():
            require_float32(each.tensors(), self.row.name)

    @torch.no_grad()
    def _one_scale(self, role: str, folded: Mapping[str, Tensor]) -> Tensor:
        """Of one of several weights: that of its largest magnitude, for the whole tensor, with room for its bias."""
        demands = {each: self.row.constraint(each) for each in folded}
        biases = (
            each for each, d in demands.items() if isinstance(d, BiasFromAccumulator) and d.weight == role
        )  # fmt: skip
        bias = next(biases, None)
        scale = largest_magnitude(folded[role], None) / self.weight_limit
        room = with_room_for_bias(scale, None if bias is None else folded[bias], self.sources["input"].scale)
        return rounded_up_short(room)

    def _weight_grid(self, scale: Tensor) -> Grid:
        return Grid(scale, _ZERO, self.config.weight_dtype)

    def _stored(self, role: str, tensor: Tensor, grid: Grid) -> Constant:
        constraint = self.row.constraint(role)
        axis = None if grid.scale.dim() == 0 else 0
        if isinstance(constraint, BiasFromAccumulator):
            codes = bias_codes(tensor, grid).to(torch.int64)
        elif isinstance(constraint, SymmetricWeight):
            codes = weight_codes(tensor, grid, None if self.weight_grid is None else self.weight_grid.axis)
            axis = None if axis is None else constraint.axis
        else:
            codes = quantize(tensor.detach(), grid, *grid.limits)
        order = self.row.weight_order.get(role)
        if order is not None:
            codes = lift_weight(codes).permute(order)
        return Constant(codes, grid, axis)


def _activation_steps(tensor: Tensor, grid: Grid) -> Tensor:
    """A constant of an op without weights, quantized as an activation is."""
    if without_values(tensor):
        return tensor.clone()
    low, high = (code - grid.zero_point.to(torch.float32) for code in grid.limits)
    return round_and_hold(torch.div(tensor, grid.scale), Ends(low, high))
