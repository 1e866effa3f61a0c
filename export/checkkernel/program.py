"""Calls of kernels as one program in C: a memory comes in, a call works in it, what is left of it goes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.c.by_rows.section import section_of
from export.c.by_rows.text import write_row_loop
from export.c.kernels import kernel_sources, kernel_text
from export.c.memory_plan import MemoryPlan
from export.c.network import CNetwork, Place, RowLoop, Step, run_of
from export.c.placement import ByRows, Lifetimes, Placement, scratch_of, sums_of
from export.c.written_calls import Text, written_call
from export.checkkernel.drawing import Case
from export.checkkernel.forms import Form
from export.checkkernel.memory import Region
from export.graph.ir import Graph, Node, Value
from qtorch.row.kernel_call import Accumulators, ConstantTable, KernelCall, Rescaling

__all__ = ["HEADER_BYTES", "Job", "constant_bytes", "inputs_of", "program"]

#: Before the memory: which call (in, two bytes), and which registers it spoiled (out, four).
HEADER_BYTES = 8


@dataclass(frozen=True)
class Job:
    """One call of a program: a case in one of its forms, and where its tensors lie."""

    case: Case
    name: str
    form: Form
    regions: tuple[Region, ...]


def constant_bytes(form: Form) -> int:
    """Of a form's tables, as they are or, of requantizations that nobody has abridged, at most."""
    calls = form.calls if form.rows is None else (*form.rows.calls[0].each, *form.rows.calls[0].at_last)
    return sum(_argument_bytes(argument) for call in calls for argument in call.arguments.values())


def _argument_bytes(argument: object) -> int:
    if isinstance(argument, ConstantTable):
        return argument.data.nbytes
    if isinstance(argument, Rescaling):
        return argument.words.nbytes
    return 16 * len(argument.bias) if isinstance(argument, Accumulators) else 0


def program(jobs: Sequence[Job], memory: int) -> dict[str, str]:
    """Sources by file name, in the form that an export has: ``check_invoke`` makes call 0, which does nothing, or one
    of the jobs, which count from 1.

    Args:
        jobs: what is called.
        memory: bytes that each has.
    """
    graph = _together(jobs)
    offsets: dict[str, int] = {}
    places: dict[str, Place] = {}
    parts = list[ByRows]()
    calls = list[tuple[KernelCall, ...]]()
    for index, job in enumerate(jobs):
        for region in job.regions:
            if region.kind == "scratch":
                offsets |= {scratch_of(index): region.offset, sums_of(index): region.offset}
            else:
                places[_named(index, region.name)] = Place("scratch", region.offset)
        calls.append(job.form.calls)
        if job.form.rows is not None:
            parts.append(_moved(graph, job.form.rows, index))
    found = Placement(Lifetimes({}, (), {}, (), ()), places, MemoryPlan(offsets, memory), 0)
    run = run_of(graph, calls, found, parts)
    network = CNetwork(graph, run, {}, {}, {}, found, 0, "", "size")
    text, functions = Text("check"), list[str]()
    for index in range(len(jobs)):
        text.calls.clear()
        for item in run:
            if isinstance(item, RowLoop) and item.part.section.first == index:
                write_row_loop(text, item, network)
            elif isinstance(item, Step) and item.index == index:
                text.calls.append(f"  {written_call(text, item, network)}")
        lines = "\n".join(text.calls)
        functions.append(f"static void call_{index + 1}(void) {{\n{lines}\n}}")
    kernels = kernel_sources(step.call for step in network.steps)
    kernels |= {"row_lines": "", "kernel": ""}
    return {"check_model.h": _header(memory), "check_model.c": _source(text, functions, kernel_text(kernels), memory)}


def inputs_of(call: int, before: np.ndarray) -> np.ndarray:
    """What ``check_invoke`` is handed, int8: the number of a call, and the memory that it works in."""
    header = np.array([call & 255, call >> 8, *[0] * (HEADER_BYTES - 2)], np.uint8)
    return np.concatenate([header, before]).view(np.int8)


def _named(index: int, name: str) -> str:
    return f"{index}: {name}"


def _together(jobs: Sequence[Job]) -> Graph:
    """All nodes in one graph, beside each other: its indices tell constants of different calls apart."""
    values, nodes, inputs, outputs = dict[str, Value](), list[Node](), list[str](), list[str]()
    for index, job in enumerate(jobs):
        graph = job.case.graph
        values |= {_named(index, name): value for name, value in graph.values.items()}
        node = graph.nodes[0]
        names = [tuple(_named(index, name) for name in side) for side in (node.inputs, node.outputs)]
        nodes.append(replace(node, inputs=names[0], outputs=names[1]))
        inputs += [_named(index, name) for name in graph.inputs]
        outputs += [_named(index, name) for name in graph.outputs]
    return Graph(values, tuple(nodes), tuple(inputs), tuple(outputs))


def _moved(graph: Graph, part: ByRows, index: int) -> ByRows:
    """The only node of a graph as one of many."""
    (node,) = part.section.nodes
    reads = {role: (_named(index, name), window) for role, (name, window) in node.reads.items()}
    section = section_of(graph, [replace(node, index=index, reads=reads)], part.section.axis)
    return ByRows(section, part.schedule, {index: part.calls[0]})


def _header(memory: int) -> str:
    return f"""\
#ifndef CHECK_MODEL_H
#define CHECK_MODEL_H
#include <stdint.h>
#define CHECK_INPUT_SIZE {HEADER_BYTES + memory}
#define CHECK_OUTPUT_SIZE {HEADER_BYTES + memory}
#ifdef __cplusplus
extern "C" {{
#endif
void check_invoke(const int8_t *in, int8_t *out);
#ifdef __cplusplus
}}
#endif
#endif
"""


def _source(text: Text, functions: Sequence[str], kernels: str, memory: int) -> str:
    parts: Mapping[str, Sequence[str]] = {
        "Constants, named after the parameter and the number of the call.": text.constants,
        "Kernels with their sizes.": text.bodies,
    }
    written = "\n\n".join(f"// {title}\n\n" + "\n\n".join(lines) for title, lines in parts.items() if lines)
    every = ", ".join(f"call_{index}" for index in range(len(functions) + 1))
    return f"""\
#include "check_model.h"

#include <stdint.h>
#include <string.h>

#include "registers.h"

{kernels}

{written}

// The memory that every call works in.
static uint32_t scratch[{memory // 4}];

{"".join(f"{loop}{chr(10)}{chr(10)}" for loop in text.loops)}static void call_0(void) {{}}

{chr(10).join(functions)}

static checked_call *const calls[] = {{{every}}};

void check_invoke(const int8_t *in, int8_t *out) {{
  const unsigned call = (unsigned)(uint8_t)in[0] | (unsigned)(uint8_t)in[1] << 8;
  uint32_t spoiled;
  memcpy(scratch, in + {HEADER_BYTES}, {memory});
  spoiled = registers_spoiled(calls[call]);
  memset(out, 0, {HEADER_BYTES});
  for (int i = 0; i < 4; ++i) {{
    out[i] = (int8_t)(uint8_t)(spoiled >> 8 * i);
  }}
  memcpy(out + {HEADER_BYTES}, scratch, {memory});
}}
"""
