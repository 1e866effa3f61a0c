"""The routes through a layer: what it computes in each mode, as functions of the layer and of what comes in.

Which one a layer takes is chosen when something changes that it depends on (:func:`route_of`), not at every call. A
route takes real tensors whose values, but for FLOAT and CALIBRATE, lie on their quantizers' grids, and gives such
tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from qtorch.config import LayerConfig
from qtorch.network.axis_order import from_device, from_image, lift_weight, to_device, to_image
from qtorch.network.batch_norm import BatchNorm
from qtorch.network.layer_constants import LayerConstants
from qtorch.network.quantizer import Mode, Quantizer
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.functional import codes_on_grid, dequantize, with_room_for_bias
from qtorch.numbers.straight_through import fake_accumulator, fake_constants, fake_normalized, replace_value
from qtorch.row.fused_activation import activate
from qtorch.row.row import Attrs, Row
from qtorch.surroundings import require_float32, without_values

__all__ = ["Layer", "Route", "exact_route", "fake_route", "float_op", "route_of"]


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
    if layer.row.selects:
        return selecting_route
    if layer.norm is not None and not layer.norm_frozen:
        return normalizing_route
    return exact_route


def float_route(layer: Layer, *inputs: Tensor) -> Any:
    """The float network's op; the quantizer of its result looks on."""
    tensors = _by_role(layer, inputs)
    return _on_grid(layer, _normalized(layer, tensors, layer.constants.unrounded()))


def skipped_route(layer: Layer, *inputs: Tensor) -> Any:
    """What a layer that is left in float32 computes, rounded where an integer layer reads it."""
    tensors = _by_role(layer, inputs)
    if _normalizes_by_batch(layer):
        y = _normalized(layer, tensors, layer.constants.unfolded())
    else:
        y = float_op(layer, layer.attrs, {**tensors, **layer.constants.folded()})
    return _on_grid(layer, y) if layer.rounds_output else y


def selecting_route(layer: Layer, *inputs: Tensor) -> Any:
    """What only picks elements keeps them on their grid."""
    tensors = _by_role(layer, inputs)
    return float_op(layer, layer.attrs, {**tensors, **layer.constants.fake()[0]})


def exact_route(layer: Layer, *inputs: Tensor) -> Any:
    """The device's own integers, with :func:`fake_route`'s gradients."""
    tensors = _by_role(layer, inputs)
    if without_values(inputs[0]):
        # Integers are values; of what has none, the shape is all there is to compute.
        return _fake(layer, tensors)
    if not torch.is_grad_enabled():
        return _integers(layer, tensors)
    y = _fake(layer, tensors)
    return replace_value(y, _integers(layer, tensors))


def fake_route(layer: Layer, *inputs: Tensor) -> Any:
    """Float arithmetic on rounded constants, its result rounded to the output's grid."""
    return _fake(layer, _by_role(layer, inputs))


def normalizing_route(layer: Layer, *inputs: Tensor) -> Any:
    """:func:`fake_route` with a batch norm that, while it is in training, normalizes by the batch."""
    tensors = _by_role(layer, inputs)
    if not _normalizes_by_batch(layer):
        return exact_route(layer, *inputs)
    constants = {**layer.constants.unfolded(), "weight": layer.constants.fake_scaled_weight()}
    output, norm = layer.output, layer.norm
    if not _is_rounding(layer) or output.observing:
        return output(_normalized(layer, tensors, constants))
    assert norm is not None
    y = norm(float_op(layer, layer.bare_attrs, {**tensors, **constants}))
    return fake_normalized(y, output.measured, output.bounds(layer.attrs["activation"] == "relu"))


def sum_of_products_route(layer: Layer, x: Tensor) -> Tensor:
    """:func:`fake_route` of the layers that most networks consist of, written for speed: small ones live off it."""
    constants = layer.constants
    own: Any = constants.holder._parameters
    weight, bias = own.get("weight"), own.get("bias")
    source, output, grid = layer.sources["input"], layer.output, constants.weight_grid
    computed = weight is None or (bias is None and "bias" in constants.roles)
    if computed or weight.dtype is not torch.float32 or output.observing:
        # Computed from other parameters, as pruning does it, or refused; or the range is to be followed.
        require_float32(own.items(), layer.row.name)
        y: Tensor = _fake(layer, {"input": x})
        return y
    assert grid is not None
    # A bias that widens the scale is some millions of times its channel's weights: training need not see that.
    room = None if torch.is_grad_enabled() else bias
    scale = with_room_for_bias(grid.covering_scale(weight), room, source.step)
    unit = torch.mul(source.measured, scale)
    weight, bias = fake_constants(weight, bias, scale, unit, grid.axis)
    tensors = {"input": x, "weight": weight} if bias is None else {"input": x, "weight": weight, "bias": bias}
    y = float_op(layer, layer.bare_attrs, tensors)
    bounds = output.bounds(layer.attrs["activation"] == "relu")
    return fake_accumulator(y, unit, output.measured, bounds, 1 if layer.row.channels_last else y.dim() - 1)


def float_op(layer: Layer, attrs: Attrs, tensors: Mapping[str, Tensor]) -> Any:
    """The op's float arithmetic alone, on PyTorch's axis order: no batch norm and no grid."""
    if not layer.row.channels_last:
        return layer.row.forward(attrs, tensors)
    rank = tensors["input"].dim()
    lifted = {r: to_image(t) if r in layer.sources else lift_weight(t) for r, t in tensors.items()}
    return from_image(layer.row.forward(attrs, lifted), rank)


def _is_rounding(layer: Layer) -> bool:
    """Whether bringing a result onto its grid is nothing but bounds and a rounding."""
    output, activation = layer.output, layer.attrs.get("activation")
    return output.learned == "measured" and output.config.gradient == "clipped" and activation in ("none", "relu")


def _is_sum_of_products(layer: Layer) -> bool:
    """Whether a layer is as :func:`sum_of_products_route` takes it for granted, its FAKE mode being asked for."""
    constants = layer.constants
    grid = constants.weight_grid
    return (
        grid is not None
        and grid.covering
        and constants.trained_as_they_are
        and layer.config.activations == "int8"
        and layer.sources["input"].learned == "measured"
        and _is_rounding(layer)
        and not layer.output.observing
    )


def _by_role(layer: Layer, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """What comes in, by role, to a layer in float32."""
    layer.constants.require_float32()
    return dict(zip(layer.sources, inputs, strict=True))


def _on_grid(layer: Layer, y: Any) -> Any:
    output = layer.output
    return tuple(output(part) for part in y) if isinstance(y, tuple) else output(y)


def _normalizes_by_batch(layer: Layer) -> bool:
    # Read at every call: training loops put single batch norms into evaluation, which their layers are not told.
    if layer.norm is None or not layer.norm.training or layer.norm_frozen:
        return False
    layer.constants.normalized_by_batch = True
    return True


def _normalized(layer: Layer, tensors: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> Any:
    """The float op with its batch norm beside it, which then normalizes by the batch in training."""
    norm = layer.norm
    if norm is None:
        return float_op(layer, layer.attrs, {**tensors, **constants})
    y = float_op(layer, layer.bare_attrs, {**tensors, **constants})
    if layer.norm_frozen:
        y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    else:
        y = norm(y)
    return activate(layer.attrs["activation"], y)


def _fake(layer: Layer, tensors: Mapping[str, Tensor]) -> Any:
    fake, unit = layer.constants.fake()
    output = layer.output
    if unit is None or layer.config.activations != "int8" or output.learned != "measured":
        return _on_grid(layer, float_op(layer, layer.attrs, {**tensors, **fake}))
    # The kernel brings sums of products onto the grid in two roundings (the 16-bit kernels in one), and a fused ReLU is
    # nothing but a bound on the codes, if its gradient is that of a bound.
    activation = layer.attrs.get("activation", "none")
    rectified = activation == "relu" and output.config.gradient != "plain"
    y = float_op(layer, layer.bare_attrs if rectified else layer.attrs, {**tensors, **fake})
    if activation != "none" and not rectified:
        y = y.clone()
    return output.forward(y, unit, 1 if layer.row.channels_last else y.dim() - 1, rectified)


@torch.no_grad()
def _integers(layer: Layer, tensors: Mapping[str, Tensor]) -> Any:
    """What the device makes of the codes of ``tensors``, as real numbers.

    Raises:
        NotFinite: a constant is NaN.
        AccumulatorOverflow: a sum leaves its integer type.
    """
    channels_last = layer.row.channels_last
    codes, grids = {}, {"output": layer.output.grid}
    for role, x in tensors.items():
        grid = layer.sources[role].grid
        codes[role], grids[role] = to_device(codes_on_grid(x, grid), channels_last), grid
    for role, constant in layer.constants.integers_of_numbers().items():
        codes[role], grids[role] = constant.codes, constant.grid
    y = layer.row.reference(layer.attrs, codes, grids, Rounding.DOUBLE)
    rank = next(iter(tensors.values())).dim()
    return from_device(dequantize(y, layer.output.grid), channels_last, rank)
