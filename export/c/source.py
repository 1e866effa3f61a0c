"""``<name>_model.h`` and ``<name>_model.c``: the network in C99, complete in these two files.

The kernels are copied in as text, only those that are used. Each kernel is called through a small function of the
model's own in which all sizes are constants; layers whose sizes agree share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.boards import Memory
from export.c.by_rows.text import write_row_loop
from export.c.header import ends_in_memory, header_text
from export.c.kernels import kernel_files, kernel_sources, kernel_text
from export.c.network import CNetwork, Place, RowLoop, Step
from export.c.scratch_arrays import array_bytes, arrays, scratch_at
from export.c.written_calls import Text, address, state_address, state_bytes, table, written_call
from export.c_language.names import c_identifier
from export.graph.bytes import raw_bytes
from export.interface.tensor_layout import TensorLayout, tensor_layouts

__all__ = ["LARGEST_AVR_TABLE", "MOST_AVR_CONSTANTS", "CSource", "c_source"]

#: On AVR constants lie within the first 64 KiB of flash, less room for the vectors and what else precedes them.
MOST_AVR_CONSTANTS = 63 * 1024
#: And no array is larger than a pointer difference of 16 bits.
LARGEST_AVR_TABLE = 2**15 - 1
_ONLY_AVR = """\
#if !defined(__AVR__)
#error "made for AVR. Remedy: for another processor export with --export.target host, qtorch compile with --target host"
#else
"""


@dataclass(frozen=True)
class CSource:
    """The two files and what they take.

    Attributes:
        files: text by file name.
        constant_bytes: in flash, code apart, by the index of the first node that needs them: arrays that are alike
            stand once.
        scratch_bytes: of RAM, arguments, states and stack apart.
        state_bytes: of RAM, for what lives from one run to the next.
        forms: of the requantization, by node index.
        largest_table: bytes of the largest array of constants, by the index of the first node that needs it.
    """

    files: Mapping[str, str]
    constant_bytes: Mapping[int, int]
    scratch_bytes: int
    state_bytes: int
    forms: Mapping[int, str]
    largest_table: Mapping[int, int]


@dataclass(frozen=True)
class Watch:
    """What looks on as a network runs: for proofs, no part of what is exported.

    Attributes:
        text: with functions ``watched_before`` and ``watched_behind`` of a step, and ``watched_made`` of what it made.
        starts: by node index, the first step.
    """

    text: str
    starts: Sequence[int]


def c_source(
    name: str,
    network: CNetwork,
    layouts: Sequence[TensorLayout] = (),
    watch: Watch | None = None,
    second: Memory | None = None,
    marked: bool = False,
) -> CSource:
    """Text of a network.

    Args:
        name: the model's, any string.
        network: its kernel calls and memory.
        layouts: of its inputs and outputs, with what their numbers are; without it where they are left out.
        watch: what is called before and behind every operator and row.
        second: the memory of the board beside its RAM.
        marked: with a comment in front of each node's code (firmware.emulation.steps), for emulators that count by
            addresses: no part of what is exported. The copies behind all nodes are marked as one more.
    """
    text = Text(c_identifier(name), marked=marked)
    last = {item.index: item.part for item in network.run if isinstance(item, Step)}
    for item in network.run:
        if isinstance(item, RowLoop):
            write_row_loop(text, item, network, watch.starts[item.part.section.first] if watch else None)
            continue
        call = written_call(text, item, network)
        if watch:
            step = watch.starts[item.index]
            call = f"{f'watched_before({step}); ' if not item.part else ''}{call} watched_behind({step});"
            call += _made(item, step, network) if item.part == last[item.index] else ""
        text.calls.append(f"  {text.mark(item.index)}{call}")
    if marked and (network.copies or network.state_copies):
        text.calls.append(f"  {text.mark(len(network.graph.nodes))}".rstrip())
    for output, place in network.copies.items():
        _write_copy(text, output, place, network)
    for state, place in network.state_copies.items():
        _write_state_copy(text, state, place, network)
    for state in range(len(network.graph.states)):
        _write_reset(text, state, network)
    kernels = kernel_sources(step.call for step in network.steps)
    if any(isinstance(item, RowLoop) for item in network.run):
        kernels["row_lines"] = ""
    if text.sizes or text.functions:
        # What an output or a state takes out of flash, and a layer's function, need no other kernel.
        kernels["kernel"] = ""
    scratch = sum(array_bytes(network.plan).values())
    header = header_text(text.name, network, sum(text.sizes.values()), layouts or tensor_layouts(network.graph))
    only_avr = any(file.endswith("_avr") for file in kernel_files(kernels))
    source = _source(text, kernel_text(kernels), network, only_avr, watch, second)
    files = {f"{text.name}_model.h": header, f"{text.name}_model.c": source}
    return CSource(files, text.sizes, scratch, state_bytes(network.graph), text.forms, text.largest)


def _made(item: Step, step: int, network: CNetwork) -> str:
    """Has what an operator made looked at."""
    values = {role: network.graph.values[name] for role, name in item.node.output_roles().items()}
    return "".join(
        f" watched_made({step}, {address(item.places[role], value.array_dtype, False, network)}, {value.bytes});"
        for role, value in values.items()
    )


def _write_copy(text: Text, output: int, place: Place, network: CNetwork) -> None:
    value = network.graph.values[network.graph.outputs[output]]
    target = scratch_at(network.plan, network.ends["out", output])
    if value.data is None:
        text.calls.append(f"  memcpy({target}, {address(place, value.array_dtype, False, network)}, {value.bytes});")
        return
    _write_from_flash(text, text.calls, f"output_{output}", value.data, f"(uint8_t *)({target})", -1 - output)


def _write_state_copy(text: Text, index: int, place: Place, network: CNetwork) -> None:
    """What a state is after a run, copied to where it lies."""
    after = network.graph.values[network.graph.states[index].after]
    target = state_address(network, index, "uint8", True)
    if after.data is None:
        text.calls.append(f"  memcpy({target}, {address(place, after.array_dtype, False, network)}, {after.bytes});")
        return
    _write_from_flash(text, text.calls, f"after_{index}", after.data, target, -1 - index)


def _write_reset(text: Text, index: int, network: CNetwork) -> None:
    """A state's first contents: a fill where all bytes are one, else a copy out of flash."""
    state = network.graph.states[index]
    data = np.frombuffer(raw_bytes(state.first, network.graph.values[state.value].dtype), np.uint8)
    target = state_address(network, index, "uint8", True)
    if (data == data[0]).all():
        text.resets.append(f"  memset({target}, {int(data[0])}, {data.size});")
        return
    _write_from_flash(text, text.resets, f"first_{index}", data, target, -1 - index)


def _write_from_flash(text: Text, lines: list[str], name: str, data: np.ndarray, target: str, index: int) -> None:
    source = table(text, index, name, data)
    lines.append(f"  for (int i = 0; i < {data.nbytes}; ++i) ({target})[i] = "
                 f"q_flash_u8((const uint8_t *){source} + i);")  # fmt: skip


def _source(
    text: Text, kernels: str, network: CNetwork, only_avr: bool, watch: Watch | None, second: Memory | None
) -> str:
    memory = arrays(text.name, network.plan, second)
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
    memory += f"\n{watch.text}\n" if watch and network.plan.peak else ""
    loops = "".join(f"{loop}\n\n" for loop in text.loops)
    # The rest is left out there: errors of the assembler would hide this one.
    begin, end = (_ONLY_AVR, "\n#endif  // __AVR__\n") if only_avr else ("", "")
    return f"""\
{begin}#include "{text.name}_model.h"

#include <stdint.h>
#include <string.h>

{kernels}

// Constants, named after the parameter and the number of the first layer that has them.

{constants}

// Kernels with this network's sizes.

{bodies}
{memory}
{loops}static void run(void) {{
{calls}
}}

{ends_in_memory(text.name, network)}
{end}"""
