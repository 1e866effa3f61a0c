"""A loop over rows in C: a table says which node makes its next row, counters say where that lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from export.c.network import CNetwork, RowLoop
from export.c.scratch_arrays import scratch_at
from export.c.written_calls import Text, state_offsets, table, written_call
from qtorch.row.image_rows import RowWindow

__all__ = ["write_row_loop"]


def write_row_loop(text: Text, loop: RowLoop, network: CNetwork, watched: int | None = None) -> None:
    """The function of a section, and its call; with what looks on, the first of its steps."""
    section, first = loop.part.section, loop.part.section.first
    order = table(text, first, f"order_{first}", np.array(loop.part.schedule.order, np.uint8))
    cases = [_case(text, loop, network, place, watched) for place in range(len(section.nodes))]
    count, steps = len(section.nodes), len(loop.part.schedule.order)
    firsts = f", first[{count}] = {{0}}" if any(_moves(loop, name) for name in loop.line_rows) else ""
    what = f"operator {first}" if count == 1 else f"operators {first} to {section.last}"
    before, behind = ("", "") if watched is None else (
        f"    watched_before({watched} + i);\n", f"    watched_behind({watched} + i);\n")  # fmt: skip
    text.loops.append(f"""\
// Rows of {what}: each makes its next one when those behind it need one. step counts them, first says
// which row lies where the few that are kept of a tensor begin.
static void row_by_row_{first}(void) {{{text.mark(first).rstrip()}
  int16_t step[{count}] = {{0}}{firsts};
  for (int i = 0; i < {steps}; ++i) {{
{before}    switch (q_flash_u8({order} + i)) {{
{chr(10).join(cases)}
    }}
{behind}  }}
}}""")
    text.calls.append(f"  {text.mark(None)}row_by_row_{first}();")


def _case(text: Text, loop: RowLoop, network: CNetwork, place: int, watched: int | None) -> str:
    """What a node does for a step."""
    section = loop.part.section
    node = section.nodes[place]
    of = network.graph.nodes[node.index]
    lines = [text.mark(node.index).rstrip()] if text.marked else list[str]()
    addresses, numbers = dict[str, str](), dict[str, str]()
    told = loop.part.calls[node.index].numbers
    ends = place in loop.outside or any("{to}" in number for number in told.values())
    for role, (name, window) in node.reads.items():
        begin, end = _window(place, role, window, (node.steps, section.rows[name]), lines, ends)
        addresses[role] = _address(loop, network, name, begin)
        if role == "input":
            known = {"step": f"step[{place}]", "top": f"top_{role}", "from": begin, "to": end}
            numbers = {parameter: number.format(**known) for parameter, number in told.items()}
    for role, name in of.output_roles().items():
        made = "0" if node.adds_up else f"step[{place}]"
        addresses[role] = _address(loop, network, name, made)
        if _moves(loop, name) and not node.adds_up:
            lines.append(_room(loop, network, name, place))
    if place in loop.sums:
        offset, size = loop.sums[place]
        lines.append(f"if (step[{place}] == 0) memset({scratch_at(network.plan, offset)}, 0, {size});")
    inside = [written_call(text, step, network, addresses, numbers) for step in loop.each[place]]
    if place in loop.outside:
        around = [written_call(text, step, network, addresses, numbers) for step in loop.outside[place]]
        inside = ["if (to_input > from_input) {", *(f"  {line}" for line in inside), "} else {",
                  *(f"  {line}" for line in around), "}"]  # fmt: skip
    if place in loop.rest:
        rest = [written_call(text, step, network, addresses, numbers) for step in loop.rest[place]]
        inside = [f"if (step[{place}] < {node.steps - 1}) {{", *(f"  {line}" for line in inside), "} else {",
                  *(f"  {line}" for line in rest), "}"]  # fmt: skip
    lines += inside
    looked = [] if watched is None else [f"watched_made({watched} + i, {at}, {size});"
                                         for at, size in _made(loop, network, place, addresses)]  # fmt: skip
    if watched is not None and place in loop.sums:
        lines.append(f"watched_made({watched} + i, {scratch_at(network.plan, offset)}, {size});")
    lines += [] if node.adds_up else looked
    lines.append(f"++step[{place}];")
    if place in loop.at_last:
        last = [written_call(text, step, network, addresses, numbers) for step in loop.at_last[place]]
        lines.append(f"if (step[{place}] == {node.steps}) {{")
        lines += [f"  {line}" for line in [*last, *looked]] + ["}"]
    body = "\n".join(f"        {line}" for line in lines)
    return f"      case {place}: {{  // {of.op}\n{body}\n        break;\n      }}"


def _made(loop: RowLoop, network: CNetwork, place: int, addresses: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Where the row of each output lies and its bytes, as expressions; the last one may have fewer."""
    section = loop.part.section
    node = section.nodes[place]
    for role, name in network.graph.nodes[node.index].output_roles().items():
        each, size = section.row_bytes[name], network.graph.values[name].bytes
        rest = size - (node.rows - 1) * each
        yield addresses[role], str(each) if rest == each else f"step[{place}] < {node.rows - 1} ? {each} : {rest}"


def _window(
    place: int, role: str, window: RowWindow, counts: tuple[int, int], lines: list[str], ends: bool
) -> tuple[str, str]:
    """The first row that is read and the one behind the last, as expressions; the lines say how they come.

    The latter may be left out, as what nobody reads does not compile.
    """
    steps, rows = counts
    if not window.stride:
        return "0", str(rows)
    top = _first(window, f"step[{place}]")
    if not window.leaves(steps, rows):
        return top, f"{top} + {window.window}"
    lines.append(f"const int top_{role} = {top};")
    lines.append(f"const int from_{role} = top_{role} < 0 ? 0 : top_{role};")
    if ends:
        end = f"top_{role} + {window.window}"
        lines.append(f"const int to_{role} = {end} > {rows} ? {rows} : {end};")
    return f"from_{role}", f"to_{role}"


def _first(window: RowWindow, step: str) -> str:
    """:meth:`RowWindow.first` in C, whose division rounds towards 0."""
    up = max(-(-window.padding // window.per), 0) if window.per > 1 else 0
    begin = step + (f" * {window.stride}" if window.stride != 1 else "")
    if add := up * window.per - window.padding:
        begin += f" {'+' if add > 0 else '-'} {abs(add)}"
    if window.per == 1:
        return begin
    begin = f"({begin})" if begin != step else begin
    return f"{begin} / {window.per}" + (f" - {up}" if up else "")


def _address(loop: RowLoop, network: CNetwork, name: str, row: str) -> str:
    """Of a row of a tensor."""
    place, section = loop.places[name], loop.part.section
    each = section.row_bytes[name]
    if _moves(loop, name):
        row = f"({row} - first[{section.makers[name]}])"
    elif name in loop.line_rows:
        row = "0"
    elif row != "0":
        row = f"({row})"
    base = scratch_at(network.plan, place.index)
    if place.kind == "state":
        base = f"(char *)&states + {state_offsets(network.graph)[place.index]}"
    return f"({base})" if row == "0" else f"({base} + {row} * {each})"


def _readers(loop: RowLoop, name: str) -> list[tuple[int, RowWindow]]:
    """The positions of the nodes that read a tensor, and their windows."""
    return [
        (place, window)
        for place, node in enumerate(loop.part.section.nodes)
        for other, window in node.reads.values()
        if other == name
    ]


def _moves(loop: RowLoop, name: str) -> bool:
    """Whether rows of a tensor lie now here, now there: of one that is kept, each lies where the one before it did."""
    if name not in loop.line_rows:
        return False
    rows = loop.part.section.rows[name]
    steps = loop.part.schedule.totals
    return loop.line_rows[name] > 1 or any(window.leaves(steps[at], rows) for at, window in _readers(loop, name))


def _room(loop: RowLoop, network: CNetwork, name: str, place: int) -> str:
    """Before a row is made: if there is no room, those that are needed no more make some."""
    section, needed = loop.part.section, ""
    for at, window in _readers(loop, name):
        row, total = _first(window, f"step[{at}]"), loop.part.schedule.totals[at]
        if window.first(total) < section.rows[name]:
            # What lies behind its last window, nobody reads.
            row = f"(step[{at}] < {total} ? {row} : {section.rows[name]})"
        needed = row if not needed else f"q_lower({needed}, {row})"
    each = section.row_bytes[name]
    lines = scratch_at(network.plan, loop.places[name].index)
    return (
        f"first[{place}] = (int16_t)q_make_room({lines}, {each}, {loop.line_rows[name]}, first[{place}], "
        f"step[{place}], {needed});"
    )
