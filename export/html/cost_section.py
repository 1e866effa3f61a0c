"""What a model costs on the device: bytes, work, and where the plain C was built for a board what was counted there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from export.c.memory_plan import plan
from export.c.tensor_buffers import tensor_buffers
from export.cost.board_cost import cycles_in_words, time_in_words
from export.cost.board_share import BoardShare, in_lines
from export.cost.choice_cost import ChoiceCost, in_a_sentence
from export.cost.macs import all_multiply_accumulates, multiply_accumulates
from export.figures.kernel_choice import kernels_in_words, rows_of_kernels
from export.graph.ir import Graph
from export.graph.names import speaking_names
from export.html.charts import bar
from export.html.facts import Facts
from export.html.markup import Markup, element, joined, shown
from export.html.tables import table

__all__ = ["cost_section", "inference"]


def cost_section(facts: Facts) -> Markup:
    """Totals, and what each op has of them; empty of a float format."""
    if facts.graph is None:
        return Markup()
    whole = table("in all", ["what", "figure", "meaning"], [list(row) for row in _totals(facts, facts.graph)], 3)
    said = [in_a_sentence(ChoiceCost.from_json(entry)) for entry in facts.metrics.get("choices", ())]
    choices = element("ul", *(element("li", sentence) for sentence in said if sentence)) if any(said) else Markup()
    return joined(whole, _shares(facts), choices, _kernels(facts), _ops(facts.graph))


def inference(facts: Facts) -> tuple[str, str] | None:
    """One inference on the board that was asked for, and what was assumed or why nothing was counted."""
    measured = facts.metrics.get("c", {}).get("inference")
    if not measured:
        return None
    if "absent" in measured:
        return "not counted", f"{measured['board']}: {measured['absent']}"
    about = f"{measured['board']}, plain C"
    if measured["milliseconds"] is not None:
        about += f": {time_in_words(measured)}; {measured['assumptions']}"
    return f"{shown(round(measured['median']))} {measured['unit']}{cycles_in_words(measured)}", about


def _totals(facts: Facts, graph: Graph) -> list[tuple[str, str, str]]:
    metrics = facts.metrics
    rows = [("model file", f"{shown(metrics['tflite_bytes'])} bytes", "flash, beside the interpreter's program")]
    if metrics.get("arena_bytes"):
        rows.append(
            (
                "tensor arena",
                f"{shown(metrics['arena_bytes'])} bytes",
                "RAM, the least that TFLM takes with reference kernels on 64 bits; by kernels: the arena's header",
            )
        )
    planned = metrics.get("arena_plan")
    if planned:
        by_kernels = f"{shown(planned['arena_bytes'])} bytes"
        rows.append(
            ("arena by the board's kernels", by_kernels, f"RAM, where pointers have 32 bits; {planned['words']}")
        )
    meaning = "RAM, see the plan below" if facts.plain_c is None else "RAM, without what interpreter and kernels need"
    rows.append(("tensors alone", f"{shown(plan(tensor_buffers(graph)).peak)} bytes", meaning))
    work = all_multiply_accumulates(graph)
    rows.append(("work", f"{shown(work)} MAC", "multiply-accumulates of one inference"))
    c = metrics.get("c")
    if c is not None:
        rows.append(("plain C, constants", f"{shown(c['constant_bytes'])} bytes", "flash"))
        held = "RAM, inputs and outputs in it: see the plan below"
        rows.append(("plain C, working memory", f"{shown(c['scratch_bytes'])} bytes", held))
        rows += [
            (f"of it in {one['name']}", f"{shown(one['bytes'])} bytes", _accesses(one))
            for one in c.get("memories", {}).values()
        ]
        if "whole_scratch_bytes" in c:
            rows.append(("operator by operator", f"{shown(c['whole_scratch_bytes'])} bytes", "RAM, without rows"))
        if "state_bytes" in c:
            rows.append(("plain C, states", f"{shown(c['state_bytes'])} bytes", "RAM, kept from run to run"))
        if "program_flash_bytes" in c:
            rows.append(("plain C, program", f"{shown(c['program_flash_bytes'])} bytes", f"flash of {c['board']}"))
    counted = inference(facts)
    return rows if counted is None else [*rows, ("one inference", *counted)]


def _accesses(memory: Mapping[str, Any]) -> str:
    return f"{memory['accesses']:.0%} of the accesses" if "accesses" in memory else "the rest"


def _shares(facts: Facts) -> Markup:
    lines = in_lines([BoardShare(**entry) for entry in facts.metrics.get("shares", ())])
    return joined(*(element("p", f"{line}. What else the firmware has comes on top.") for line in lines))


def _kernels(facts: Facts) -> Markup:
    """Which kernel computes each layer of the plain C, where there are several, and why."""
    c = facts.metrics.get("c") or {}
    rows = rows_of_kernels(c)
    if not rows:
        return Markup()
    about = element(
        "p", f"Kernels of plain C: {kernels_in_words(c)}. Instructions (on AVR cycles) are estimated from counts."
    )
    kinds: tuple[Literal["text", "number"], ...] = ("text", "text", "number", "number", "number", "number", "text")
    header = ["layer", "kernel", "instructions", "saved", "flash more", "working memory", "why no other"]
    return joined(about, table("kernels by layer, beside those of size", header, rows, kinds))


def _ops(graph: Graph) -> Markup:
    called = speaking_names(graph)
    work = [multiply_accumulates(graph, node) for node in graph.nodes]
    most = max(1, *work, 1)
    rows: list[list[str | Markup]] = []
    for node, macs in zip(graph.nodes, work, strict=True):
        constants = [value for name in dict.fromkeys(node.inputs) if (value := graph.values[name]).data is not None]
        size = sum(value.bytes for value in constants)
        about = f"{shown(macs)} multiply-accumulates"
        rows.append([called[node.output], bar(macs / most, "float", about), shown(macs), shown(size), node.op.upper()])
    kinds: tuple[Literal["text", "number"], ...] = ("text", "text", "number", "number", "text")
    return table("by op, in the order of execution", ["tensor", "work", "MAC", "constants, bytes", "op"], rows, kinds)
