"""Graph to .tflite bytes, and nothing in them that the graph does not need.

Written with the flatbuffers builder and the schema of ``ai_edge_litert``. Names and metadata come on request, equal
vectors are stored once, and every constant starts at a multiple of 16 bytes, which optimized kernels on Cortex-M rely
on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.graph.bytes import raw_bytes
from export.graph.ir import Graph, Node, Value
from export.graph.names import speaking_names
from export.tflite.custom_options import written_options
from export.tflite.variable_tensors import kept_inside, require_carried, variable_tensors
from export.tflite.vector_cells import of_vectors
from export.tflite.written_grids import counted_grid, whole_numbers
from qtorch.errors import UnsupportedLayer
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.row import TFLite, Unsupported
from qtorch.row.states import FileState
from qtorch.row.tflite_cell import COUNTED_BY, QUANTIZED

__all__ = ["ALIGNMENT", "IDENTIFIER", "nodes_of_operators", "tflite_cell", "write_tflite"]

#: Of constant buffers, in bytes, from the beginning of the file.
ALIGNMENT = 16
IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3


def tflite_cell(op: str) -> TFLite:
    """The row's cell for this format.

    Raises:
        NotImplementedError: the op can't stand in a .tflite file; the message is the row's reason.
    """
    cell = ROWS[op].tflite
    if isinstance(cell, Unsupported):
        raise NotImplementedError(f"{op}: {cell.reason}")
    return cell


def write_tflite(graph: Graph, *, names: bool = False, metadata: Mapping[str, bytes] | None = None) -> bytes:
    """The model file of a checked graph; the same arguments give the same bytes.

    Args:
        graph: to write.
        names: whether tensors carry names, as viewers show them; nothing that is computed depends on it.
        metadata: contents by name, for whoever looks for that name.

    Raises:
        UnsupportedLayer: in a graph of floats, a function that no float kernel computes; what an operator alone
            replaces, otherwise used or begun.
    """
    return _Writer(graph, names, metadata or {}).file()


def nodes_of_operators(graph: Graph) -> tuple[str, ...]:
    """The first output of the node that each operator of the file stands for: one node may be several operators, and
    those that read and assign states stand for none: their names are empty.

    Raises:
        UnsupportedLayer: see :func:`write_tflite`.
    """
    writer = _Writer(graph, False, {})
    before, after = (["" for _ in each] for each in writer.resource_operators())
    return (*before, *(node.output for node in graph.nodes for _ in writer.operators(node)), *after)


@dataclass(frozen=True)
class _Tensor:
    """One tensor of the file: a value of the graph, or an attribute that the format wants as a tensor."""

    shape: tuple[int, ...]
    kind: str
    qparams: QParams | None
    buffer: int
    name: str = ""
    variable: bool = False


#: What says which variable is meant.
_HANDLE = _Tensor((), "resource", None, 0)


@dataclass(frozen=True)
class _Operator:
    """One operator of the file: its name in the schema, indices of its tensors, and its options table with fields."""

    name: str
    version: int
    inputs: list[int]
    outputs: list[int]
    table: str | None
    options: Mapping[str, Any]


class _Writer:
    """flatbuffers are built back to front: children first, then the tables that refer to them."""

    def __init__(self, graph: Graph, names: bool, metadata: Mapping[str, bytes]) -> None:
        self.graph = graph
        called = speaking_names(graph) if names else {}
        self.names = names
        self.builder = flatbuffers.Builder(1024)
        self.shared: dict[Hashable, int] = {}
        # Buffer 0 is the empty one that all run-time tensors refer to; equal contents are stored once.
        self.buffers: dict[bytes, int] = {b"": 0}
        variables, kept, vectors = variable_tensors(graph), kept_inside(graph), of_vectors(graph)
        # What a kernel makes of a variable tensor lies where that lay.
        written = [name for name in graph.values if name not in variables.values() and name not in kept]
        self.index = {name: i for i, name in enumerate(written)}
        whole = whole_numbers(graph)
        self.tensors = [
            _Tensor(
                v.shape[name in vectors :],
                v.dtype,
                None if name in whole else v.qparams,
                0 if v.data is None else self._buffer_of(raw_bytes(v.data, v.dtype)),
                called.get(name, ""),
                name in variables,
            )
            for name, v in ((name, graph.values[name]) for name in written)
        ]
        #: Behind the graph's values: attributes that the format wants as tensors, and what lies between a value's codes
        #: and the operator that wants them counted from 0 on.
        self.further: list[_Tensor] = []
        self.operands: dict[_Tensor, int] = {}
        self.vectors = {self.index[name] for name in vectors if name not in kept}
        self.resources = [state for state in graph.states if state.value not in variables and state.value not in kept]
        require_carried(graph, self.resources)
        self.metadata = {name: self._buffer_of(data) for name, data in metadata.items()}

    def file(self) -> bytes:
        graph = self.graph
        before, after = self.resource_operators()
        written = [*before, *(each for node in graph.nodes for each in self.operators(node)), *after]
        first, first_tensors = self._first_contents()
        # A newer version reads everything that an older one does, so the newest any node needs serves all of them.
        versions: dict[str, int] = {}
        for each in (*written, *first):
            versions[each.name] = max(each.version, versions.get(each.name, 0))
        codes = list(versions)
        # The order decides how much padding the aligned constants need; this one was the smallest of all 24.
        operators = self._tables([self._operator(each, codes.index(each.name)) for each in written])
        tensors = self._tables([self._tensor(tensor) for tensor in (*self.tensors, *self.further)])
        opcodes = self._tables([self._opcode(*each) for each in versions.items()])
        buffers = self._tables([self._buffer(data) for data in self.buffers])
        inputs, outputs = self._ints(self._indices(graph.inputs)), self._ints(self._indices(graph.outputs))
        subgraph = self._table("SubGraph", Tensors=tensors, Inputs=inputs, Outputs=outputs, Operators=operators)
        graphs = [subgraph]
        if self.resources:
            listed = self._tables([self._operator(each, codes.index(each.name)) for each in first])
            held, none = self._tables([self._tensor(tensor) for tensor in first_tensors]), self._ints([])
            graphs.append(self._table("SubGraph", Tensors=held, Inputs=none, Outputs=none, Operators=listed))
        subgraphs = self._tables(graphs)
        fields = {"OperatorCodes": opcodes, "Subgraphs": subgraphs, "Buffers": buffers}
        if self.metadata:
            fields["Metadata"] = self._tables([self._entry(name, buffer) for name, buffer in self.metadata.items()])
        model = self._table("Model", Version=_SCHEMA_VERSION, **fields)
        self.builder.Finish(model, IDENTIFIER)
        return bytes(self.builder.Output())

    def _buffer_of(self, data: bytes) -> int:
        return self.buffers.setdefault(data, len(self.buffers))

    def _entry(self, name: str, buffer: int) -> int:
        written = self.builder.CreateString(name)
        return self._table("Metadata", Name=written, Buffer=buffer)

    def _operand(self, attr: str, value: Any) -> int:
        """Index of the constant int32 tensor that holds an attribute; equal ones are stored once."""
        array = np.array(value, "<i4")
        tensor = _Tensor(array.shape, "int32", None, self._buffer_of(array.tobytes()), attr if self.names else "")
        if tensor not in self.operands:
            self.operands[tensor] = self._further(tensor)
        return self.operands[tensor]

    def _further(self, tensor: _Tensor) -> int:
        self.further.append(tensor)
        return len(self.tensors) + len(self.further) - 1

    def _table(self, name: str, **fields: Any) -> int:
        """One table of the schema. Widest fields first, as flatc orders them, so that padding stays small."""
        getattr(schema, f"{name}Start")(self.builder)
        for field, value in fields.items():
            getattr(schema, f"{name}Add{field}")(self.builder, value)
        return int(getattr(schema, f"{name}End")(self.builder))

    def _once(self, key: Hashable, build: Callable[[], int]) -> int:
        if key not in self.shared:
            self.shared[key] = build()
        return self.shared[key]

    def _vector(self, values: np.ndarray, alignment: int | None = None) -> int:
        data = values.tobytes()
        self.builder.StartVector(values.itemsize, values.size, alignment or values.itemsize)
        self.builder.head = self.builder.Head() - len(data)
        self.builder.Bytes[self.builder.Head() : self.builder.Head() + len(data)] = data
        return int(self.builder.EndVector())

    def _numbers(self, values: list[Any], dtype: str) -> int:
        return self._once((dtype, tuple(values)), lambda: self._vector(np.array(values, dtype)))

    def _ints(self, values: list[int]) -> int:
        return self._numbers(values, "<i4")

    def _tables(self, offsets: list[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def _indices(self, names: tuple[str, ...]) -> list[int]:
        return [self.index[name] for name in names]

    def _buffer(self, data: bytes) -> int:
        if not data:
            return self._table("Buffer")
        return self._table("Buffer", Data=self._vector(np.frombuffer(data, np.uint8), ALIGNMENT))

    def _opcode(self, operator: str, version: int) -> int:
        kind, _, custom = operator.partition(":")
        name = {"CustomCode": self.builder.CreateString(custom)} if custom else {}
        code = getattr(schema.BuiltinOperator, kind)
        # The one-byte field is what old readers see; 127 there says that the code is in the wide one.
        codes = {"DeprecatedBuiltinCode": min(code, 127), "Version": version, "BuiltinCode": code}
        return self._table("OperatorCode", **name, **codes)

    def operators(self, node: Node) -> Iterator[_Operator]:
        """What stands in the file for a node: one operator, or those behind which it can.

        Raises:
            UnsupportedLayer: a function that no float kernel computes, in a graph of floats.
        """
        cell, roles = tflite_cell(node.op), node.input_roles()
        if node.row.frozen is not None and self.graph.is_float(node):
            chain = " of ".join(str(name) for name, *_ in reversed(node.attrs["steps"]))
            raise UnsupportedLayer(
                where=f"layer {node.output!r}",
                expected="functions with a kernel in float32, for a file that computes in floats",
                got=f"{chain}, which a table of int8 codes computes",
                remedy="leave export.format out, or write the function with operators that have one",
            )
        if cell.states and all(map(self.graph.is_float, self.graph.nodes)):
            raise UnsupportedLayer(
                where=f"layer {node.output!r}",
                expected="layers that begin anew in every inference, for a file of floats, which LiteRT runs",
                got=f"{cell.operator}, whose states LiteRT sets to zeros once and for all",
                remedy="leave export.format out, or write the layer with a cell, nn.LSTMCell, in a loop",
            )
        indices = {role: self.index[name] for role, name in roles.items() if role not in cell.kept}
        carried = [role for role in node.row.carried if role in roles]
        if cell.counted_from_zero:
            first = node.row.roles[0]
            value, quantized = self.graph.values[roles[first]], node.attrs.get(COUNTED_BY) == QUANTIZED
            indices[first] = yield from self._counted_from_zero(value, indices[first], quantized=quantized)
        inputs = [indices[role] for role in cell.order or roles if role in roles and role not in node.row.carried]
        for operand in cell.operands:
            inputs.insert(operand.position, self._operand(operand.attr, node.attrs[operand.attr]))
        left_out = dict.fromkeys(cell.absent, -1)
        for state in cell.states:
            there = state.name in carried
            left_out[state.position] = indices[state.name] if there else (yield from self._zeros(state, node))
        for position in sorted(left_out):
            inputs.insert(position, left_out[position])
        options = {f.option: self._option(f.enum, node.attrs[f.attr]) for f in cell.fields}
        version = cell.version(self.graph.qparams(node))
        outputs = self._indices(node.outputs[: len(node.outputs) - len({*carried} - {*cell.kept})])
        taken, made = inputs, outputs
        if cell.vectors:
            taken = [self._one_sample(each) if not self.tensors[each].buffer else each for each in inputs]
            made = [self._one_sample(each) for each in outputs]
        yield from self._reshapes(inputs, taken)
        yield _Operator(cell.operator, version, taken, made, cell.options, options)
        yield from self._reshapes(made, outputs)

    def _one_sample(self, index: int) -> int:
        """A tensor without the first axis, which counts samples: the value's own, where it has none in the file."""
        if index in self.vectors:
            return index
        tensor = self.tensors[index]
        if tensor.shape[0] != 1:
            raise UnsupportedLayer(
                where=f"a tensor of shape {tensor.shape}",
                expected="one sample for an operator of the front end, which takes a vector",
                got=f"{tensor.shape[0]} rows",
                remedy="run them one after the other",
            )
        return self._further(replace(tensor, shape=tensor.shape[1:], name=""))

    def _reshapes(self, sources: list[int], outputs: list[int]) -> Iterator[_Operator]:
        pairs = zip(sources, outputs, strict=True)
        return (self._reshape(source, output) for source, output in pairs if source != output)

    def _reshape(self, source: int, output: int) -> _Operator:
        shape = self._ints(list([*self.tensors, *self.further][output].shape))
        return _Operator("RESHAPE", 1, [source], [output], "ReshapeOptions", {"NewShape": shape})

    def resource_operators(self) -> tuple[list[_Operator], list[_Operator]]:
        """What stands before all nodes, and behind all: states that are resource variables, read and assigned."""
        if not self.resources:
            return [], []
        before = [_Operator("CALL_ONCE", 1, [], [], "CallOnceOptions", {"InitSubgraphIndex": 1})]
        after = []
        for number, state in enumerate(self.resources):
            handle = self._further(_HANDLE)
            before.append(self._handle(number, handle))
            before.append(_Operator("READ_VARIABLE", 1, [handle], [self.index[state.value]], "ReadVariableOptions", {}))
            inputs = [handle, self.index[state.after]]
            after.append(_Operator("ASSIGN_VARIABLE", 1, inputs, [], "AssignVariableOptions", {}))
        return before, after

    def _first_contents(self) -> tuple[list[_Operator], list[_Tensor]]:
        """What CALL_ONCE runs: operators on tensors of their own."""
        operators, tensors = [], list[_Tensor]()
        for number, state in enumerate(self.resources):
            value, at = self.graph.values[state.value], len(tensors)
            buffer = self._buffer_of(raw_bytes(state.first, value.dtype))
            tensors += [_HANDLE, _Tensor(value.shape, value.dtype, None if value.of_indices else value.qparams, buffer)]
            operators.append(self._handle(number, at))
            operators.append(_Operator("ASSIGN_VARIABLE", 1, [at, at + 1], [], "AssignVariableOptions", {}))
        return operators, tensors

    def _handle(self, number: int, output: int) -> _Operator:
        name = self._once(("name", number), lambda: self.builder.CreateString(f"state_{number}"))
        return _Operator("VAR_HANDLE", 1, [], [output], "VarHandleOptions", {"SharedName": name})

    def _counted_from_zero(self, value: Value, index: int, *, quantized: bool) -> Generator[_Operator, None, int]:
        """A value's codes as int32 from 0 on, and the index of that tensor."""
        if quantized:
            counted = self._further(_Tensor(value.shape, "int32", counted_grid(value.quantization), 0))
            yield _Operator("QUANTIZE", 1, [index], [counted], None, {})
            return counted
        wide, counted = (self._further(_Tensor(value.shape, "int32", None, 0)) for _ in range(2))
        kinds = {"InDataType": schema.TensorType.INT8, "OutDataType": schema.TensorType.INT32}
        yield _Operator("CAST", 1, [index], [wide], "CastOptions", kinds)
        lowest = self._operand("lowest", -value.quantization.code_range[0])
        yield _Operator("ADD", 1, [wide, lowest], [counted], "AddOptions", {})
        return counted

    def _zeros(self, state: FileState, node: Node) -> Generator[_Operator, None, int]:
        """A state's tensor, set to zeros by an operator of its own; its index."""
        output = self.graph.values[node.output]
        qparams = output.qparams
        if qparams is not None and state.dtype:
            qparams = QParams((2.0 ** node.attrs[state.attr],), (0,), state.dtype)
        kind = "float32" if qparams is None else qparams.dtype
        zeros = np.full((output.shape[0], output.shape[-1]), 0 if qparams is None else qparams.zero_point[0], kind)
        constant = _Tensor(zeros.shape, kind, qparams, self._buffer_of(raw_bytes(zeros, kind)))
        if constant not in self.operands:
            self.operands[constant] = self._further(constant)
        index = self._further(_Tensor(zeros.shape, kind, qparams, 0, variable=True))
        yield self._reshape(self.operands[constant], index)
        return index

    def _operator(self, operator: _Operator, opcode: int) -> int:
        inputs, outputs = self._ints(operator.inputs), self._ints(operator.outputs)
        fields = {"OpcodeIndex": opcode, "Inputs": inputs, "Outputs": outputs}
        if operator.table is not None:
            kind = getattr(schema.BuiltinOptions, operator.table)
            key = (operator.table, tuple(sorted(operator.options.items())))
            options = self._once(key, lambda: self._table(str(operator.table), **operator.options))
            fields |= {"BuiltinOptionsType": kind, "BuiltinOptions": options}
        elif operator.options:
            data = np.frombuffer(written_options(operator.options), np.uint8)
            fields["CustomOptions"] = self._once((data.tobytes(),), lambda: self._vector(data))
        return self._table("Operator", **fields)

    def _option(self, enum: str | None, value: Any) -> Any:
        if isinstance(value, tuple):
            return self._ints(list(value))
        return value if enum is None else getattr(getattr(schema, enum), str(value).upper())

    def _tensor(self, tensor: _Tensor) -> int:
        fields = {"Shape": self._ints(list(tensor.shape)), "Buffer": tensor.buffer}
        if tensor.name:
            fields["Name"] = self.builder.CreateString(tensor.name)
        if tensor.qparams is not None:
            qparams = tensor.qparams
            fields["Quantization"] = self._once(qparams, lambda: self._quantization(qparams))
        kind = getattr(schema.TensorType, tensor.kind.upper())
        if tensor.variable:
            fields["IsVariable"] = True
        return self._table("Tensor", **fields, Type=kind)

    def _quantization(self, qparams: QParams) -> int:
        scale, zero_point = self._numbers(list(qparams.scale), "<f4"), self._numbers(list(qparams.zero_point), "<i8")
        return self._table(
            "QuantizationParameters", Scale=scale, ZeroPoint=zero_point, QuantizedDimension=qparams.axis or 0
        )
