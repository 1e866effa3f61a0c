"""The ONNX file against the graph: read back, then computed by ONNX Runtime, every op judged by itself.

ONNX has no integer semantics for these ops: between the quantizers it computes in float, and a runtime may do so in
whatever way it finds fast. So an op need not be exact. Each must lie within what its row declares, on the very codes
that ONNX Runtime had at its inputs; how far the model's outputs part is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from export.forms.onnx.runtime import ONNX_RUNTIME, onnx_tensors
from export.forms.onnx.writer import OnnxModel, onnx_cell, stored_order, write_onnx
from export.graph.interpret import interpret, widened
from export.graph.ir import Graph, Node
from export.optional_packages import onnx_package
from export.parity.outputs import EngineParity, FileParity, distances
from qtorch.errors import ParityError
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.qparams import QParams

__all__ = ["OnnxParity", "compare_onnx", "onnx_parity", "verified_onnx"]


@dataclass(frozen=True)
class OnnxParity:
    """What the comparisons of one file found.

    Attributes:
        file: scales, zero points and constants, all equal.
        largest: by op, how far any of its outputs lay from the integer reference of its inputs, in LSB.
        outputs: of the whole model against the integer reference.
    """

    file: FileParity
    largest: dict[str, int]
    outputs: EngineParity

    def as_json(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "qparams": self.file.tensors,
            "constants": self.file.values,
            "declared_lsb": {op: dict(onnx_cell(op).lsb) for op in self.largest},
            "declared_lsb_for_each_number": {op: dict(each) for op in self.largest if (each := onnx_cell(op).lsb_each)},
            "largest_lsb": self.largest,
        }


def verified_onnx(graph: Graph, name: str, inputs: tuple[np.ndarray, ...]) -> tuple[bytes, OnnxParity]:
    """The model file of a graph, and what its comparisons found; see :func:`onnx_parity`.

    Raises:
        UnsupportedLayer: an op has no form in ONNX.
        BadConfiguration: onnx or onnxruntime is not installed.
        ParityError: the file is not the graph, or an op lies further off than its row declares.
    """
    model = write_onnx(graph, name)
    return model.file, onnx_parity(graph, model, inputs)


def compare_onnx(graph: Graph, model: OnnxModel) -> FileParity:
    """Every scale (as float32 bits), zero point, channel axis and constant of the file, read back, against the graph.

    Raises:
        ParityError: one differs; names the first and both values.
    """
    onnx = onnx_package()
    proto = onnx.ModelProto.FromString(model.file)
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in proto.graph.initializer}
    tensors_of: dict[str, list[str]] = {}
    grids = values = wrong_grids = wrong_values = 0
    first = ""
    for node in proto.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            tensor = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
            name, axes = model.tensors[tensor]
            channel = next((axes[each.i] for each in node.attribute if each.name == "axis"), None)
            scale, zero_point = (constants[each] for each in node.input[1:3])
            got = (scale.dtype.name, zero_point.dtype.name, scale.tobytes(), zero_point.tolist(), channel)
            expected = _expected(graph.values[name].qparams)
            grids += 1
            if got != expected:
                wrong_grids += 1
                first = first or f"{node.op_type} of {name!r}: expected {expected}, got {got}"
            tensors_of.setdefault(name, []).append(tensor)
    for name, value in graph.values.items():
        if value.qparams is not None and not value.of_indices and name not in tensors_of:
            wrong_grids += 1
            first = first or f"{name!r}: expected a quantizer, got none"
        if value.data is None:
            continue
        for tensor, (of, axes) in model.tensors.items():
            if of == name:
                stored = stored_order(constants[tensor], axes).astype(value.data.dtype)
                values += stored.size
                wrong = np.argwhere(stored != value.data)
                wrong_values += len(wrong)
                if len(wrong):
                    at = tuple(int(i) for i in wrong[0])
                    first = first or f"{name!r}{list(at)}: expected {value.data[at]}, got {stored[at]}"
    if wrong_grids or wrong_values:
        raise ParityError(
            f"the ONNX file is not the network: {wrong_grids} of {grids} quantizers and {wrong_values} of {values} "
            f"constants differ, first {first}"
        )
    return FileParity(grids, 0, values, 0)


def _expected(qparams: QParams | None) -> tuple[Any, ...] | None:
    """What a quantizer of the file has to say: types, scales as bytes, zero points, channel axis."""
    if qparams is None:
        return None
    dtype = "int32" if qparams.dtype == "int64" else qparams.dtype
    scale, zero_points = np.array(qparams.scale, "<f4"), list(qparams.zero_point)
    whole = qparams.axis is None
    return ("float32", dtype, scale.tobytes(), zero_points[0] if whole else zero_points, qparams.axis)


def onnx_parity(graph: Graph, model: OnnxModel, inputs: tuple[np.ndarray, ...]) -> OnnxParity:
    """Read the file back, run it, and judge every op on what ONNX Runtime had at its inputs.

    Args:
        graph: checked.
        model: its file.
        inputs: samples of each input, ``[N, ...]``, codes or float32.

    Layers that compute in float32 are not judged.

    Raises:
        ParityError: the file is not the graph, or an op lies further off than its row declares; names both.
    """
    file = compare_onnx(graph, model)
    largest: dict[str, int] = {}
    for tensors in onnx_tensors(model, inputs):
        for node in graph.nodes:
            if not graph.is_float(node):
                largest[node.op] = max(largest.get(node.op, 0), _distance(graph, node, tensors))
    expected = interpret(graph, inputs)
    got = ONNX_RUNTIME.run(model.file, inputs)
    outputs = EngineParity.of(ONNX_RUNTIME.version, got, tuple(expected[name] for name in graph.outputs))
    return OnnxParity(file, largest, outputs)


def _distance(graph: Graph, node: Node, tensors: Any) -> int:
    """How far a node's outputs lie from the integer reference of its inputs, in LSB."""
    names = node.input_roles()
    arrays = {role: tensors.get(name, graph.values[name].data) for role, name in names.items()}
    grids = {role: q.grid for role, q in graph.qparams(node).items() if q is not None}
    codes = {role: widened(array) for role, array in arrays.items()}
    reference = node.row.reference(node.attrs, codes, grids, Rounding.DOUBLE)
    worst = 0
    for name, wanted in zip(node.outputs, reference if isinstance(reference, tuple) else (reference,), strict=True):
        apart = distances(tensors[name], wanted.numpy())
        allowed = onnx_cell(node.op).allowed(graph.values[name].dtype, graph.values[name].shape)
        if apart.max(initial=0) > allowed:
            at = tuple(int(i) for i in np.argwhere(apart > allowed)[0])
            engine, wrong = ONNX_RUNTIME.name, int((apart > allowed).sum())
            raise ParityError(
                f"{engine} {ONNX_RUNTIME.version} lies further from the integer reference than the {allowed} LSB that "
                f"the row of {node.op} declares, on {wrong} of {apart.size} outputs of {name!r}, first at {list(at)}: "
                f"reference {wanted.numpy()[at]}, {engine} {tensors[name][at]}"
            )
        worst = max(worst, int(np.ceil(apart.max(initial=0))))
    return worst
