"""The routes through a layer: what it computes in each mode, as functions of the layer and of what comes in.

Which one a layer takes is chosen when something changes that it depends on (:func:`route_of`), not at every call. In
FLOAT and CALIBRATE a route takes and gives real tensors; in QUANTIZED tensors in steps of their quantizers' grids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import get_ident
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn import functional as F

from qtorch.config import LayerConfig
from qtorch.network.axis_order import from_device, from_image, lift_weight, to_device, to_image
from qtorch.network.batch_norm import BatchNorm, normalized_in_steps
from qtorch.network.kernel_probe import adds_exactly
from qtorch.network.layer_constants import LayerConstants
from qtorch.network.mode import Mode
from qtorch.network.opaque_to_compilers import integers_of, tables_of
from qtorch.network.poles import defined, finite_slopes
from qtorch.network.quantizer import Quantizer
from qtorch.network.state_quantizer import StateQuantizer
from qtorch.network.sum_constants import LinearRun, from_figures, rescaled_anew, sum_constants
from qtorch.network.summing import require_results, require_sums
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.functional import along, bias_scale, codes_of_steps
from qtorch.numbers.linear_in_steps import linears_in_steps
from qtorch.numbers.straight_through import replace_value
from qtorch.row.fused_activation import activate
from qtorch.row.row import Attrs, Row
from qtorch.row.steps_by_table import StepTables, looked_up, sloped
from qtorch.surroundings import without_values

#: From how many numbers on a pass over them takes longer than some calls.
_MANY = 2**15

__all__ = ["Layer", "Route", "computing_route", "float_op", "integers_of_steps", "route_of", "sums_route"]


class Layer(Protocol):
    """What the routes read of a layer; :class:`qtorch.network.quantized_op.QuantizedOp` is one."""

    row: Row
    attrs: Attrs
    #: The same with no fused activation.
    bare_attrs: Attrs
    #: By role, in the order of the call's arguments.
    sources: dict[str, Quantizer]
    config: LayerConfig
    constants: LayerConstants
    rounds_output: bool
    takes_reals: frozenset[str]
    training: bool
    #: Between the op and its batch norm.
    dropout: nn.Module | None
    #: Quantizers of states with a grid of their own, by name.
    states: dict[str, StateQuantizer]
    #: See :class:`qtorch.network.sum_constants.SumLayer`.
    is_linear: bool

    @property
    def integer_attrs(self) -> Attrs:
        """The attributes of the op in integers."""

    #: By which it is found from a compiled graph.
    number: int

    def tables(self) -> StepTables:
        """Values and slopes of a function of one code."""

    @property
    def output(self) -> Quantizer:
        """The quantizer of the result."""

    @property
    def norm(self) -> BatchNorm | None:
        """The batch norm that is folded into the op."""

    @property
    def norm_frozen(self) -> bool:
        """Whether that uses its running statistics in training too."""


#: A layer and its inputs to its result, a tuple of tensors where the op has several.
Route = Callable[..., Any]


def route_of(layer: Layer, mode: Mode) -> Route:
    """The route that a layer takes in ``mode``, from here on until its mode, a flag or its weight's grid changes."""
    if mode in (Mode.FLOAT, Mode.CALIBRATE):
        return float_route
    if layer.config.skip:
        return skipped_route
    if layer.row.selects or layer.output.of_indices:
        return selecting_route
    if layer.constants.weight_grid is not None:
        constant = layer.norm is None or (layer.norm_frozen and layer.dropout is None)
        return sums_route if constant else normalizing_route
    if _is_plain(layer) and layer.row.by_table and layer.sources["input"].learned == "measured":
        return looked_up_route
    return stepwise_route if _is_plain(layer) and layer.row.in_steps is not None else twice_route


def _is_plain(layer: Layer) -> bool:
    """Whether rounding to the output's grid has the gradient that rows know of."""
    return layer.output.learned == "measured" and layer.output.config.gradient == "clipped"


def computing_route(route: Route, layer: Layer, *inputs: Tensor) -> Any:
    """Another route, of a layer with constants that are computed from parameters: once in a call."""
    with layer.constants.computed.once():
        return route(layer, *inputs)


def float_route(layer: Layer, *inputs: Tensor) -> Any:
    """The float network's op; the quantizer of its result looks on."""
    tensors = _by_role(layer, inputs)
    if layer.row.states is not None:
        y, states = layer.row.states.traced(layer.attrs, {**tensors, **layer.constants.unrounded()})
        for name, values in states.items():
            layer.states[name](values)
        return layer.output(y)
    constants = layer.constants.unrounded()
    y = _normalized(layer, tensors, constants)
    if layer.row.measured is not None:
        layer.output(layer.row.measured(layer.attrs, y, {**tensors, **constants}))
        if "table" in constants and layer.output.mode is Mode.CALIBRATE:
            # Rows that no sample of these asks for, others will.
            layer.output(constants["table"])
        return y
    return _each(layer.output, y)


def skipped_route(layer: Layer, *inputs: Tensor) -> Any:
    """What a layer that is left in float32 computes, in steps where an integer layer reads it."""
    tensors = _reals(layer, inputs)
    if _normalizes_by_batch(layer) or _drops(layer):
        y = _normalized(layer, tensors, layer.constants.unfolded())
    elif layer.row.selects:
        y = float_op(layer, layer.attrs, {**tensors, **layer.constants.folded()})
    else:
        arithmetic = partial(float_op, layer, layer.attrs)
        y = finite_slopes(arithmetic, {**tensors, **layer.constants.folded()})
    return _each(layer.output.steps_of, y) if layer.rounds_output else y


def selecting_route(layer: Layer, *inputs: Tensor) -> Any:
    """What only picks elements, or says where they are, does so with steps."""
    _require_numbers(layer)
    return float_op(layer, layer.attrs, {**_by_role(layer, inputs), **layer.constants.in_steps()[0]})


def normalizing_route(layer: Layer, *inputs: Tensor) -> Any:
    """A batch norm by itself, while it is in training and normalizes by the batch, or while dropout in front of it is:
    no device's integers, but on its grids."""
    by_batch = _normalizes_by_batch(layer)
    if not by_batch and not _drops(layer):
        return sums_route(layer, *inputs)
    _require_numbers(layer)
    (x,) = inputs
    layer.constants.require_float32()
    # One pass over the weights is less than one over the input.
    weight = layer.constants.scaled_weight() * layer.sources["input"].scale
    y = float_op(layer, layer.bare_attrs, {**layer.constants.unfolded(), "input": x, "weight": weight})
    assert layer.norm is not None
    norm, output, activation = layer.norm, layer.output, layer.attrs["activation"]
    y = y if layer.dropout is None else layer.dropout(y)
    if not by_batch:
        return output.steps_of_normalized(_by_running_statistics(norm, y), activation)
    if norm.weight is None or norm.bias is None or output.follows or y.numel() < _MANY:
        return output.steps_of_normalized(norm(y), activation)
    return output.rounded(normalized_in_steps(norm, y, output.scale), activation, overwrite=True)


def sums_route(layer: Layer, x: Tensor) -> Tensor:
    """Sums of products as the device has them: of steps, without rounding, and then brought onto the output's grid."""
    figures, activation, output = layer.constants.figures, layer.attrs["activation"], layer.output
    if isinstance(figures, LinearRun) and figures.thread != get_ident():
        figures = None
    if figures is None:
        layer.constants.require_float32()
        _require_numbers(layer)
        made = sum_constants(layer, x)
    elif isinstance(figures, LinearRun):
        if not figures.constants:
            # Computed with the layers before it.
            return x
        if len(x) <= min([each.most for each in figures.figures]):
            return linears_in_steps(x, figures.parameters(), figures.figures)
        figures.part()
        made = from_figures(figures.figures[0].sums, layer)
    else:
        made = from_figures(figures, layer)
    dtype, with_bias = made.summing.dtype, made.summing.with_bias
    tensors = {"input": x, "weight": made.weight}
    if dtype is torch.float32 and not _adds_exactly(layer, x, made.weight):
        dtype = torch.float64
    if dtype is not torch.float32:
        tensors = {role: each.to(dtype) for role, each in tensors.items()}
    if made.bias is not None and with_bias:
        tensors["bias"] = made.bias.to(dtype)
    sums = float_op(layer, layer.bare_attrs, tensors)
    axis = 1 if layer.row.channels_last else sums.dim() - 1
    if made.bias is not None and not with_bias:
        sums = sums + along(made.bias, axis, sums.dim())
    if made.summing.may_overflow:
        require_sums(sums, output.dtype)
    if output.follows:
        unit = bias_scale(layer.sources["input"].scale, made.scale)
        real = sums.detach() * along(unit, axis, sums.dim())
        output.follow(activate(activation, real).to(torch.float32))
        made = rescaled_anew(made, layer)
    factors = made.rescaling.along(axis, sums.dim())
    if output.dtype != "int8":
        require_results(sums, made.summing, factors)
    return output.steps_of_sums(sums, factors, activation, any_sum=made.any_sum)


def _adds_exactly(layer: Layer, x: Tensor, weight: Tensor) -> bool:
    """Whether the kernel that is taken for a layer's float32 sums does nothing but multiply and add."""
    if x.is_cpu and not layer.row.channels_last:
        return True

    def sums(x: Tensor, weight: Tensor) -> Tensor:
        y: Tensor = float_op(layer, layer.bare_attrs, {"input": x, "weight": weight})
        return y

    op = (layer.row.name, *sorted(layer.bare_attrs.items()))
    return adds_exactly(op, sums, x, weight, layer.sources["input"].reach)


def looked_up_route(layer: Layer, x: Tensor) -> Tensor:
    """What depends on one code alone, from a table."""
    if layer.output.follows or without_values(x):
        return twice_route(layer, x)
    tables = tables_of(layer.number, x) if is_compiling() else layer.tables()
    return looked_up(x, tables, layer.sources["input"].zero_point)


def stepwise_route(layer: Layer, *inputs: Tensor) -> Tensor:
    """The row's own arithmetic on steps."""
    if layer.output.follows:
        return twice_route(layer, *inputs)
    _require_numbers(layer)
    steps, grids = layer.constants.in_steps()
    grids |= {role: source.grid for role, source in layer.sources.items()} | {"output": layer.output.grid}
    assert layer.row.in_steps is not None
    arithmetic = partial(layer.row.in_steps, layer.attrs, grids=grids)
    y: Tensor = _on_images(layer, arithmetic, {**_by_role(layer, inputs), **steps})
    return y


def twice_route(layer: Layer, *inputs: Tensor) -> Any:
    """The integers of the row's reference, with the gradients of its float arithmetic: both are computed."""
    if not is_compiling() and without_values(inputs[0]):
        # Integers are values; of what has none, the shape is all there is to compute.
        return float_op(layer, layer.attrs, {**_by_role(layer, inputs), **layer.constants.folded()})
    if not (torch.is_grad_enabled() or layer.output.follows or is_compiling()):
        return integers_of_steps(layer, inputs)
    y = _each(layer.output.steps_of, _numbers(layer, inputs))
    integers = integers_of(layer.number, inputs, y) if is_compiling() else integers_of_steps(layer, inputs)
    # Of NaN there is no integer, and it is not looked for in the middle of a step: it has to come out as NaN.
    return replace_value(y, torch.where(torch.isnan(y.detach()), y.detach(), integers))


def _numbers(layer: Layer, inputs: tuple[Tensor, ...]) -> Any:
    """The op's float arithmetic on numbers of the grids, with a number and a slope at codes where it has none."""
    steps, grids = layer.constants.in_steps()
    tensors = _reals(layer, inputs) | {role: each * grids[role].scale for role, each in steps.items()}
    arithmetic = partial(float_op, layer, layer.attrs)
    if layer.row.by_table and not is_compiling():
        return sloped(lambda x: arithmetic({"input": x}), tensors["input"])
    # What has its own arithmetic in steps is products, sums and means.
    return arithmetic(tensors) if layer.row.in_steps else defined(arithmetic, tensors)


def float_op(layer: Layer, attrs: Attrs, tensors: Mapping[str, Tensor]) -> Any:
    """The op's float arithmetic alone, on PyTorch's axis order: no batch norm and no grid."""
    return _on_images(layer, partial(layer.row.forward, attrs), tensors)


def _on_images(layer: Layer, arithmetic: Callable[[Mapping[str, Tensor]], Any], tensors: Mapping[str, Tensor]) -> Any:
    """``arithmetic`` on tensors of the rank that the row wants."""
    if not layer.row.channels_last:
        return arithmetic(tensors)
    rank = tensors["input"].dim()
    lifted = {r: to_image(t) if r in layer.sources else lift_weight(t) for r, t in tensors.items()}
    return from_image(arithmetic(lifted), rank)


def _require_numbers(layer: Layer) -> None:
    """Name NaN among the constants, but not in the middle of a training step."""
    if not ((layer.training and torch.is_grad_enabled()) or is_compiling()):
        layer.constants.require_numbers()


def _by_role(layer: Layer, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """What comes in, by role, to a layer in float32."""
    layer.constants.require_float32()
    return dict(zip(layer.sources, inputs, strict=True))


def _normalizes_by_batch(layer: Layer) -> bool:
    # Read at every call: training loops put single batch norms into evaluation, which their layers are not told.
    if layer.norm is None or not layer.norm.training or layer.norm_frozen:
        return False
    layer.constants.normalized_by_batch = True
    return True


def _drops(layer: Layer) -> bool:
    return layer.dropout is not None and layer.dropout.training


def _normalized(layer: Layer, tensors: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> Any:
    """The float op with its batch norm beside it, which then normalizes by the batch in training."""
    norm = layer.norm
    if norm is None:
        return float_op(layer, layer.attrs, {**tensors, **constants})
    y = float_op(layer, layer.bare_attrs, {**tensors, **constants})
    y = y if layer.dropout is None else layer.dropout(y)
    y = _by_running_statistics(norm, y) if layer.norm_frozen else norm(y)
    return activate(layer.attrs["activation"], y)


def _by_running_statistics(norm: BatchNorm, y: Tensor) -> Tensor:
    return F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


def _reals(layer: Layer, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """What comes in, by role, as real numbers."""
    tensors = _by_role(layer, inputs)
    return {role: x if role in layer.takes_reals else layer.sources[role].real(x) for role, x in tensors.items()}


def _each(function: Callable[[Tensor], Tensor], y: Any) -> Any:
    return tuple(function(part) for part in y) if isinstance(y, tuple) else function(y)


@torch.no_grad()
def integers_of_steps(layer: Layer, inputs: Sequence[Tensor]) -> Any:
    """What the device makes of the codes of ``inputs``, given in steps of their grids, as is what it makes.

    Raises:
        NotFinite: a constant is NaN.
        AccumulatorOverflow: a sum leaves its integer type.
    """
    channels_last, tensors = layer.row.channels_last, _by_role(layer, tuple(inputs))
    codes, grids = {}, {"output": layer.output.grid}
    for role, x in tensors.items():
        grid = layer.sources[role].grid
        codes[role], grids[role] = to_device(codes_of_steps(x.nan_to_num(), grid), channels_last), grid
    for role, constant in layer.constants.integers_of_numbers().items():
        codes[role], grids[role] = constant.codes, constant.grid
    y = layer.row.reference(layer.integer_attrs, codes, grids, Rounding.DOUBLE)
    rank = next(iter(tensors.values())).dim()
    return from_device((y - layer.output.grid.zero_point).to(torch.float32), channels_last, rank)
