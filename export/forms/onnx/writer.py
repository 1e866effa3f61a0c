"""Graph to an .onnx file in QDQ form: every op in float, between DequantizeLinear and QuantizeLinear.

Inputs and outputs are the codes that the .tflite file takes and gives, in the same axis order, with the same names for
tensors as in the graph; the batch axis is free. Scales, zero points, weights and biases are the graph's.

**Axis order.** The graph is channels last, ONNX's convolutions and poolings are channels first. Each tensor may exist
in both orders, ``x`` and ``x.nchw``; an op names the order that it wants, and a Transpose of codes is written where a
tensor does not exist in it yet. Ops that work in any order take the one that costs the fewest Transposes. So a run of
such ops has one Transpose before it and one behind, and no pass has to find pairs that cancel. Transposes act on codes,
never between a DequantizeLinear and the op behind it, where runtimes look for the pattern to fuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.graph.bytes import raw_bytes
from export.graph.ir import Graph, Node, Value
from export.optional_packages import onnx_package
from qtorch.errors import UnsupportedLayer
from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.kernel_call import Operands
from qtorch.row.onnx_form import NoForm, Onnx, OnnxNode
from qtorch.row.row import Unsupported, any_order

__all__ = ["OPSET", "OnnxModel", "onnx_cell", "stored_order", "write_onnx"]

#: The first whose QuantizeLinear has int16 and int4.
OPSET = 21
_IR_VERSION = 10
_FIRST = (0, 3, 1, 2)
_LAST = (0, 2, 3, 1)


@dataclass(frozen=True)
class OnnxModel:
    """A model file, and where the graph's tensors are in it.

    Attributes:
        file: its bytes.
        tensors: by name in the file: of which value, and which of the value's axes each of its axes is. The first of a
            value is the one that its op gives, others are transposed from it.
    """

    file: bytes
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]


def onnx_cell(op: str) -> Onnx:
    """The row's cell for this format.

    Raises:
        UnsupportedLayer: the op has no form in ONNX; the message has the row's reason.
    """
    cell = ROWS[op].onnx
    if isinstance(cell, Unsupported):
        raise UnsupportedLayer(
            where=op, expected="an op with a form in ONNX", got=cell.reason, remedy="leave export.onnx out"
        )
    return cell


def write_onnx(graph: Graph, name: str = "model") -> OnnxModel:
    """The model file of a checked graph, which ``onnx.checker`` accepts; the same graph gives the same bytes.

    Raises:
        UnsupportedLayer: an op, or a bias beyond 32 bits, has no form in ONNX.
        BadConfiguration: the package onnx is not installed.
    """
    for node in graph.nodes:
        onnx_cell(node.op)
    return _Writer(graph).model(name)


def stored_order(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """A tensor whose axis ``i`` is the stored axis ``axes[i]``, as it is stored."""
    return array.transpose(np.argsort(axes)) if axes != tuple(range(len(axes))) else array


class _Writer:
    """Emits nodes in the graph's order, and before each what its inputs still lack."""

    def __init__(self, graph: Graph) -> None:
        if graph.states:
            raise UnsupportedLayer(
                where=f"state {graph.states[0].value!r}",
                expected="a network that keeps nothing from one run to the next, for ONNX",
                got=f"{len(graph.states)} states",
                remedy="leave this form of export out",
            )
        self.graph = graph
        self.onnx = onnx_package()
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        #: The file's tensor of each value in each order in which it exists.
        self.codes: dict[tuple[str, tuple[int, ...]], str] = {n: n[0] for n in map(self._stored, graph.inputs)}
        self.floats: dict[str, str] = {}
        self.grids: dict[QParams, list[str]] = {}

    def model(self, name: str) -> OnnxModel:
        for node in self.graph.nodes:
            self._node(node)
        for output in self.graph.outputs:
            self._codes(*self._stored(output))
        helper = self.onnx.helper
        ends = ([self._end(n) for n in names] for names in (self.graph.inputs, self.graph.outputs))
        body = helper.make_graph(self.nodes, name, *ends, initializer=list(self.initializers.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(body, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="qtorch")
        self.onnx.checker.check_model(model, full_check=True)
        return OnnxModel(model.SerializeToString(deterministic=True), {t: of for of, t in self.codes.items()})

    def _stored(self, name: str) -> tuple[str, tuple[int, ...]]:
        return name, tuple(range(len(self.graph.values[name].shape)))

    def _end(self, name: str) -> Any:
        value = self.graph.values[name]
        return self.onnx.helper.make_tensor_value_info(name, self._type(value.dtype), [self._batch, *value.shape[1:]])

    @property
    def _batch(self) -> int | str:
        """Free, unless an op joins a constant, which is as large as one batch of the graph, to run-time tensors."""
        constants = self.graph.constants()
        fixed = any(node.row.variadic and not constants.keys().isdisjoint(node.inputs) for node in self.graph.nodes)
        return self.graph.values[self.graph.inputs[0]].shape[0] if fixed else "batch"

    def _type(self, dtype: str) -> Any:
        return getattr(self.onnx.TensorProto, {"float32": "FLOAT"}.get(dtype, dtype.upper()))

    def _emit(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, outputs, name=outputs[0], **attributes))

    def _constant(self, name: str, data: np.ndarray, dtype: str | None = None) -> str:
        kind = dtype or data.dtype.name
        raw = raw_bytes(data, kind)
        self.initializers[name] = self.onnx.helper.make_tensor(name, self._type(kind), data.shape, raw, raw=True)
        return name

    def _grid(self, qparams: QParams, tensor: str) -> list[str]:
        """Scale and zero point, stored once and called after the first tensor that has them."""
        key = QParams(qparams.scale, qparams.zero_point, qparams.dtype, None if qparams.axis is None else 0)
        if key not in self.grids:
            # A value of the network may be called like that.
            named = {f"{tensor}.scale", f"{tensor}.zero_point"}
            called = f"{tensor}.grid_{len(self.grids)}" if named & set(self.graph.values) else tensor
            # ONNX has no int64 codes; those of a bias are written in 32 bits, where they fit.
            dtype = "int32" if qparams.dtype == "int64" else qparams.dtype
            scale, zero_point = np.array(qparams.scale, "<f4"), np.array(qparams.zero_point, np.int64)
            held = zero_point.astype("int8" if dtype == "int4" else dtype)
            shape = () if qparams.axis is None else (-1,)
            scales = self._constant(f"{called}.scale", scale.reshape(shape))
            self.grids[key] = [scales, self._constant(f"{called}.zero_point", held.reshape(shape), dtype)]
        return self.grids[key]

    def _codes(self, name: str, axes: tuple[int, ...]) -> str:
        """The file's tensor of a value with these axes; an initializer or a Transpose is written if there is none."""
        if (name, axes) not in self.codes:
            value, stored = self.graph.values[name], axes == self._stored(name)[1]
            tensor = name if stored else f"{name}.nchw"
            if value.data is not None:
                self._constant(tensor, *_fitting(name, value, axes))
            else:
                source, known = next((t, a) for (n, a), t in self.codes.items() if n == name)
                self._emit("Transpose", [source], [tensor], perm=[known.index(axis) for axis in axes])
            self.codes[name, axes] = tensor
        return self.codes[name, axes]

    def _in_float(self, name: str, axes: tuple[int, ...]) -> str:
        """The float32 tensor of a value with these axes."""
        tensor, qparams = self._codes(name, axes), self.graph.values[name].qparams
        if qparams is None or self.graph.values[name].of_indices:
            return tensor
        if tensor not in self.floats:
            self.floats[tensor] = f"{tensor}.dequantized"
            self._dequantize(tensor, qparams, axes, f"{tensor}.dequantized")
        return self.floats[tensor]

    def _dequantize(self, tensor: str, qparams: QParams, axes: tuple[int, ...], output: str) -> None:
        along = {} if qparams.axis is None else {"axis": axes.index(qparams.axis)}
        self._emit("DequantizeLinear", [tensor, *self._grid(qparams, tensor.removesuffix(".nchw"))], [output], **along)

    def _node(self, node: Node) -> None:
        row, orders = node.row, self._orders(node)
        form = self._form(node, orders)
        roles = node.input_roles() | node.output_roles()
        if not form:
            source, sink = node.inputs[0], node.output
            axes = orders[row.roles[0]]
            if self.graph.values[sink].qparams is None:
                qparams = self.graph.values[source].quantization
                self._dequantize(self._codes(source, axes), qparams, axes, self._result(sink, axes))
            else:
                self._quantize(self._in_float(source, axes), sink, axes)
            return
        for each in form:
            inputs, outputs = [], [self._unquantized(node, output, orders) for output in each.outputs]
            for position, operand in enumerate(each.inputs):
                if not isinstance(operand, str):
                    inputs.append(self._constant(f"{outputs[0]}.{position}", np.asarray(operand)))
                elif operand in orders:
                    inputs.append(self._in_float(roles[operand], orders[operand]))
                else:
                    inputs.append(f"{node.output}.{operand}" if operand else "")
            self._emit(each.operator, inputs, outputs, **each.attributes)
        for role, name in node.output_roles().items():
            if self.graph.values[name].of_indices:
                source, kind = self._unquantized(node, role, orders), self._type("int32")
                self._emit("Cast", [source], [self._result(name, orders[role])], to=kind)
            elif self.graph.values[name].qparams is not None:
                self._quantize(self._unquantized(node, role, orders), name, orders[role])

    def _form(self, node: Node, orders: Mapping[str, tuple[int, ...]]) -> Sequence[OnnxNode]:
        try:
            return onnx_cell(node.op).form(self._operands(node, orders))
        except NoForm as error:
            raise UnsupportedLayer(
                where=f"{node.op} {node.output!r}",
                expected="a case of it that ONNX says as the device computes it",
                got=str(error),
                remedy="calibrate on more data or change the layer, or leave export.onnx out",
            ) from error

    def _unquantized(self, node: Node, name: str, orders: Mapping[str, tuple[int, ...]]) -> str:
        """The float32 tensor of a result: an inner one of the form, one that is quantized next, or the value itself."""
        output = node.output_roles().get(name)
        if output is None:
            return f"{node.output}.{name}"
        if self.graph.values[output].qparams is not None:
            return f"{output}.unquantized"
        return self._result(output, orders[name])

    def _result(self, name: str, axes: tuple[int, ...]) -> str:
        """The name of a value that an op is about to give with these axes."""
        tensor = name if axes == self._stored(name)[1] else f"{name}.nchw"
        self.codes[name, axes] = tensor
        return tensor

    def _quantize(self, source: str, name: str, axes: tuple[int, ...]) -> None:
        qparams = self.graph.values[name].quantization
        self._emit("QuantizeLinear", [source, *self._grid(qparams, name)], [self._result(name, axes)])

    def _orders(self, node: Node) -> dict[str, tuple[int, ...]]:
        """In which order an op takes and gives each of its tensors, by role: stored axes in the file's order."""
        row, roles = node.row, node.input_roles() | node.output_roles()
        orders = {role: self._stored(name)[1] for role, name in roles.items()}
        outputs = node.output_roles().keys()
        if row.channels_last:
            orders |= dict.fromkeys((*row.input_roles(row.runtime), *outputs), _FIRST)
            for role, order in row.weight_order.items():
                if role in orders:
                    orders[role] = tuple(order.index(axis) for axis in range(len(order)))
        elif self._cheaper_first(node):
            orders = {role: _FIRST if len(axes) == 4 else axes for role, axes in orders.items()}
        return orders

    def _cheaper_first(self, node: Node) -> bool:
        """Whether an op that need not be channels last takes fewer Transposes channels first."""
        # Constants of an op that works in any order, but those in a run-time tensor's place, know of no order.
        roles = node.row.roles[: node.row.runtime]
        orderless = node.row.transposed is any_order and not node.row.variadic
        names = [name for role, name in node.input_roles().items() if role in roles or not orderless]
        shapes = [self.graph.values[name].shape for name in (*names, *node.outputs)]
        if any(len(shape) != 4 for shape in shapes) or node.row.transposed(node.attrs, _LAST, 4) is None:
            return False
        runtime = [name for name in node.inputs if self.graph.values[name].data is None]
        missing = [sum((name, axes) not in self.codes for name in runtime) for axes in (_FIRST, (0, 1, 2, 3))]
        return missing[0] < missing[1]

    def _operands(self, node: Node, orders: Mapping[str, tuple[int, ...]]) -> Operands:
        roles = node.input_roles() | node.output_roles()
        values = {role: self.graph.values[name] for role, name in roles.items()}
        attrs, shapes = node.attrs, {role: value.shape for role, value in values.items()}
        if not node.row.channels_last and any(axes == _FIRST for axes in orders.values()):
            attrs = node.row.transposed(node.attrs, _LAST, 4) or {}
            shapes = {role: tuple(shape[axis] for axis in orders[role]) for role, shape in shapes.items()}
        constants = {role: value.data for role, value in values.items() if value.data is not None}
        return Operands(attrs, shapes, {role: value.qparams for role, value in values.items()}, constants)


def _fitting(name: str, value: Value, axes: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """A constant with these axes, and its type in ONNX."""
    data = np.ascontiguousarray(value.contents.transpose(axes))
    if value.dtype != "int64":
        return data, value.dtype
    low, high = CODE_RANGE["int32"]
    if data.size and (int(data.min()) < low or int(data.max()) > high):
        raise UnsupportedLayer(
            where=name,
            expected="a bias of at most 32 bits, which is what DequantizeLinear reads",
            got=f"codes from {int(data.min())} to {int(data.max())}",
            remedy="use int8 activations there, or leave export.onnx out",
        )
    return data.astype(np.int32), "int32"
