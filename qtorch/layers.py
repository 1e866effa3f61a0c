"""The one quantized layer: a row at work in a network, with its constants and the quantizer of its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qtorch.config import QuantizationConfig
from qtorch.constraints import BiasFromAccumulator, SymmetricWeight
from qtorch.fake_quant import Mode, Quantizer
from qtorch.fixedpoint import Rounding
from qtorch.functional import (
    WEIGHT_RANGE,
    bias_codes,
    bias_scale,
    dequantize,
    fake_quantize,
    quantize,
    replace_value,
    symmetric_scale,
)
from qtorch.qparams import CODE_RANGE, Grid
from qtorch.row import Attrs, Row

__all__ = ["Constant", "QuantizedOp"]


@dataclass(frozen=True)
class Constant:
    """A constant on its grid: integer ``codes`` (int64), float32 ``scale``, and what the exported record needs."""

    codes: Tensor
    grid: Grid
    dtype: str
    axis: int | None


class QuantizedOp(nn.Module):
    """One op of a network that is being quantized.

    Example, a hand-written layer behind the quantizer of its input:
        >>> x_quantizer = Quantizer()
        >>> linear = nn.Linear(3, 8)
        >>> layer = QuantizedOp(ROWS["fully_connected"], {"activation": "relu"}, dict(linear.named_parameters()),
        ...                     sources=(x_quantizer,))
        >>> y = layer(x_quantizer(torch.randn(4, 3)))

    Args:
        row: the op.
        attrs: its attributes.
        constants: parameters by role; they stay the same objects, so an optimizer that has them keeps them.
        sources: the quantizers of the tensors that come in at run time, in the row's order. They belong to the ops
            that produce those tensors and are not registered here.
        config: how to quantize.
    """

    def __init__(
        self,
        row: Row,
        attrs: Attrs,
        constants: Mapping[str, nn.Parameter],
        sources: tuple[Quantizer, ...],
        config: QuantizationConfig | None = None,
    ) -> None:
        super().__init__()
        self.row, self.attrs, self.config = row, dict(attrs), config or QuantizationConfig()
        self.mode = Mode.FLOAT
        # A tuple, which nn.Module does not look into: each quantizer is saved once, by its producer.
        self.sources = sources
        for role, parameter in constants.items():
            self.register_parameter(role, parameter)
        self.output = Quantizer(self.config.margin)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The op on real tensors whose values, in FAKE and EXACT, lie on their quantizers' grids."""
        tensors = dict(zip(self.row.roles, inputs, strict=False))
        if self.mode in (Mode.FLOAT, Mode.CALIBRATE):
            return self.output(self.row.forward(self.attrs, {**tensors, **self._parameters_by_role()}))
        y: Tensor = self.output(self.row.forward(self.attrs, {**tensors, **self._fake_constants()}))
        if self.mode is Mode.EXACT:
            y = replace_value(y, self._exact(tensors))
        return y

    def constants(self) -> dict[str, Constant]:
        """The integers that the parameters become on the device, by role; the same code serves training and export."""
        grids = self._constant_grids()
        found: dict[str, Constant] = {}
        for role, parameter in self._parameters_by_role().items():
            axis = self._axis()
            if isinstance(self.row.constraints[role], BiasFromAccumulator):
                codes = bias_codes(parameter, grids[role].scale).to(torch.int64)
                found[role] = Constant(codes, grids[role], "int32", None if axis is None else 0)
            else:
                codes = quantize(parameter.detach(), grids[role], *WEIGHT_RANGE, axis)
                found[role] = Constant(codes, grids[role], "int8", axis)
        return found

    def _parameters_by_role(self) -> dict[str, nn.Parameter]:
        return dict(self._parameters)  # type: ignore[arg-type]

    def _axis(self) -> int | None:
        if self.config.weights == "per_tensor":
            return None
        return next((c.axis for c in self.row.constraints.values() if isinstance(c, SymmetricWeight)), None)

    def _constant_grids(self) -> dict[str, Grid]:
        if "weight" not in self._parameters:
            return {}
        input_scale = self.sources[0].scale
        weight, bias = self._parameters["weight"], self._parameters.get("bias")
        assert weight is not None
        scale = symmetric_scale(weight, bias, input_scale, self._axis())
        zero = torch.zeros((), dtype=torch.int32)
        return {"weight": Grid(scale, zero), "bias": Grid(bias_scale(input_scale, scale), zero)}

    def _fake_constants(self) -> dict[str, Tensor]:
        grids = self._constant_grids()
        fake: dict[str, Tensor] = {}
        for role, parameter in self._parameters_by_role().items():
            if isinstance(self.row.constraints[role], BiasFromAccumulator):
                value = (bias_codes(parameter, grids[role].scale) * grids[role].scale).to(torch.float32)
                fake[role] = replace_value(parameter, value)
            else:
                fake[role] = fake_quantize(parameter, grids[role], *WEIGHT_RANGE, self._axis())
        return fake

    @torch.no_grad()
    def _exact(self, tensors: Mapping[str, Tensor]) -> Tensor:
        codes, grids = {}, {"output": self.output.grid}
        for (role, x), source in zip(tensors.items(), self.sources, strict=True):
            codes[role], grids[role] = quantize(x, source.grid, *CODE_RANGE[source.dtype]), source.grid
        for role, constant in self.constants().items():
            codes[role], grids[role] = constant.codes, constant.grid
        return dequantize(self.row.reference(self.attrs, codes, grids, Rounding.DOUBLE), self.output.grid)

    def extra_repr(self) -> str:
        """Row and attributes, for ``print(network)``."""
        return f"{self.row.name}, {self.attrs}"
