"""The one quantized layer: a row at work in a network, with its constants, batch norm and output's quantizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import functional as F

from qtorch.config import LayerConfig
from qtorch.families.accumulator import require_room
from qtorch.network.axis_order import from_device, from_image, lift_weight, to_device, to_image
from qtorch.network.batch_norm import BatchNorm
from qtorch.network.folded_normalization import FoldedNormalization
from qtorch.network.op_constants import OpConstants
from qtorch.network.quantizer import Mode, Quantizer
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.functional import codes_on_grid, dequantize, with_room_for_bias
from qtorch.numbers.grid import Grid
from qtorch.numbers.straight_through import fake_accumulator, fake_constants, fake_normalized, replace_value
from qtorch.row.constraints import BiasFromAccumulator, CoarserThan, SymmetricWeight
from qtorch.row.fused_activation import activate
from qtorch.row.row import Attrs, Row
from qtorch.surroundings import require_float32, require_no_nan, undisturbed, without_autocast, without_values

__all__ = ["QuantizedOp"]


class QuantizedOp(OpConstants):
    """One op of a network that is being quantized.

    Example, a hand-written layer behind the quantizer of its input:
        >>> x_quantizer = Quantizer()
        >>> linear = nn.Linear(3, 8)
        >>> layer = QuantizedOp(ROWS["fully_connected"], {"activation": "relu", "keep_num_dims": False},
        ...                     dict(linear.named_parameters()), sources={"input": x_quantizer})
        >>> y = layer(x_quantizer(torch.randn(4, 3)))

    Args:
        row: the op.
        attrs: its attributes.
        constants: parameters and buffers by role, in PyTorch's axis order; they stay the same objects, so an optimizer
            that has them keeps them.
        sources: the quantizers of the tensors that come in at run time, by role, in the order of the call's arguments.
            They belong to the ops that produce those tensors and are not registered here.
        config: how to quantize.
        output: the quantizer of the result, where it is another tensor's too; one of its own if ``None``.
        norm: a batch norm to fold; it is registered where it stands in the network, not here.
        front: a normalization of the input to fold; likewise.
    """

    def __init__(
        self,
        row: Row,
        attrs: Attrs,
        constants: Mapping[str, Tensor],
        sources: Mapping[str, Quantizer],
        config: LayerConfig | None = None,
        output: Quantizer | None = None,
        norm: BatchNorm | None = None,
        front: FoldedNormalization | None = None,
    ) -> None:
        config = config or LayerConfig()
        owned = output is None
        if output is None:
            output = Quantizer(config)
        super().__init__(row, constants, sources, config, output, norm, front)
        self.attrs = dict(attrs)
        self.mode = Mode.FLOAT
        self.norm_frozen = False
        #: Of a layer left in float32: whether its result is brought onto a grid; not if only other such layers read it.
        self.rounds_output = True
        #: Whether the result's quantizer is nothing but bounds and a rounding.
        self._plain_output = (
            output.learned == "measured"
            and output.config.gradient == "clipped"
            and self.attrs.get("activation") in ("none", "relu")
        )
        #: Whether FAKE mode may take :meth:`_sum_of_products`.
        self._direct = (
            self._plain_output
            and not config.skip
            and self.has_weight
            and norm is None
            and front is None
            and set(self._parameters) == set(self.constant_roles)
            and config.activations == "int8"
            and sources["input"].learned == "measured"
        )
        self._before_activation = {**self.attrs, "activation": "none"}
        if owned:
            self.quantizer = output

    def forward(self, *inputs: Tensor) -> Any:
        """The op on real tensors whose values, in FAKE and EXACT, lie on their quantizers' grids.

        But for FLOAT, autocast does not reach inside, and a compiler leaves the arithmetic as it is.

        Raises:
            BadConfiguration: a parameter is not float32.
            NotFinite: EXACT, and a constant is NaN.
            AccumulatorOverflow: EXACT, and a sum leaves its integer type.
        """
        if self.mode is Mode.FLOAT or undisturbed():
            return self._computed(*inputs)
        if is_compiling():
            return torch.compiler.disable(self._shielded)(*inputs)
        return self._shielded(*inputs)

    def _shielded(self, *inputs: Tensor) -> Any:
        with without_autocast(inputs[0]):
            return self._computed(*inputs)

    def _computed(self, *inputs: Tensor) -> Any:
        if self.mode is Mode.FAKE and self._direct and not self.output.observing:
            return self._sum_of_products(inputs[0])
        require_float32(chain(self._parameters.items(), self._buffers.items()), self.row.name)
        tensors = dict(zip(self.sources, inputs, strict=True))
        if self.mode in (Mode.FLOAT, Mode.CALIBRATE):
            return self._each(self._normalized(tensors, self._unrounded()), self.output)
        if self.config.skip:
            return self._real(tensors)
        exactly = self.mode is Mode.EXACT or self.row.fake_exactly
        if self.row.selects:
            return self._selected(tensors)
        if exactly and without_values(inputs[0]):
            # Integers are values; of what has none, the shape is all there is to compute.
            exactly = False
        if exactly and not torch.is_grad_enabled():
            return self._exact(tensors)
        y = self._fake(tensors)
        return replace_value(y, self._exact(tensors)) if exactly else y

    @property
    def _normalizes_by_batch(self) -> bool:
        return self.norm is not None and self.norm.training and not self.norm_frozen

    def _real(self, tensors: Mapping[str, Tensor]) -> Any:
        """What a layer that is left in float32 computes, rounded where an integer layer reads it."""
        if self._normalizes_by_batch:
            y = self._normalized(tensors, self._raw())
        else:
            y = self._row_forward(self.attrs, {**tensors, **self._folded()})
        return self._each(y, self.output) if self.rounds_output else y

    @torch.no_grad()
    def agreement(self, *inputs: Tensor) -> Tensor:
        """How many steps of the output's grid FAKE mode lies from the device's integers, int64.

        For inputs on their grids, in evaluation; what :mod:`benchmarks.agreement` reports.
        """
        tensors = dict(zip(self.sources, inputs, strict=True))
        grid, exact = self.output.grid, self._exact(tensors)
        fake = exact if self.row.fake_exactly else self._fake(tensors)
        return codes_on_grid(fake, grid) - codes_on_grid(exact, grid)

    def compute(self, inputs: Sequence[Tensor], constants: Mapping[str, Tensor], activation: bool = True) -> Tensor:
        """The op's float arithmetic alone, on any constants: no batch norm and no grid.

        Args:
            inputs: float32, in the order of the call's arguments.
            constants: float32 by role, in PyTorch's axis order.
            activation: whether a fused activation is applied.
        """
        attrs = self.attrs if activation else self._before_activation
        y: Tensor = self._row_forward(attrs, {**dict(zip(self.sources, inputs, strict=True)), **constants})
        return y

    def widen_output(self) -> bool:
        """Coarsen the output's grid if the kernel could not compute onto it; whether that was so."""
        demand = self.row.constraints["output"]
        if not isinstance(demand, CoarserThan) or not demand.factors:
            return False
        constants = {role: grid for role, (_, grid) in self._folded_grids().items()}
        grids = constants | {role: source.grid for role, source in self.sources.items()}
        least = demand.least(self.output.dtype, {role: float(grid.scale.max()) for role, grid in grids.items()})
        if float(self.output.scale) > least:
            return False
        # Next to the bound a requantization factor rounds up to 1.
        self.output.coarsen(1.001 * least)
        return True

    def _selected(self, tensors: Mapping[str, Tensor]) -> Any:
        """What only picks elements keeps them on their grid."""
        return self._row_forward(self.attrs, {**tensors, **self._fake_constants()[0]})

    def _fake(self, tensors: Mapping[str, Tensor]) -> Any:
        """Float arithmetic on rounded constants, its result rounded to the output's grid."""
        if self._normalizes_by_batch and self.mode is Mode.FAKE:
            assert self.norm is not None
            constants = {**self._raw(), "weight": self._fake_scaled_weight()}
            if not self._plain_output or self.output.observing:
                return self.output(self._normalized(tensors, constants))
            y = self.norm(self._row_forward(self._before_activation, {**tensors, **constants}))
            bounds = self.output.bounds(self.attrs["activation"] == "relu")
            return fake_normalized(y, self.output.measured, bounds)
        fake, unit = self._fake_constants()
        attrs = self.attrs
        if unit is None or self.config.activations != "int8" or self.output.learned != "measured":
            return self._each(self._row_forward(attrs, {**tensors, **fake}), self.output)
        # The kernel brings sums of products onto the grid in two roundings (the 16-bit kernels in one), and a fused
        # ReLU is nothing but a bound on the codes, if its gradient is that of a bound.
        activation = attrs.get("activation", "none")
        rectified = activation == "relu" and self.output.config.gradient != "plain"
        y = self._row_forward(self._before_activation if rectified else attrs, {**tensors, **fake})
        if activation != "none" and not rectified:
            y = y.clone()
        return self.output.forward(y, unit, 1 if self.row.channels_last else y.dim() - 1, rectified)

    def _sum_of_products(self, x: Tensor) -> Tensor:
        """:meth:`_fake` of the layers that most networks consist of, written for speed: small ones live off it."""
        if not self.covering:
            return self._fake({"input": x})
        own: Any = self._parameters
        weight, bias = own.get("weight"), own.get("bias")
        if weight is None or weight.dtype is not torch.float32:
            # Computed from other parameters, as pruning does it, or refused.
            require_float32(own.items(), self.row.name)
            return self._fake({"input": x})
        source, output = self.sources["input"], self._output[0]
        # A bias that widens the scale is some millions of times its channel's weights: training need not see that.
        room = None if torch.is_grad_enabled() else bias
        scale = with_room_for_bias(self._covering_scale(weight), room, source.step)
        unit = torch.mul(source.measured, scale)
        weight, bias = fake_constants(weight, bias, scale, unit, self.scale_axis)
        constants = {"input": x, "weight": weight} if bias is None else {"input": x, "weight": weight, "bias": bias}
        y = self._row_forward(self._before_activation, constants)
        bounds = output.bounds(self.attrs["activation"] == "relu")
        return fake_accumulator(y, unit, output.measured, bounds, 1 if self.row.channels_last else y.dim() - 1)

    def _normalized(self, tensors: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> Any:
        """The float op with its batch norm beside it, which then normalizes by the batch in training."""
        if self.norm is None:
            return self._row_forward(self.attrs, {**tensors, **constants})
        y = self._row_forward(self._before_activation, {**tensors, **constants})
        norm = self.norm
        if self.norm_frozen:
            y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        else:
            y = norm(y)
        return activate(self.attrs["activation"], y)

    def _row_forward(self, attrs: Attrs, tensors: dict[str, Tensor]) -> Any:
        if not self.row.channels_last:
            return self.row.forward(attrs, tensors)
        rank = tensors["input"].dim()
        lifted = {r: to_image(t) if r in self.sources else lift_weight(t) for r, t in tensors.items()}
        return from_image(self.row.forward(attrs, lifted), rank)

    def _each(self, y: Any, quantizer: Quantizer) -> Any:
        return tuple(quantizer(part) for part in y) if isinstance(y, tuple) else quantizer(y)

    @torch.no_grad()
    def require_accumulator(self, name: str) -> None:
        """Refuse a layer, called ``name``, whose sums could leave the device's integers for some input.

        Raises:
            AccumulatorOverflow: they could.
            NotFinite: a constant is NaN.
        """
        demand = self.row.constraints.get("weight")
        accumulates = isinstance(self.row.constraints.get("bias"), BiasFromAccumulator)
        if not accumulates or not isinstance(demand, SymmetricWeight) or self.config.skip:
            return
        found = self._folded_grids()
        if without_values(found["weight"][0]):
            return
        self._require_numbers(found)
        weight, bias = (self._stored(role, *found[role]) if role in found else None for role in ("weight", "bias"))
        assert weight is not None
        grids = {"input": self.sources["input"].grid, "weight": weight.grid, "output": self.output.grid}
        require_room(f"layer {name!r}", weight.codes, demand.axis, None if bias is None else bias.codes, grids)

    def _require_numbers(self, found: Mapping[str, tuple[Tensor, Grid]]) -> None:
        for role, (tensor, _) in found.items():
            require_no_nan(tensor, f"{role!r} of a {self.row.name} layer in EXACT mode")

    @torch.no_grad()
    def _exact(self, tensors: Mapping[str, Tensor]) -> Any:
        channels_last = self.row.channels_last
        codes, grids = {}, {"output": self.output.grid}
        for role, x in tensors.items():
            grid = self.sources[role].grid
            codes[role], grids[role] = to_device(codes_on_grid(x, grid), channels_last), grid
        folded = self._folded_grids()
        self._require_numbers(folded)
        for role, (tensor, grid) in folded.items():
            codes[role], grids[role] = self._stored(role, tensor, grid).codes, grid
        found = self.row.reference(self.attrs, codes, grids, Rounding.DOUBLE)
        rank = next(iter(tensors.values())).dim()
        return from_device(dequantize(found, self.output.grid), channels_last, rank)

    def extra_repr(self) -> str:
        """Row and attributes, for ``print(network)``."""
        return f"{self.row.name}, {self.attrs}"
