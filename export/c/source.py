"""``<name>_model.h`` and ``<name>_model.c``: the network in C99, complete in these two files.

The kernels are copied in as text, only those that are used. Each kernel is called through a small function of the
model's own in which all sizes are constants; layers whose sizes agree share it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from export.c.kernels import kernel_files, kernel_parameters, kernel_sources, kernel_text
from export.c.network import CNetwork, Place, Step
from export.c.requantization import Channels, requantization
from export.c_language.names import c_identifier
from export.c_language.text import close_guard, open_guard
from export.graph.bytes import raw_bytes
from export.graph.ir import Graph
from export.interface.tensor_code import described
from export.interface.tensor_layout import TensorLayout, tensor_layouts
from export.interface.tensor_meaning import conversion, meaning
from qtorch.row.kernel_call import Accumulators, ConstantTable, Rescaling, TensorArgument

__all__ = ["LARGEST_AVR_TABLE", "MOST_AVR_CONSTANTS", "CSource", "c_source"]

#: On AVR constants lie within the first 64 KiB of flash, less room for the vectors and what else precedes them.
MOST_AVR_CONSTANTS = 63 * 1024
#: And no array is larger than a pointer difference of 16 bits.
LARGEST_AVR_TABLE = 2**15 - 1
_ONLY_AVR = """\
#if !defined(__AVR__)
#error "made for AVR. Remedy: for another processor export with --export.target host, or with the board's name"
#else
"""


_RESET = """
// The network keeps states from one run to the next, in memory of its own: what a run gives depends on those before.
// There is one sequence at a time. This begins it anew, with what an interpreter of TFLite Micro has when it is made;
// the first run after power-up begins so too.
void {name}_reset(void);
"""


@dataclass(frozen=True)
class CSource:
    """The two files and what they take.

    Attributes:
        files: text by file name.
        constant_bytes: in flash, code apart, by the index of the node that needs them.
        scratch_bytes: of RAM, arguments, states and stack apart.
        state_bytes: of RAM, for what lives from one run to the next.
        forms: of the requantization, by node index.
        largest_table: bytes of the largest array of constants, by the index of the node that needs it.
    """

    files: Mapping[str, str]
    constant_bytes: Mapping[int, int]
    scratch_bytes: int
    state_bytes: int
    forms: Mapping[int, str]
    largest_table: Mapping[int, int]


@dataclass
class _Text:
    """What has been written so far."""

    name: str
    constants: list[str] = field(default_factory=list)
    functions: dict[tuple[str, tuple[str, ...], tuple[str, ...]], str] = field(default_factory=dict)
    bodies: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    forms: dict[int, str] = field(default_factory=dict)
    largest: dict[int, int] = field(default_factory=dict)


def c_source(name: str, network: CNetwork, layouts: Sequence[TensorLayout] = ()) -> CSource:
    """Text of a network.

    Args:
        name: the model's, any string.
        network: its kernel calls and memory.
        layouts: of its inputs and outputs, with what their numbers are; without it where they are left out.
    """
    text = _Text(c_identifier(name))
    for step in network.steps:
        _write_step(text, step, network)
    for output, place in network.copies.items():
        _write_copy(text, output, place, network)
    for state, place in network.state_copies.items():
        _write_state_copy(text, state, place, network)
    for state in range(len(network.graph.states)):
        _write_reset(text, state, network)
    text.calls[:0] = [f"  (void){name};  // Nothing reads it." for name in _unread(text, network)]
    kernels = kernel_sources(step.call for step in network.steps)
    scratch = -(-network.plan.peak // 4) * 4
    header = _header(text.name, network, scratch, sum(text.sizes.values()), layouts or tensor_layouts(network.graph))
    only_avr = any(file.endswith("_avr") for file in kernel_files(kernels))
    source = _source(text, kernel_text(kernels), network, scratch, only_avr)
    files = {f"{text.name}_model.h": header, f"{text.name}_model.c": source}
    return CSource(files, text.sizes, scratch, state_bytes(network.graph), text.forms, text.largest)


def _write_step(text: _Text, step: Step, network: CNetwork) -> None:
    """The constants of one call, its function if no other layer has the same, and the call."""
    call, roles = step.call, step.node.input_roles() | step.node.output_roles()
    resolved: dict[str, str] = {}  # parameter -> a number
    passed: dict[str, tuple[str, str]] = {}  # parameter -> C type, expression
    for parameter, argument in call.arguments.items():
        if isinstance(argument, int):
            resolved[parameter] = _number(argument)
        elif isinstance(argument, TensorArgument):
            value = network.graph.values[roles[argument.role]]
            written = argument.role.startswith(("output", "next_"))
            ctype = f"{'' if written else 'const '}{value.array_dtype}_t *"
            if value.data is not None:
                # Not named after the parameter: in_1 is also what the model's second input is called.
                name = f"constant_{argument.role}_{step.index}"
                passed[parameter] = (ctype, _table(text, step.index, name, value.data))
            else:
                address = _address(step.places[argument.role], value.array_dtype, written, network)
                each = f" + image * {value.elements // call.images}" if call.images > 1 else ""
                passed[parameter] = (ctype, address + each)
        elif isinstance(argument, ConstantTable):
            passed[parameter] = (_table_type(argument.data), _constant(text, step, parameter, argument.data))
        else:
            channels = argument if isinstance(argument, Rescaling) else requantization(argument)
            text.forms[step.index] = channels.form
            passed[parameter] = ("const int32_t *", _constant(text, step, parameter, channels.words))
            resolved |= _channel_numbers(argument, channels)
    if step.scratch is not None:
        last = kernel_parameters(call.kernel, call.text)[-1]
        passed[last] = ("int8_t *", f"(int8_t *)scratch + {step.scratch}")
    parameters = kernel_parameters(call.kernel, call.text)
    if set(parameters) != set(resolved) | set(passed):
        raise AssertionError(
            f"{call.kernel}: expected arguments {sorted(parameters)}, got {sorted(set(resolved) | set(passed))}"
        )
    function = _function(text, call.kernel, step.node.op, parameters, resolved, {p: t for p, (t, _) in passed.items()})
    arguments = ", ".join(passed[p][1] for p in parameters if p in passed)
    loop = f"for (int32_t image = 0; image < {call.images}; ++image) " if call.images > 1 else ""
    text.calls.append(f"  {loop}{function}({arguments});")


def _channel_numbers(accumulators: Accumulators | Rescaling, channels: Channels | Rescaling) -> dict[str, str]:
    numbers = {"zero_point": accumulators.zero_point, "low": accumulators.low, "high": accumulators.high}
    return {"form": channels.form} | {name: _number(number) for name, number in numbers.items()}


def _function(
    text: _Text, kernel: str, op: str, parameters: Sequence[str], numbers: Mapping[str, str], types: Mapping[str, str]
) -> str:
    """Name of the model's function for these sizes, written if it is the first with them."""
    key = (kernel, tuple(numbers.get(p, "") for p in parameters), tuple(types.get(p, "") for p in parameters))
    if key not in text.functions:
        name = f"{op}_{1 + sum(other[0] == kernel for other in text.functions)}"
        name = kernel.removesuffix("_s8") + name.removeprefix(op)
        text.functions[key] = name
        declared = ", ".join(f"{types[p]}{p}" for p in parameters if p in types)
        handed = ", ".join(numbers.get(p, p) for p in parameters)
        text.bodies.append(f"static void {name}({declared}) {{\n{_wrapped(f'{kernel}({handed});', 2)}\n}}")
    return text.functions[key]


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


def _constant(text: _Text, step: Step, parameter: str, data: np.ndarray) -> str:
    """A call's table in flash; returns its name."""
    return _table(text, step.index, f"{parameter}_{step.index}" + (f"_{step.part}" if step.part else ""), data)


def _table(text: _Text, index: int, name: str, data: np.ndarray) -> str:
    rows = _rows(data)
    text.constants.append(f"static const {data.dtype.name}_t {name}[{data.size}] Q_FLASH = {{\n{rows}\n}};")
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


def _address(place: Place, dtype: str, written: bool, network: CNetwork) -> str:
    if place.kind == "state":
        return _state(network, place.index, dtype, written)
    if place.kind == "scratch":
        return f"({'' if written else 'const '}{dtype}_t *)((char *)scratch + {place.index})"
    names = _arguments(network)[place.kind]
    return names[place.index]


def _arguments(network: CNetwork) -> dict[str, tuple[str, ...]]:
    """Names of the function's parameters."""
    sides = {"in": network.graph.inputs, "out": network.graph.outputs}
    return {
        side: (side,) if len(names) == 1 else tuple(f"{side}_{i}" for i in range(len(names)))
        for side, names in sides.items()
    }


def _unread(text: _Text, network: CNetwork) -> list[str]:
    """The inputs that no call reads, which compilers warn of."""
    words = set(re.findall(r"\w+", "\n".join(text.calls)))
    return [name for name in _arguments(network)["in"] if name not in words]


def _write_copy(text: _Text, output: int, place: Place, network: CNetwork) -> None:
    value = network.graph.values[network.graph.outputs[output]]
    target = _arguments(network)["out"][output]
    if value.data is None:
        text.calls.append(f"  memcpy({target}, {_address(place, value.array_dtype, False, network)}, {value.bytes});")
        return
    _write_from_flash(text, text.calls, f"output_{output}", value.data, f"(uint8_t *){target}", -1 - output)


def state_offsets(graph: Graph) -> list[int]:
    """Byte offsets of the states, each at a multiple of 4, and where the last one ends."""
    offsets = [0]
    for state in graph.states:
        offsets.append(offsets[-1] + -(-graph.values[state.value].bytes // 4) * 4)
    return offsets


def state_bytes(graph: Graph) -> int:
    """What the states take of RAM."""
    return state_offsets(graph)[-1]


def _state(network: CNetwork, index: int, dtype: str, written: bool) -> str:
    return f"({'' if written else 'const '}{dtype}_t *)((char *)&states + {state_offsets(network.graph)[index]})"


def _write_state_copy(text: _Text, index: int, place: Place, network: CNetwork) -> None:
    """What a state is after a run, copied to where it lies."""
    after = network.graph.values[network.graph.states[index].after]
    target = _state(network, index, "uint8", True)
    if after.data is None:
        text.calls.append(f"  memcpy({target}, {_address(place, after.array_dtype, False, network)}, {after.bytes});")
        return
    _write_from_flash(text, text.calls, f"after_{index}", after.data, target, -1 - index)


def _write_reset(text: _Text, index: int, network: CNetwork) -> None:
    """A state's first contents: a fill where all bytes are one, else a copy out of flash."""
    state = network.graph.states[index]
    data = np.frombuffer(raw_bytes(state.first, network.graph.values[state.value].dtype), np.uint8)
    target = _state(network, index, "uint8", True)
    if (data == data[0]).all():
        text.resets.append(f"  memset({target}, {int(data[0])}, {data.size});")
        return
    _write_from_flash(text, text.resets, f"first_{index}", data, target, -1 - index)


def _write_from_flash(text: _Text, lines: list[str], name: str, data: np.ndarray, target: str, index: int) -> None:
    source = _table(text, index, name, data)
    lines.append(f"  for (int i = 0; i < {data.nbytes}; ++i) ({target})[i] = "
                 f"q_flash_u8((const uint8_t *){source} + i);")  # fmt: skip


def _prototype(name: str, network: CNetwork) -> str:
    values, arguments = network.graph.values, _arguments(network)
    inputs = [
        f"const {values[n].array_dtype}_t *{a}" for n, a in zip(network.graph.inputs, arguments["in"], strict=True)
    ]
    outputs = [f"{values[n].array_dtype}_t *{a}" for n, a in zip(network.graph.outputs, arguments["out"], strict=True)]
    return f"void {name}_invoke({', '.join(inputs + outputs)})"


def _header(name: str, network: CNetwork, scratch: int, constants: int, layouts: Sequence[TensorLayout]) -> str:
    macro, sizes = name.upper(), []
    for side, names in (("INPUT", network.graph.inputs), ("OUTPUT", network.graph.outputs)):
        for i, tensor in enumerate(names):
            number = "" if len(names) == 1 else f"_{i}"
            sizes.append(f"#define {macro}_{side}{number}_SIZE {network.graph.values[tensor].elements}")
    held = state_bytes(network.graph)
    kept = f" and {held:,} bytes of states" if held else ""
    state_size = f"#define {macro}_STATE_BYTES {held}\n" if held else ""
    reset = _RESET.format(name=name) if held else ""
    return f"""\
// The model as plain C: no interpreter, no heap, no float. Bit for bit what TFLite Micro computes.
//
// {constants:,} bytes of constants in flash, {scratch:,} bytes of working memory{kept} besides the stack.
{open_guard(f"{name}_model")}
#include <stdint.h>

// Elements.
{chr(10).join(sizes)}
#define {macro}_SCRATCH_BYTES {scratch}
{state_size}
// Order of the axes, last index fastest; the batch is one sample. The lines are for whoever includes
// {name}_quantization.h, which has their functions.

{described(name, layouts, conversion(name, layouts), meaning)}
#ifdef __cplusplus
extern "C" {{
#endif

// Codes in, codes out; {name}_quantization.h converts them to physical values. Input and output must not overlap. Not
// reentrant: the working memory is static.
{_prototype(name, network)};
{reset}
#ifdef __cplusplus
}}  // extern "C"
#endif
{close_guard(f"{name}_model")}"""


def _source(text: _Text, kernels: str, network: CNetwork, scratch: int, only_avr: bool) -> str:
    memory = f"\n// Working memory.\nstatic uint32_t scratch[{scratch // 4}];\n" if scratch else ""
    if sum(text.sizes.values()) >= MOST_AVR_CONSTANTS:
        # LPM has addresses of 16 bits; what lies beyond would be read wrong without a word.
        memory = (
            f'\n#if defined(__AVR__)\n#error "expected less than {MOST_AVR_CONSTANTS} bytes of constants on AVR, got '
            f'{sum(text.sizes.values())}. Remedy: a smaller network, or another processor"\n#endif\n{memory}'
        )
    held = state_bytes(network.graph)
    if held:
        union = f"static union {{\n  uint32_t words[{held // 4}];\n  uint8_t bytes[{held}];\n}} states;"
        memory += f"\n// What lives from one run to the next.\n{union}\nstatic uint8_t begun;\n"
        resets = "\n".join(text.resets)
        memory += f"\nvoid {text.name}_reset(void) {{\n{resets}\n  begun = 1;\n}}\n"
        text.calls.insert(0, f"  if (!begun) {text.name}_reset();")
    constants, bodies, calls = "\n\n".join(text.constants), "\n\n".join(text.bodies), "\n".join(text.calls)
    # The rest is left out there: errors of the assembler would hide this one.
    begin, end = (_ONLY_AVR, "\n#endif  // __AVR__\n") if only_avr else ("", "")
    return f"""\
{begin}#include "{text.name}_model.h"

#include <stdint.h>
#include <string.h>

{kernels}

// Constants, named after the parameter and the number of the layer.

{constants}

// Kernels with this network's sizes.

{bodies}
{memory}
{_prototype(text.name, network)} {{
{calls}
}}
{end}"""
