"""The .tflite bytes back to a Graph, with the schema alone: what a parity check compares with the network.

Strict on purpose: a file that this project can't have written is refused before any interpreter sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from export.graph.ir import BrokenConstraint, Graph, MalformedGraph, Node, State, Value, check
from export.graph.passes.foreign.behind_samples import behind_samples
from export.tflite.constants import constant
from export.tflite.contents import read_contents
from export.tflite.counted_from_zero import fold
from export.tflite.custom_options import custom_options
from export.tflite.equivalents.ends import with_each_output_once, with_numbers_as_vectors
from export.tflite.equivalents.equivalents import EQUIVALENTS, in_known_operators
from export.tflite.equivalents.options import default_options
from export.tflite.equivalents.streams import with_streams
from export.tflite.file_data import FileBuffer, FileContents, FileOperator, FileSubgraph, FileTensor, member_names
from export.tflite.scales_of_zeros import with_scales_of_zeros
from export.tflite.soundness import require_sound
from export.tflite.states import Zeros, cleared_states
from export.tflite.variables import Variable, without_variables
from export.tflite.vectors import with_kept, without_vectors
from export.tflite.writer import ALIGNMENT, tflite_cell
from qtorch.errors import BadModelFile
from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.qparams import WHOLE, QParams
from qtorch.ops import ROWS, of_rows
from qtorch.row.fused_activation import FUSED_ACTIVATIONS
from qtorch.row.row import Row, TFLite
from qtorch.row.tflite_cell import COUNTED_BY

__all__ = ["REMEDY_OF_ANY", "graph_of", "read_tflite"]

_REMEDY = "pass a file that this project exported, or export it again"
#: Converters give the range of 0 alone one of about a millionth, or less.
_NOTHING, _CODES = 1e-5, ("int8", "int16", "uint8")
#: Where no more is known.
REMEDY_OF_ANY = "write that part of the network in operators that are known here, as docs/operators.md lists them, and \
convert it again"


def read_tflite(model: bytes, where: str = "model", *, aligned: bool = True) -> Graph:
    """The graph in a model file; values are named ``t0``, ``t1``, ... in the file's order.

    Args:
        model: the whole file.
        where: what to call it in an error.
        aligned: only in the very form in which this project's writer puts files; else in any that has an equivalent
            (:mod:`export.tflite.equivalents`), at any alignment.

    Raises:
        BadModelFile: truncated, no .tflite, or with an operator, type or quantization that no row has.
    """
    return graph_of(read_contents(model, where, _REMEDY), where, aligned=aligned)


def graph_of(contents: FileContents, where: str = "model", *, aligned: bool = False) -> Graph:
    """The graph in what a file holds; see :func:`read_tflite`.

    Raises:
        BadModelFile: with an operator, type or quantization that no row has.
    """
    require_sound(contents, where, outside=True)
    try:
        if aligned:
            _require_alignment(contents.buffers)
            return check(_graph(*_without_variables(contents), every=True))
        return check(behind_samples(_graph(*_without_memory(with_scales_of_zeros(contents)), every=False)))
    # Whatever a row says to attributes and shapes that it never had.
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, MalformedGraph) as error:
        raise BadModelFile(
            where=where,
            expected="a complete int8 model of supported ops"
            if aligned
            else "a network that can be read to the last bit",
            got=f"{error}",
            remedy=_REMEDY if aligned else _remedy(contents, error),
        ) from error


def _remedy(contents: FileContents, error: BaseException) -> str:
    """Of a file that anyone wrote: grids that no row computes with are mostly those of a layer that gives nothing."""
    if isinstance(error, BrokenConstraint):
        for tensor in contents.subgraphs[0].tensors:
            # Widest of 8 or 16 bits, in real numbers.
            reach = max(tensor.scale, default=1.0) * 2 ** (15 if tensor.dtype == "int16" else 8)
            if tensor.dtype in _CODES and not tensor.constant_bytes and reach < _NOTHING:
                return (
                    f"{tensor.words} reaches from {-reach:.0e} to {reach:.0e}: what computes it gave 0 for all "
                    "representative data; convert again with data like those of training, and with trained weights"
                )
    return REMEDY_OF_ANY


def _without_memory(contents: FileContents) -> tuple[FileContents, tuple[Variable, ...]]:
    """A file of anybody's in operators that rows know, and what it keeps from one run to the next, as values."""
    contents, kept = with_streams(with_each_output_once(contents))
    contents, variables = _without_variables(with_numbers_as_vectors(contents))
    variables += kept
    return in_known_operators(contents, frozenset(each.after for each in variables)), variables


def _without_variables(contents: FileContents) -> tuple[FileContents, tuple[Variable, ...]]:
    cleared = cleared_states(contents.subgraphs[0])
    return with_kept(*without_variables(contents, lambda tensor: constant(tensor, contents.buffers), cleared))


def _graph(contents: FileContents, variables: Sequence[Variable], *, every: bool) -> Graph:
    """The graph of the one subgraph, with every tensor that is no operand, or with those alone that are read."""
    if len(contents.subgraphs) != 1:
        raise ValueError(f"{len(contents.subgraphs)} subgraphs instead of one")
    (subgraph,) = contents.subgraphs
    subgraph, between = without_vectors(subgraph) if every else (subgraph, frozenset())
    tensors, buffers = subgraph.tensors, contents.buffers
    folded = fold(subgraph, lambda tensor: constant(tensor, buffers))
    zeros = Zeros(subgraph, lambda tensor: constant(tensor, buffers))
    # A handle says which variable is meant, and holds no numbers.
    handles = {tensor.index for tensor in tensors if tensor.dtype == "resource"}
    operands = set(folded.between) | between | zeros.tensors | handles
    reading = [(one, operator) for one, operator in folded.operators if operator not in zeros.operators]
    nodes = []
    for one, operator in reading:
        try:
            nodes.append(_node(one, operator, subgraph, buffers, zeros, operands))
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(f"operator {operator.number} ({operator.name}): {error}") from error
    sources, sinks = (_names(_complete(indices)) for indices in (subgraph.inputs, subgraph.outputs))
    states = tuple(
        State(f"t{each.value}", f"t{each.after}", each.first.reshape(tensors[each.value].shape)) for each in variables
    )
    read = {*sources, *sinks, *(name for node in nodes for name in (*node.inputs, *node.outputs))}
    read |= {name for state in states for name in (state.value, state.after)}
    named = {f"t{tensor.index}": tensor for tensor in tensors}
    named = {name: each for name, each in named.items() if (each.index not in operands if every else name in read)}
    values = {name: _value(tensor, buffers) for name, tensor in named.items()}
    shifted = frozenset(name for name in (*sources, *sinks) if named[name].shift)
    return Graph(values, tuple(nodes), sources, sinks, shifted=shifted, states=states)


def _node(
    one: str | None, operator: FileOperator, subgraph: FileSubgraph, buffers: Sequence[FileBuffer], zeros: Zeros,
    operands: set[int],
) -> Node:  # fmt: skip
    """The node of an operator, and among ``operands`` the tensors that are attributes of it."""
    tensors = subgraph.tensors
    op = one or _op(operator)
    attrs = _attrs(tflite_cell(op), operator)
    if COUNTED_BY in operator.options:
        attrs[COUNTED_BY] = operator.options[COUNTED_BY]
    given = list(operator.inputs)
    attrs |= zeros.take_out(tflite_cell(op), given, tensors[operator.outputs[0]])
    indices = _complete(_without_absent(given))
    for operand in reversed(tflite_cell(op).operands):
        index = indices.pop(operand.position)
        attrs[operand.attr] = _operand(tensors[index], buffers)
        operands.add(index)
    _require_roles(op, len(indices))
    outputs = _names(_complete(operator.outputs))
    return _normalized(Node(op, attrs, _in_row_order(op, _names(indices)), outputs), tensors)


def _normalized(node: Node, tensors: Sequence[FileTensor]) -> Node:
    """With attributes as its row's cells read them; a file may count axes from the end, and leave sizes out."""
    shapes = {role: tensors[int(name[1:])].shape for role, name in node.input_roles().items()}
    return replace(node, attrs=node.row.normalized(node.attrs, shapes))


def _require_alignment(buffers: Sequence[FileBuffer]) -> None:
    for index, buffer in enumerate(buffers):
        if index and buffer.offset % ALIGNMENT:
            raise ValueError(f"constant buffer {index} at offset {buffer.offset}, not aligned to {ALIGNMENT}")


def _complete(indices: Sequence[int]) -> list[int]:
    """Of tensors, none of which is left out."""
    if -1 in indices:
        raise ValueError(f"tensor indices {list(indices)}, where -1 leaves out an input before another")
    return list(indices)


def _without_absent(indices: Sequence[int]) -> list[int]:
    """Without the inputs that are left out at the end: TensorFlow's converter writes -1 for a bias of zeros."""
    present = list(indices)
    while present and present[-1] == -1:
        present.pop()
    return present


def _require_roles(op: str, count: int) -> None:
    row = ROWS[op]
    absent = [] if row.variadic else [role for role in row.roles[count:] if role not in ("bias", *row.carried)]
    if absent:
        raise ValueError(f"{tflite_cell(op).operator} without its {', '.join(absent)}")


def _names(indices: list[int]) -> tuple[str, ...]:
    return tuple(f"t{i}" for i in indices)


def _in_row_order(op: str, inputs: tuple[str, ...]) -> tuple[str, ...]:
    order = tflite_cell(op).order
    by_role = dict(zip(order, inputs, strict=False))
    return tuple(by_role[role] for role in ROWS[op].roles if role in by_role) if order else inputs


def _operand(tensor: FileTensor, buffers: Sequence[FileBuffer]) -> Any:
    """An attribute out of a constant int32 tensor: an int, or nested tuples."""
    if tensor.dtype != "int32":
        raise ValueError(f"{tensor.words} of {tensor.dtype}, which counts or gives places here, and has to be int32")
    data = constant(tensor, buffers)
    if data is None:
        raise ValueError(f"{tensor.words}, which is computed, where a constant has to be. Cut the network there")
    return _plain(data.tolist())


def _plain(value: Any) -> Any:
    return tuple(_plain(v) for v in value) if isinstance(value, list) else value


_DTYPES = frozenset({*CODE_RANGE, "float32", "float16"})


def _value(tensor: FileTensor, buffers: Sequence[FileBuffer]) -> Value:
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"{tensor.words} of {tensor.dtype}; known here are {', '.join(sorted(_DTYPES))}")
    data = constant(tensor, buffers)
    if tensor.dtype in WHOLE and not tensor.scale:
        return Value(tensor.shape, WHOLE[tensor.dtype], data)
    return Value(tensor.shape, None if tensor.dtype.startswith("float") else _qparams(tensor), data)


def _qparams(tensor: FileTensor) -> QParams:
    if not tensor.scale or not tensor.zero_point:
        raise ValueError(f"{tensor.words} of {tensor.dtype} without a scale and a zero point")
    return QParams(tensor.scale, tensor.zero_point, tensor.dtype, tensor.axis)


@of_rows
def _ops(rows: Mapping[str, Row]) -> dict[str, str]:
    """The row of each operator of the schema that has one."""
    cells = ((name, row.tflite) for name, row in rows.items() if isinstance(row.tflite, TFLite))
    return {cell.operator: name for name, cell in cells if not cell.counted_from_zero}


def _op(operator: FileOperator) -> str:
    if operator.name in EQUIVALENTS and operator.name not in _ops():
        raise ValueError(f"{operator.name} of these types, which nothing here computes; it is known of others")
    if operator.name not in _ops():
        known = len({*_ops(), *EQUIVALENTS})
        raise ValueError(f"{operator.name} is none of the {known} operators that are known here")
    return _ops()[operator.name]


def _attrs(cell: TFLite, operator: FileOperator) -> dict[str, Any]:
    options = operator.options
    if cell.custom and cell.fields:
        options = custom_options(operator.custom, [field.option for field in cell.fields])
    elif cell.options is None:
        return {}
    elif operator.options_kind != getattr(schema.BuiltinOptions, cell.options):
        raise ValueError(f"{cell.operator} with options of type {operator.options_kind}")
    attrs: dict[str, Any] = {}
    for field in cell.fields:
        if field.option not in options:
            raise ValueError(f"{cell.operator} without {field.option}")
        value = options[field.option]
        if field.enum is not None:
            members = member_names(field.enum)
            if value not in members:
                raise ValueError(f"{cell.operator} with {field.option} {value}")
            value = members[value].lower()
            if field.attr == "activation" and value not in _ACTIVATIONS:
                raise ValueError(f"{cell.operator} with {members[options[field.option]]} fused: {_CAN_FUSE}")
        attrs[field.attr] = value
    if not cell.custom:
        _require_defaults(cell, operator)
    return attrs


_ACTIVATIONS = frozenset({"none", *FUSED_ACTIVATIONS})
_CAN_FUSE = "expected NONE, RELU or RELU6. Remedy: convert the model with that activation as an operator of its own"


def _require_defaults(cell: TFLite, operator: FileOperator) -> None:
    """Options that no attribute stands for, and that a kernel reads, say nothing."""
    assert cell.options is not None
    read = {field.option for field in cell.fields} | cell.unread
    if len([index for index in operator.inputs if index != -1]) > 2:
        read |= cell.unread_beside_bias
    for option, default in default_options(cell.options).items():
        value = operator.options.get(option, default)
        if option not in read and value not in {default, *cell.alike.get(option, ())}:
            raise ValueError(
                f"{cell.operator} with {option} {value}: expected {default}, since nothing here computes anything else"
            )
