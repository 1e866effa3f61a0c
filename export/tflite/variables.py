"""What a file keeps from one run to the next, made into values: read at the start of a run, replaced at its end.

Two kinds: resource variables (VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE), which CALL_ONCE's subgraph sets before the
first run, and variable tensors, which LSTM and SVDF kernels change where they lie. Both become operators that take what
was and give what is next, so that whatever runs them has no memory of its own.

What TFLM starts with, when an interpreter is new: a resource variable is filled with the zero point of the first tensor
that is assigned to it, as a byte, and CALL_ONCE then assigns; a variable tensor of int8 is filled with its zero point,
any other with bytes of zero. ``MicroInterpreter::Reset`` fills again, but CALL_ONCE does not run a second time. Source:
TFLM ``micro/micro_resource_variable.cc``, ``micro/micro_interpreter_graph.cc``, ``micro/kernels/call_once.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from export.tflite.file_data import FileContents, FileOperator, FileSubgraph, FileTensor
from export.tflite.variable_tensors import first_contents
from qtorch.ops import of_rows
from qtorch.row.row import Row, TFLite

__all__ = ["Variable", "resource_variables", "without_variables"]

#: The contents of a tensor, ``None`` where it has none.
Constant = Callable[[FileTensor], np.ndarray | None]

_RESOURCE = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE")


@dataclass(frozen=True)
class Variable:
    """One variable.

    Attributes:
        name: in the file.
        value: index of the tensor that it is when a run starts.
        after: index of the tensor that it is when the run has ended.
        first: codes that a new interpreter starts with, of the tensor's shape and type.
    """

    name: str
    value: int
    after: int
    first: np.ndarray


def resource_variables(contents: FileContents) -> int:
    """How many resource variables an interpreter of a file has to hold."""
    handles = (each for graph in contents.subgraphs for each in graph.operators if each.name == "VAR_HANDLE")
    return len({(each.options.get("Container", ""), each.options.get("SharedName", "")) for each in handles})


def without_variables(
    contents: FileContents, constant: Constant, untouched: frozenset[int] = frozenset()
) -> tuple[FileContents, tuple[Variable, ...]]:
    """The same file whose first subgraph changes nothing in place, and its variables.

    Operators that change a variable tensor have new tensors behind their outputs, by the tensor's position among their
    inputs. Subgraphs that CALL_ONCE alone runs are left out.

    Args:
        contents: of a file.
        constant: gives a tensor's contents.
        untouched: variable tensors that stay as they are, because they are set anew in every run.

    Raises:
        ValueError: a variable is used in a way that has no such form; the message names operator and variable.
    """
    graph = contents.subgraphs[0]
    if not any(each.variable for each in graph.tensors) and all(o.name not in _RESOURCE for o in graph.operators):
        return contents, ()
    walk = _Walk(contents, constant, untouched)
    for number, operator in enumerate(graph.operators):
        walk.take(number, operator)
    pure, variables = walk.end()
    others = tuple(each for i, each in enumerate(contents.subgraphs) if i and i not in walk.once)
    return replace(contents, subgraphs=(pure, *others)), variables


@of_rows
def _changed(rows: Mapping[str, Row]) -> dict[str, tuple[int, ...]]:
    """By operator, the positions of the inputs that its kernel changes."""
    cells = (row.tflite for row in rows.values() if isinstance(row.tflite, TFLite))
    return {cell.operator: tuple(state.position for state in cell.states) for cell in cells if cell.states}


class _Walk:
    """Operators in their order, and what each variable is by now."""

    def __init__(self, contents: FileContents, constant: Constant, untouched: frozenset[int]) -> None:
        self.contents, self.constant = contents, constant
        self.graph = contents.subgraphs[0]
        self.tensors = list(self.graph.tensors)
        self.variable = {t.index for t in self.graph.tensors if t.variable} - untouched
        self.operators: list[FileOperator] = []
        #: Of handles, which variable; of variables, the tensor that each is at the start and is now, and its contents.
        self.handles: dict[int, Hashable] = {}
        self.starts: dict[Hashable, int] = {}
        self.now: dict[Hashable, int] = {}
        self.assigned: dict[Hashable, FileTensor] = {}
        self.initial: dict[Hashable, np.ndarray] = {}
        self.instead: dict[int, int] = {}
        self.once: set[int] = set()
        if held := sorted(self.variable & set(self.graph.inputs)):
            raise ValueError(f"input tensor {held[0]} is a variable, which nobody could say the first contents of")

    def take(self, number: int, operator: FileOperator) -> None:
        """The next operator."""
        where = f"operator {number} ({operator.name})"
        if operator.name == "CALL_ONCE":
            self._call_once(where, operator)
        elif operator.name == "VAR_HANDLE":
            self.handles[operator.outputs[0]] = _key(operator)
        elif operator.name in _RESOURCE:
            key = self.handles.get(operator.inputs[0])
            if key is None:
                raise ValueError(f"{where} with a handle that no VAR_HANDLE makes")
            if operator.name == "READ_VARIABLE":
                self._read(where, key, operator.outputs[0])
            else:
                self._assign(where, key, operator.inputs[1])
        else:
            self._compute(where, operator)

    def end(self) -> tuple[FileSubgraph, tuple[Variable, ...]]:
        """The subgraph and the variables."""
        outputs = tuple(self._current(self.instead.get(i, i)) for i in self.graph.outputs)
        variables = tuple(self._variable(key, value) for key, value in self.starts.items())
        pure = replace(self.graph, tensors=tuple(self.tensors), operators=tuple(self.operators), outputs=outputs)
        return pure, variables

    def _variable(self, key: Hashable, value: int) -> Variable:
        name, tensor = _name(key, self.tensors), self.tensors[value]
        if isinstance(key, int):
            if tensor.constant_bytes:
                raise ValueError(
                    f"variable tensor {key}, {name}, with a buffer, which TFLM writes into the file's bytes"
                )
            return Variable(name, value, self.now[key], _filled(tensor))
        first = self.initial.get(key)
        if first is None:
            if key not in self.assigned:
                raise ValueError(f"variable {name}, which is read and never assigned; TFLM has no memory for it")
            first = _filled(self.assigned[key], resource=True)
        if first.dtype != tensor.dtype or first.size != math.prod(tensor.shape):
            raise ValueError(
                f"variable {name}: expected {tensor.dtype} {tensor.shape} before the first run, got "
                f"{first.dtype} {first.shape}"
            )
        return Variable(name, value, self.now[key], first.reshape(tensor.shape))

    def _call_once(self, where: str, operator: FileOperator) -> None:
        if self.starts or self.assigned:
            raise ValueError(f"{where} behind operators that use variables; expected it before all of them")
        index = operator.options.get("InitSubgraphIndex", 0)
        if not 0 < index < len(self.contents.subgraphs):
            raise ValueError(f"{where} of subgraph {index} of {len(self.contents.subgraphs)}")
        self.once.add(index)
        graph, handles = self.contents.subgraphs[index], dict[int, Hashable]()
        for number, each in enumerate(graph.operators):
            if each.name == "VAR_HANDLE":
                handles[each.outputs[0]] = _key(each)
            elif each.name == "ASSIGN_VARIABLE" and each.inputs[0] in handles:
                data = self.constant(graph.tensors[each.inputs[1]])
                if data is None:
                    raise ValueError(f"{where}: operator {number} of subgraph {index} assigns what is no constant")
                self.initial[handles[each.inputs[0]]] = data
            else:
                raise ValueError(
                    f"{where}: expected VAR_HANDLE and ASSIGN_VARIABLE in subgraph {index}, got operator {number} "
                    f"({each.name})"
                )

    def _read(self, where: str, key: Hashable, output: int) -> None:
        if key not in self.now:
            self.starts[key] = self.now[key] = output
            return
        now, made = self.tensors[self.now[key]], self.tensors[output]
        if _type(now) != _type(made):
            raise ValueError(f"{where} of {_name(key, self.tensors)} as {_type(made)}, which is {_type(now)} there")
        self.instead[output] = now.index

    def _assign(self, where: str, key: Hashable, source: int) -> None:
        index = self._current(self.instead.get(source, source))
        held, given = self.tensors[self.now.get(key, index)], self.tensors[index]
        if (held.dtype, held.shape) != (given.dtype, given.shape):
            name = _name(key, self.tensors)
            raise ValueError(f"{where} of {name}: expected {held.dtype} {held.shape}, got {given.dtype} {given.shape}")
        self.assigned.setdefault(key, given)
        self.now[key] = index

    def _compute(self, where: str, operator: FileOperator) -> None:
        if held := [index for index in operator.inputs if index in self.handles]:
            raise ValueError(f"{where} on the handle of {_name(self.handles[held[0]], self.tensors)}")
        given = [self.instead.get(index, index) for index in operator.inputs]
        kept = [index for index in given if index in self.variable]
        inputs = tuple(self._current(index) for index in given)
        outputs = tuple(self._renewed(index) if index in self.variable else index for index in operator.outputs)
        positions = [at for at in _changed().get(operator.name, ()) if at < len(given)]
        changed = tuple(self._renewed(given[at]) for at in positions if given[at] in self.variable)
        if len(set(kept)) != len(kept):
            raise ValueError(f"{where} with the variable tensor {kept[0]} as two of its inputs")
        self.operators.append(replace(operator, inputs=inputs, outputs=(*outputs, *changed)))

    def _current(self, index: int) -> int:
        """The tensor that a variable tensor is by now; any other itself."""
        if index not in self.variable:
            return index
        if index not in self.now:
            self.starts[index] = self.now[index] = index
        return self.now[index]

    def _renewed(self, index: int) -> int:
        """A new tensor in the place of a variable one."""
        tensor = replace(self.tensors[index], index=len(self.tensors), variable=False)
        self.tensors.append(tensor)
        self.now[index] = tensor.index
        return tensor.index


def _filled(tensor: FileTensor, *, resource: bool = False) -> np.ndarray:
    return first_contents(tensor.dtype, tensor.shape, tensor.zero_point, resource=resource)


def _key(handle: FileOperator) -> tuple[str, str]:
    return handle.options.get("Container", ""), handle.options.get("SharedName", "")


def _name(key: Hashable, tensors: list[FileTensor]) -> str:
    if isinstance(key, int):
        return repr(tensors[key].name or f"t{key}")
    return repr(key[1] if isinstance(key, tuple) else key)


def _type(tensor: FileTensor) -> tuple[object, ...]:
    return tensor.dtype, tensor.shape, tensor.scale, tensor.zero_point
