"""The memory of a call: its tensors and scratch apart from each other, paint between them, and what is left of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from export.c.memory_plan import aligned
from export.c.placement import is_copy
from export.c.places import in_place
from export.checkkernel.drawing import Case
from export.checkkernel.forms import Form
from export.graph.bytes import raw_bytes

__all__ = ["BAND", "Region", "Remains", "difference", "laid_out", "memory_bytes", "remains"]

#: Bytes of paint on either side of what a kernel may touch, at least: more than a vector holds.
BAND = 32


@dataclass(frozen=True)
class Region:
    """Bytes that something has: ``kind`` is input, output (in place of an input or not), or scratch."""

    name: str
    kind: str
    offset: int
    size: int

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self.offset + self.size


@dataclass(frozen=True)
class Remains:
    """What memory is before a run, and what it has to be behind it.

    Attributes:
        before: uint8.
        after: uint8.
        compared: bool, where ``after`` counts: everywhere but in scratch.
    """

    before: np.ndarray
    after: np.ndarray
    compared: np.ndarray


def laid_out(case: Case, form: Form) -> tuple[Region, ...]:
    """Where everything lies, in the order of addresses; what may lie in place does so in every other case.

    Tensors begin anywhere that their type allows, as rows of images do; scratch at a multiple of 4, as plans put it.
    """
    rng = np.random.default_rng((case.seed, case.number, 1))
    graph, node = case.graph, case.graph.nodes[0]
    values = graph.values
    taken = _in_place(case, form) if rng.random() < 0.5 else {}
    taken |= {f"next_{role}": role for role in node.row.carried if f"next_{role}" in node.output_roles()}
    roles = node.input_roles() | node.output_roles()
    homes = {roles[made]: roles[source] for made, source in taken.items()}
    regions, end = list[Region](), 0

    def put(name: str, kind: str, size: int, alignment: int, slack: int) -> None:
        nonlocal end
        regions.append(Region(name, kind, aligned(end + BAND, alignment) + slack, size))
        end = regions[-1].end

    made = [name for name in graph.outputs if name not in homes]
    for name in (*graph.inputs, *made):
        itemsize = np.dtype(values[name].array_dtype).itemsize
        slack = itemsize * int(rng.integers(0, 8 // itemsize))
        put(name, "output" if name in made else "input", values[name].bytes, 8, slack)
    by_name = {region.name: region for region in regions}
    regions += [Region(name, "output", by_name[home].offset, values[name].bytes) for name, home in homes.items()]
    if form.scratch:
        put("scratch", "scratch", form.scratch, 4, 0)
    return tuple(sorted(regions, key=lambda region: (region.offset, region.kind)))


def _in_place(case: Case, form: Form) -> dict[str, str]:
    """By the output's role, the first input that it may take over."""
    graph, node = case.graph, case.graph.nodes[0]
    outputs, inputs = node.output_roles(), node.input_roles()
    if form.rows is not None or len(outputs) != 1 or is_copy(form.calls):
        return {}
    (output,) = outputs
    sizes = {role: graph.values[inputs[role]].bytes for role in sorted(in_place(form.calls)) if role in inputs}
    free = [role for role, size in sizes.items() if inputs[role] in graph.inputs]
    fits = [role for role in free if sizes[role] >= graph.values[outputs[output]].bytes]
    return {output: fits[0]} if fits else {}


def memory_bytes(regions: tuple[Region, ...]) -> int:
    """Of a call, paint behind the last region included."""
    return aligned(max(region.end for region in regions) + BAND, 8)


def remains(case: Case, regions: tuple[Region, ...], size: int) -> Iterator[Remains]:
    """Of every run, in ``size`` bytes."""
    for run, codes in enumerate(case.runs):
        paint = np.random.default_rng((case.seed, case.number, 2, run)).integers(0, 256, size, np.uint8)
        before, compared = paint, np.ones(size, bool)
        for region in regions:
            if region.kind == "scratch":
                compared[region.offset : region.end] = False
            if region.kind == "input":
                before[region.offset : region.end] = _bytes(case, region.name, codes)
        after = before.copy()
        for region in regions:
            if region.kind == "output":
                after[region.offset : region.end] = _bytes(case, region.name, codes)
        yield Remains(before, after, compared)


def _bytes(case: Case, name: str, codes: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.frombuffer(raw_bytes(codes[name], case.graph.values[name].dtype), np.uint8)


def difference(case: Case, regions: tuple[Region, ...], wanted: Remains, got: np.ndarray) -> str:
    """The first thing that is not as it has to be, in words; empty if all is."""
    wrong = np.flatnonzero((got != wanted.after) & wanted.compared)
    if not len(wrong):
        return ""
    outputs = [region for region in regions if region.kind == "output"]
    told = list[str]()
    for region in outputs:
        inside = wrong[(wrong >= region.offset) & (wrong < region.end)]
        if len(inside):
            told.append(_wrong_code(case, region, wanted.after, got, int(inside[0]), len(inside)))
    for at in wrong:
        if not any(region.offset <= at < region.end for region in outputs):
            told.append(_spoiled(regions, int(at), wanted.after, got))
            break
    return "; ".join(told)


def _wrong_code(case: Case, region: Region, wanted: np.ndarray, got: np.ndarray, at: int, count: int) -> str:
    value = case.graph.values[region.name]
    dtype = np.dtype(value.array_dtype).newbyteorder("<")
    index = (at - region.offset) // dtype.itemsize
    place = np.unravel_index(index, value.shape) if value.shape else ()
    codes = [
        np.frombuffer(memory[region.offset : region.end].tobytes(), dtype)[index] for memory in (wanted, got)
    ]  # fmt: skip
    differ = "1 byte differs" if count == 1 else f"{count} bytes differ"
    return f"{region.name}{[int(i) for i in place]} is {codes[1]}, expected {codes[0]} ({differ})"


def _spoiled(regions: tuple[Region, ...], at: int, wanted: np.ndarray, got: np.ndarray) -> str:
    change = f"{int(wanted[at])} became {int(got[at])}"
    inside = next((region for region in regions if region.offset <= at < region.end), None)
    if inside is not None:
        return f"wrote into its {inside.kind} {inside.name}, byte {at - inside.offset}: {change}"
    before = [(region.offset - at, f"{region.offset - at} before", region) for region in regions if region.offset > at]
    behind = [(at - region.end + 1, f"{at - region.end + 1} beyond", region) for region in regions if region.end <= at]
    _, how, region = min(before + behind, key=lambda found: found[0])
    called = region.kind if region.kind == region.name else f"{region.kind} {region.name}"
    return f"wrote outside: byte {how} {called}: {change}"
