"""What a row's ONNX cell says: the float operators between the op's DequantizeLinear and QuantizeLinear.

A cell is a function of :class:`~qtorch.row.kernel_call.Operands` to :class:`OnnxNode` records, plain data: nothing here
imports ONNX. Where the row is ``channels_last`` the operators see PyTorch's axis order, weights too; else the order
that the operands' shapes and attributes have. Operators are those of opset 21.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qtorch.row.kernel_call import Operands

__all__ = ["NEAREST", "NoForm", "Onnx", "OnnxNode", "activated", "clamped_to_6", "fine_enough", "one_operator"]


class NoForm(Exception):
    """ONNX can't say this case of an op as the device computes it; the message says which case."""


@dataclass(frozen=True)
class OnnxNode:
    """One operator of ONNX.

    Attributes:
        operator: its name in ONNX's own domain.
        inputs: the op's roles, results of earlier nodes of the same form, or constants (int64 or float32).
        outputs: the op's output roles, or names for later nodes of the same form.
        attributes: numbers, strings, tuples of them.
    """

    operator: str
    inputs: tuple[str | np.ndarray, ...]
    outputs: tuple[str, ...] = ("output",)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Onnx:
    """How the op stands in ONNX.

    Attributes:
        form: its operators; none where the result is the input on another grid.
        lsb: how far ONNX Runtime may lie from ``reference``, by the output's type; exact where nothing is said.
        lsb_each: how much further for each number along the output's last axis, where a kernel rounds what it sums up.
    """

    form: Callable[[Operands], Sequence[OnnxNode]]
    lsb: Mapping[str, int] = field(default_factory=dict)
    lsb_each: Mapping[str, int] = field(default_factory=dict)

    def allowed(self, dtype: str, shape: Sequence[int]) -> int:
        """How far an output of a type and shape may lie from ``reference``, in LSB."""
        return self.lsb.get(dtype, 0) + self.lsb_each.get(dtype, 0) * (shape[-1] if shape else 1)


#: The tolerance of whatever rounds: float32 to the nearest, ties to even, where the device rounds once or twice and
#: away from zero.
NEAREST: Mapping[str, int] = {"int8": 1, "int16": 1}


def one_operator(name: str, lsb: Mapping[str, int] = NEAREST, **attributes: Any) -> Onnx:
    """The cell of an op that one operator says, inputs in the row's order, a fused activation behind it.

    An attribute that is a function is asked with the operands.
    """

    def form(operands: Operands) -> list[OnnxNode]:
        inputs = tuple(role for role in operands.shapes if not role.startswith("output"))
        asked = {key: value(operands) if callable(value) else value for key, value in attributes.items()}
        return activated(operands, OnnxNode(name, inputs, attributes=asked))

    return Onnx(form, lsb)


def activated(operands: Operands, *nodes: OnnxNode) -> list[OnnxNode]:
    """``nodes``, and behind the last the activation that the device's kernel has fused."""
    activation = operands.attrs.get("activation", "none")
    if activation == "none":
        return list(nodes)
    *before, last = nodes
    plain = OnnxNode(last.operator, last.inputs, ("unclamped",), last.attributes)
    return [*before, plain, clamped_to_6("unclamped") if activation == "relu6" else OnnxNode("Relu", ("unclamped",))]


def fine_enough(cell: Onnx, coarsest: float) -> Onnx:
    """``cell`` for int8 inputs of a scale up to ``coarsest``, above which the device's kernel takes codes for saturated
    that are not.
    """

    def form(operands: Operands) -> Sequence[OnnxNode]:
        source = operands.qparams["input"]
        if source is not None and source.dtype == "int8" and source.scale[0] > coarsest:
            raise NoForm(f"an input of scale {source.scale[0]:.4g}, where the device's kernel saturates too early")
        return cell.form(operands)

    return replace(cell, form=form)


def clamped_to_6(source: str) -> OnnxNode:
    """From 0 to 6."""
    return OnnxNode("Clip", (source, np.array(0, np.float32), np.array(6, np.float32)))
