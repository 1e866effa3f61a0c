"""The one quantized layer: a row at work in a network, with its constants, batch norm and output's quantizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qtorch.axis_order import from_device, from_image, lift_weight, to_device, to_image
from qtorch.batch_norm import BatchNorm, fold, scaling
from qtorch.config import LayerConfig
from qtorch.constraints import BiasFromAccumulator, CoarserThan, Free, SameAs, SymmetricWeight
from qtorch.fake_quant import Mode, Quantizer
from qtorch.fixedpoint import Rounding
from qtorch.functional import (
    WEIGHT_RANGE,
    bias_codes,
    bias_scale,
    codes_on_grid,
    dequantize,
    fake_quantize,
    fake_quantize_weight,
    inner_steps,
    quantize,
    range_to_grid,
    replace_value,
    symmetric_scale,
    weight_codes,
)
from qtorch.fused_activation import activate
from qtorch.qparams import Grid, QParams
from qtorch.row import Attrs, Row

__all__ = ["Constant", "QuantizedOp"]


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


class QuantizedOp(nn.Module):
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
    ) -> None:
        super().__init__()
        self.row, self.attrs, self.config = row, dict(attrs), config or LayerConfig()
        self.mode = Mode.FLOAT
        self.norm_frozen = False
        # In containers that nn.Module does not look into: each module is saved once, by its owner.
        self.sources = dict(sources)
        self._norm = (norm,)
        for role, tensor in constants.items():
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(role, tensor)
            else:
                self.register_buffer(role, tensor)
        self.constant_roles = tuple(constants)
        if output is None:
            self.quantizer = output = Quantizer(self.config.margin, dtype=self.config.activations)
        self._output = (output,)

    @property
    def output(self) -> Quantizer:
        """The quantizer of the result."""
        return self._output[0]

    @property
    def norm(self) -> BatchNorm | None:
        """The batch norm that is folded into this op."""
        return self._norm[0]

    def forward(self, *inputs: Tensor) -> Any:
        """The op on real tensors whose values, in FAKE and EXACT, lie on their quantizers' grids."""
        tensors = dict(zip(self.sources, inputs, strict=True))
        if self.mode in (Mode.FLOAT, Mode.CALIBRATE):
            return self._each(self._normalized(tensors, self._raw()), self.output)
        exactly = self.mode is Mode.EXACT or self.row.fake_exactly
        if self.row.selects:
            return self._selected(tensors)
        if exactly and not torch.is_grad_enabled():
            return self._exact(tensors)
        y = self._fake(tensors)
        return replace_value(y, self._exact(tensors)) if exactly else y

    @torch.no_grad()
    def agreement(self, *inputs: Tensor) -> Tensor:
        """How many steps of the output's grid FAKE mode lies from the device's integers, int64.

        For inputs on their grids, in evaluation; what :mod:`export.agreement` reports.
        """
        tensors = dict(zip(self.sources, inputs, strict=True))
        grid, exact = self.output.grid, self._exact(tensors)
        fake = exact if self.row.fake_exactly else self._fake(tensors)
        return codes_on_grid(fake, grid) - codes_on_grid(exact, grid)

    def constants(self) -> dict[str, Constant]:
        """The integers that the constants become on the device, by role; the same code serves training and export."""
        return {role: self._stored(role, tensor, grid) for role, (tensor, grid) in self._folded_grids().items()}

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
        fake = {role: self._fake_constant(role, *pair) for role, pair in self._folded_grids().items()}
        return self._row_forward(self.attrs, {**tensors, **fake})

    def _fake(self, tensors: Mapping[str, Tensor]) -> Any:
        """Float arithmetic on rounded constants, its result rounded to the output's grid."""
        if self.norm is not None and self.norm.training and not self.norm_frozen and self.mode is Mode.FAKE:
            y = self._normalized(tensors, {**self._raw(), "weight": self._fake_scaled_weight()})
            return self._each(y, self.output)
        grids = self._folded_grids()
        fake = {role: self._fake_constant(role, *pair) for role, pair in grids.items()}
        y = self._row_forward(self.attrs, {**tensors, **fake})
        if not self._accumulates():
            return self._each(y, self.output)
        scale = bias_scale(self.sources["input"].scale, grids["weight"][1].scale)
        axis = 1 if self.row.channels_last else y.dim() - 1
        return self.output(y, inner_steps(scale, self.output.scale, axis, y.dim()))

    def _accumulates(self) -> bool:
        """Whether the kernel requantizes a sum of products by rounding twice; the 16-bit kernels round once."""
        return "weight" in self.constant_roles and self._symmetric("weight") and self.config.activations == "int8"

    def _normalized(self, tensors: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> Any:
        """The float op with its batch norm beside it, which then normalizes by the batch in training."""
        if self.norm is None:
            return self._row_forward(self.attrs, {**tensors, **constants})
        y = self.norm(self._row_forward({**self.attrs, "activation": "none"}, {**tensors, **constants}))
        return activate(self.attrs["activation"], y)

    def _row_forward(self, attrs: Attrs, tensors: dict[str, Tensor]) -> Any:
        if not self.row.channels_last:
            return self.row.forward(attrs, tensors)
        rank = tensors["input"].dim()
        lifted = {r: to_image(t) if r in self.sources else lift_weight(t) for r, t in tensors.items()}
        return from_image(self.row.forward(attrs, lifted), rank)

    def _each(self, y: Any, quantizer: Quantizer) -> Any:
        return tuple(quantizer(part) for part in y) if isinstance(y, tuple) else quantizer(y)

    def _raw(self) -> dict[str, Tensor]:
        return {role: getattr(self, role) for role in self.constant_roles}

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
        factor = scaling(self.norm, self._raw()["weight"].dim(), self._channel_axis())
        folded = self._folded_grids()["weight"]
        return self._fake_constant("weight", self._raw()["weight"] * factor, folded[1]) / factor

    def _channel_axis(self) -> int:
        """PyTorch's axis of the weight's output channels."""
        constraint = self.row.constraints["weight"]
        assert isinstance(constraint, SymmetricWeight)
        order = self.row.weight_order.get("weight")
        return constraint.axis if order is None else order[constraint.axis]

    def _scale_axis(self, role: str) -> int | None:
        demand = self.row.constraints.get(role)
        per_channel = isinstance(demand, SymmetricWeight) and self.config.weight_dtype not in demand.per_tensor
        return self._channel_axis() if per_channel and self.config.weights == "per_channel" else None

    def _folded_grids(self) -> dict[str, tuple[Tensor, Grid]]:
        """Every constant with its grid, by role; a weight's scale is ``[C]`` per channel, else ``[]``."""
        found: dict[str, tuple[Tensor, Grid]] = {}
        folded = self._folded()
        for role, tensor in folded.items():
            constraint = self.row.constraint(role)
            if isinstance(constraint, SymmetricWeight):
                scale = symmetric_scale(
                    tensor,
                    folded.get("bias"),
                    self.sources["input"].scale,
                    self._scale_axis(role),
                    WEIGHT_RANGE[self.config.weight_dtype][1],
                )
                grid = Grid(scale, torch.zeros((), dtype=torch.int32), self.config.weight_dtype)
            elif isinstance(constraint, BiasFromAccumulator):
                scale = bias_scale(self.sources["input"].scale, found["weight"][1].scale)
                dtype = "int64" if self.config.activations == "int16" else "int32"
                grid = Grid(scale, torch.zeros((), dtype=torch.int32), dtype)
            elif isinstance(constraint, SameAs):
                grid = self.output.grid
            else:
                assert isinstance(constraint, Free)
                own = self.config.activations in constraint.dtypes
                dtype = self.config.activations if own else constraint.dtypes[0]
                grid = range_to_grid(*torch.aminmax(tensor.detach()), dtype)
            found[role] = (tensor, grid)
        return found

    def _codes(self, role: str, tensor: Tensor, grid: Grid) -> Tensor:
        if isinstance(self.row.constraint(role), BiasFromAccumulator):
            return bias_codes(tensor, grid).to(torch.int64)
        if self._symmetric(role):
            return weight_codes(tensor, grid, self._scale_axis(role))
        return quantize(tensor.detach(), grid, *grid.limits)

    def _symmetric(self, role: str) -> bool:
        return isinstance(self.row.constraint(role), SymmetricWeight)

    def _fake_constant(self, role: str, tensor: Tensor, grid: Grid) -> Tensor:
        if isinstance(self.row.constraint(role), BiasFromAccumulator):
            return replace_value(tensor, (bias_codes(tensor, grid) * grid.scale).to(torch.float32))
        if self._symmetric(role):
            return fake_quantize_weight(tensor, grid, self._scale_axis(role))
        return fake_quantize(tensor, grid, *grid.limits)

    def _stored(self, role: str, tensor: Tensor, grid: Grid) -> Constant:
        codes = self._codes(role, tensor, grid)
        axis = None if grid.scale.dim() == 0 else 0
        if self._symmetric(role) and axis is not None:
            constraint = self.row.constraints[role]
            assert isinstance(constraint, SymmetricWeight)
            axis = constraint.axis
        order = self.row.weight_order.get(role)
        if order is not None:
            codes = lift_weight(codes).permute(order)
        return Constant(codes, grid, axis)

    @torch.no_grad()
    def _exact(self, tensors: Mapping[str, Tensor]) -> Any:
        channels_last = self.row.channels_last
        codes, grids = {}, {"output": self.output.grid}
        for role, x in tensors.items():
            grid = self.sources[role].grid
            codes[role], grids[role] = to_device(codes_on_grid(x, grid), channels_last), grid
        for role, constant in self.constants().items():
            codes[role], grids[role] = constant.codes, constant.grid
        found = self.row.reference(self.attrs, codes, grids, Rounding.DOUBLE)
        rank = next(iter(tensors.values())).dim()
        return from_device(dequantize(found, self.output.grid), channels_last, rank)

    def extra_repr(self) -> str:
        """Row and attributes, for ``print(network)``."""
        return f"{self.row.name}, {self.attrs}"
