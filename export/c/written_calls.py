"""Kernel calls as text: the constants of each, a function of the model's own with all sizes, and the call itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from export.c.kernels import kernel_parameters
from export.c.network import CNetwork, Place, Step
from export.c.requantization import Channels, requantization
from export.c.scratch_arrays import scratch_at
from export.c.tables import Table, table_of
from export.graph.ir import Graph
from qtorch.row.kernel_call import Accumulators, ConstantTable, Rescaling, TensorArgument

__all__ = ["Text", "address", "state_address", "state_bytes", "state_offsets", "table", "written_call"]


@dataclass
class Text:
    """What has been written so far."""

    name: str
    constants: list[str] = field(default_factory=list)
    functions: dict[tuple[str, tuple[str, ...], tuple[str, ...]], str] = field(default_factory=dict)
    bodies: list[str] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    forms: dict[int, str] = field(default_factory=dict)
    largest: dict[int, int] = field(default_factory=dict)
    tables: dict[Table, str] = field(default_factory=dict)
    marked: bool = False

    def mark(self, index: int | None) -> str:
        """What stands in front of a node's code where marks are asked for, ``None``: of what is of several nodes."""
        return "" if not self.marked else f"/* step {index} */ " if index is not None else "/* no step */ "


def written_call(
    text: Text, step: Step, network: CNetwork, addresses: Mapping[str, str] | None = None,
    numbers: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """A call as a statement; its constants, and its function if no other layer has the same, go to the text.

    Args:
        text: of the model.
        step: what is called.
        network: of the step.
        addresses: of its tensors, by role, as expressions; where they lie if none are given.
        numbers: that it is told at run time, by parameter.
    """
    call, roles = step.call, step.node.input_roles() | step.node.output_roles()
    resolved: dict[str, str] = {}  # parameter -> a number
    passed: dict[str, tuple[str, str]] = {}  # parameter -> C type, expression
    for parameter, argument in call.arguments.items():
        if isinstance(argument, int):
            if parameter in step.at_run_time:
                assert numbers is not None
                passed[parameter] = ("int ", numbers[parameter])
            else:
                resolved[parameter] = _number(argument)
        elif isinstance(argument, TensorArgument):
            value = network.graph.values[roles[argument.role]]
            written = argument.role.startswith(("output", "next_"))
            ctype = f"{'' if written else 'const '}{value.array_dtype}_t *"
            if value.data is not None:
                # Not named after the parameter: in_1 is also what the model's second input is called.
                name = f"constant_{argument.role}_{step.index}"
                passed[parameter] = (ctype, table(text, step.index, name, value.data))
            elif addresses is not None:
                passed[parameter] = (ctype, f"({ctype}){addresses[argument.role]}")
            else:
                there = address(step.places[argument.role], value.array_dtype, written, network)
                each = f" + image * {value.elements // call.images}" if call.images > 1 else ""
                passed[parameter] = (ctype, there + each)
        elif isinstance(argument, ConstantTable):
            passed[parameter] = (
                _table_type(argument.data),
                _constant(text, step, parameter, argument.data, argument.words),
            )
        else:
            channels = argument if isinstance(argument, Rescaling) else requantization(argument)
            text.forms[step.index] = channels.form
            passed[parameter] = ("const int32_t *", _constant(text, step, parameter, channels.words))
            resolved |= _channel_numbers(argument, channels)
    parameters = kernel_parameters(call.kernel, call.text)
    if step.scratch is not None:
        passed[[*parameters][-1]] = ("int8_t *", scratch_at(network.plan, step.scratch, "int8_t"))
    if set(parameters) != set(resolved) | set(passed):
        raise AssertionError(
            f"{call.kernel}: expected arguments {sorted(parameters)}, got {sorted(set(resolved) | set(passed))}"
        )
    function = _function(text, call.kernel, step.node.op, parameters, resolved, {p: t for p, (t, _) in passed.items()})
    arguments = ", ".join(passed[p][1] for p in parameters if p in passed)
    loop = f"for (int32_t image = 0; image < {call.images}; ++image) " if call.images > 1 else ""
    return f"{loop}{function}({arguments});"


def _channel_numbers(accumulators: Accumulators | Rescaling, channels: Channels | Rescaling) -> dict[str, str]:
    numbers = {"zero_point": accumulators.zero_point, "low": accumulators.low, "high": accumulators.high}
    return {"form": channels.form} | {name: _number(number) for name, number in numbers.items()}


def _function(
    text: Text,
    kernel: str,
    op: str,
    parameters: Mapping[str, str],
    numbers: Mapping[str, str],
    types: Mapping[str, str],
) -> str:
    """Name of the model's function for these sizes, written if it is the first with them.

    Args:
        text: of the model.
        kernel: that it calls.
        op: of the node.
        parameters: the kernel's, with their types.
        numbers: those of them that are constants.
        types: of those that are handed over.
    """
    key = (kernel, tuple(numbers.get(p, "") for p in parameters), tuple(types.get(p, "") for p in parameters))
    if key not in text.functions:
        name = f"{op}_{1 + sum(other[0] == kernel for other in text.functions)}"
        name = kernel.removesuffix("_s8") + name.removeprefix(op)
        text.functions[key] = name
        declared = ", ".join(f"{types[p]}{p}" for p in parameters if p in types)
        # A pointer to nothing is a 0 that has no other name.
        sizes_of = (p for p, declared in parameters.items() if not declared.endswith("*"))
        named = {p: numbers[p] for p in sizes_of if _is_small(numbers.get(p, ""))}
        sizes = f"enum {{ {', '.join(f'{p} = {number}' for p, number in named.items())} }};"
        handed = ", ".join(p if p in named else numbers.get(p, p) for p in parameters)
        lines = [_wrapped(sizes, 2)] if named else []
        lines.append(_wrapped(f"{kernel}({handed});", 2))
        text.bodies.append(f"Q_LAYER void {name}({declared}) {{\n" + "\n".join(lines) + "\n}")
    return text.functions[key]


def _is_small(number: str) -> bool:
    """Whether a number can be a constant of an enumeration: on AVR an int has 16 bits."""
    digits = number.removeprefix("-")
    return digits.isdecimal() and int(digits) < 2**15


def _wrapped(code: str, indent: int) -> str:
    """A statement on lines of at most 120 characters, broken after commas."""
    lines, rest = [], " " * indent + code
    while len(rest) > 120:
        cut = rest.rindex(", ", 0, 120) + 1
        lines.append(rest[:cut])
        rest = " " * (indent + 4) + rest[cut + 1 :]
    return "\n".join([*lines, rest])


def _number(value: int) -> str:
    # The most negative int32 has no literal of its own.
    return "INT32_MIN" if value == -(2**31) else str(value)


def _table_type(data: np.ndarray) -> str:
    return f"const {data.dtype.name}_t *"


def _constant(text: Text, step: Step, parameter: str, data: np.ndarray, words: bool = False) -> str:
    """A call's table in flash; returns the name of the array that it is."""
    return table(text, step.index, f"{parameter}_{step.index}" + (f"_{step.part}" if step.part else ""), data, words)


def table(text: Text, index: int, name: str, data: np.ndarray, words: bool = False) -> str:
    """Constants in flash; of bytes that are read as words, where words begin.

    Returns:
        The array's name: another one where such an array stands already, which the first node that needs it pays.
    """
    known = text.tables.setdefault(table_of(data, words), name)
    if known != name:
        return known
    rows, where = _rows(data), "Q_FLASH Q_WORDS" if words else "Q_FLASH"
    text.constants.append(f"static const {data.dtype.name}_t {name}[{data.size}] {where} = {{\n{rows}\n}};")
    text.sizes[index] = text.sizes.get(index, 0) + data.nbytes
    text.largest[index] = max(text.largest.get(index, 0), data.nbytes)
    return name


def _rows(data: np.ndarray) -> str:
    lines, line = [], "   "
    for value in data.reshape(-1).tolist():
        word = f" {_number(value)},"
        if len(line) + len(word) > 120:
            lines.append(line)
            line = "   "
        line += word
    return "\n".join([*lines, line])


def address(place: Place, dtype: str, written: bool, network: CNetwork) -> str:
    """Where a tensor lies, as an expression."""
    if place.kind == "state":
        return state_address(network, place.index, dtype, written)
    return f"({'' if written else 'const '}{dtype}_t *)({scratch_at(network.plan, place.index)})"


def state_offsets(graph: Graph) -> list[int]:
    """Byte offsets of the states, each at a multiple of 4, and where the last one ends."""
    offsets = [0]
    for state in graph.states:
        offsets.append(offsets[-1] + -(-graph.values[state.value].bytes // 4) * 4)
    return offsets


def state_bytes(graph: Graph) -> int:
    """What the states take of RAM."""
    return state_offsets(graph)[-1]


def state_address(network: CNetwork, index: int, dtype: str, written: bool) -> str:
    return f"({'' if written else 'const '}{dtype}_t *)((char *)&states + {state_offsets(network.graph)[index]})"
