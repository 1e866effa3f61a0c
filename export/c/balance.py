"""Which kernel computes each layer: the most instructions saved for each byte of flash, until the flash is spent.

Instructions and code bytes are those of :mod:`export.c.targets.counted`; constants and working memory are the calls'
own. Layers of the same sizes share their code, and such with the same weights their tables, so they also move together:
the others have what the first of them pays.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from export.c.optimize import Limits, Optimize
from export.c.requantization import requantization
from export.c.tables import Table, tables_of
from export.c.targets import Candidate, candidates, rows_for
from export.c.targets.counted import code_bytes, instructions, kernel_name
from export.c.targets.table import PORTABLE
from qtorch.row.kernel_call import Accumulators, ConstantTable, KernelCall, Rescaling

__all__ = ["Choice", "LayerChoice", "Slot", "chosen_kernels", "slots_of"]

#: Counts are a few percent off for some shapes: what takes more than this share of another's does not save anything.
_SAVES = 0.9
#: What ``balanced`` takes beyond the flash of ``size``, where nobody says how much there is.
MORE_FLASH = 0.1


@dataclass(frozen=True)
class LayerChoice:
    """The kernel of one call, and why it is that one.

    Attributes:
        index: of the node in the graph.
        part: which of the node's calls it is.
        kernel: as the table calls it.
        instructions: estimated from counts (on AVR cycles).
        saved: instructions that it saves beside the kernel of ``size``.
        flash: bytes that it adds to that one's: its share of constants, exactly, and of the estimated code.
        scratch: bytes of working memory that the kernel itself takes.
        others: why not, by kernel.
    """

    index: int
    part: int
    kernel: str
    instructions: float
    saved: float
    flash: int
    scratch: int
    others: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """Plain values, for metrics.json."""
        return {**asdict(self), "instructions": round(self.instructions), "saved": round(self.saved)}


@dataclass(frozen=True)
class Slot:
    """A call that there are kernels to choose from for.

    Attributes:
        index: of the node.
        part: of the node's calls.
        options: the kernel of ``size`` first.
        costs: instructions of each.
        code: bytes of each one's function, which calls of the same sizes share.
        uncounted: kernels that would take the call, and have no counts on the processor.
        refused: kernels that do not take it, and what they take.
    """

    index: int
    part: int
    options: tuple[Candidate, ...]
    costs: tuple[float, ...]
    code: tuple[float, ...]
    uncounted: tuple[str, ...]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Choice:
    """All kernels of a network.

    Attributes:
        calls: of its nodes.
        layers: those that there was a choice for.
        flash: constants, and the code of all calls whose kernels were counted, as estimated.
        least: the same of ``size``.
        budget: bytes that ``flash`` was allowed to be; ``None``: any.
    """

    calls: tuple[tuple[KernelCall, ...], ...]
    layers: tuple[LayerChoice, ...]
    flash: int
    least: int
    budget: int | None

    def as_json(self, names: Mapping[int, str]) -> dict[str, Any]:
        """Plain values, for metrics.json.

        Args:
            names: of the nodes, in words.
        """
        layers = [{"node": names[layer.index], **layer.as_json()} for layer in self.layers]
        return {"flash_bytes": self.flash, "least_bytes": self.least, "budget_bytes": self.budget, "layers": layers}


@dataclass(frozen=True)
class _Move:
    """Some slots that take another option."""

    slots: tuple[int, ...]
    option: int
    saved: float
    added: float


def _worth(move: _Move) -> tuple[float, float, int]:
    """What a move saves for each byte, then altogether; the first of equals."""
    return (move.saved / move.added if move.added > 0 else float("inf"), move.saved, -move.slots[0])


def _fewest(move: _Move) -> tuple[float, float, int]:
    """What it saves for each of its layers."""
    return (move.saved / len(move.slots), -move.added, -move.slots[0])


def slots_of(calls: Sequence[tuple[KernelCall, ...]], cpu: str) -> tuple[Slot, ...]:
    """The portable calls of a network that a processor has other kernels for."""
    others = {kernel for row in rows_for(cpu) if not row.always for kernel in row.replaces}
    return tuple(
        _slot(index, part, call, cpu)
        for index, node_calls in enumerate(calls)
        for part, call in enumerate(node_calls)
        if call.kernel in PORTABLE and call.kernel in others
    )


def _slot(index: int, part: int, call: KernelCall, cpu: str) -> Slot:
    options, code, uncounted = [], [], []
    costs: list[float] = []
    found = candidates(call, cpu)
    for candidate in found:
        cost = instructions(candidate, cpu)
        # Beside a kernel of which no cost is known no other can be said to save anything.
        if candidate is found[0] or (cost is not None and math.isfinite(costs[0])):
            options.append(candidate)
            costs.append(cost if cost is not None else float("inf"))
            code.append(code_bytes(candidate, cpu) or 0.0)
        else:
            uncounted.append(kernel_name(candidate))
    taken = {candidate.row for candidate in found}
    refused = {row.kernel: f"takes {row.shape}" for row in rows_for(cpu)
               if call.kernel in row.replaces and row not in taken}  # fmt: skip
    return Slot(index, part, tuple(options), tuple(costs), tuple(code), tuple(uncounted), refused)


def chosen_kernels(
    calls: Sequence[tuple[KernelCall, ...]],
    slots: Sequence[Slot],
    optimize: Optimize,
    limits: Limits,
    fits: Callable[[int, int], bool] = lambda index, scratch: True,
) -> Choice:
    """The kernel of every call.

    Args:
        calls: of ``size``, of all nodes.
        slots: those of them that there is a choice for.
        optimize: ``size`` takes what adds no flash; ``speed`` what takes the fewest instructions; ``balanced`` and
            ``ram`` what saves most for each byte, until the budget is spent: the flash that is asked for, else a tenth
            more than ``size``, and no more than the board has.
        limits: of flash.
        fits: whether working memory holds so many bytes of a kernel's own at a node, by its index.
    """
    chosen = {(slot.index, slot.part) for slot in slots}
    fixed = tables_of(call for index, node in enumerate(calls) for part, call in enumerate(node)
                      if (index, part) not in chosen)  # fmt: skip
    state = _State(slots, fixed)
    least = state.flash()
    budget = _budget(optimize, limits, least)
    if budget is None:
        _spend(state, None, fits, _fewest)
    else:
        # What saves most for a byte may leave no room for what saves most of all: the better of both orders.
        by_worth, by_most = _State(slots, fixed), _State(slots, fixed)
        _spend(by_worth, budget, fits, _worth)
        _spend(by_most, budget, fits, _fewest)
        state = by_worth if by_worth.instructions() <= by_most.instructions() else by_most
    found = [list(node) for node in calls]
    for slot, option in zip(slots, state.taken, strict=True):
        found[slot.index][slot.part] = slot.options[option].call
    flash = state.flash()
    left = None if budget is None else budget - flash
    held = state.held()
    layers = tuple(_said(state, at, left, fits, held) for at, slot in enumerate(slots) if math.isfinite(slot.costs[0]))
    return Choice(tuple(map(tuple, found)), layers, round(flash), round(least), budget)


def _budget(optimize: Optimize, limits: Limits, least: float) -> int | None:
    if optimize == "speed":
        return None
    if optimize == "size":
        return round(least)
    if limits.spent is not None:
        return limits.spent
    if limits.asked and limits.flash is not None:
        return limits.flash
    most = int(least * (1 + MORE_FLASH))
    return most if limits.flash is None else min(most, limits.flash)


class _State:
    """Options that are taken, and the flash of all together; with the tables that other calls have anyway."""

    def __init__(self, slots: Sequence[Slot], fixed: Mapping[Table, int]) -> None:
        self.slots, self.taken = slots, [0] * len(slots)
        self.tables = [[tables_of([each.call]) for each in slot.options] for slot in slots]
        self.fixed, self.sizes = fixed, dict(fixed)
        for table in (table for options in self.tables for table in options):
            self.sizes |= table
        self.least = self.held()
        firsts = dict[frozenset[Table], int]()
        self.alike = [firsts.setdefault(frozenset(options[0]), at) for at, options in enumerate(self.tables)]
        self.keys = [[_function(each.call) for each in slot.options] for slot in slots]
        self.code: dict[Any, float] = {}
        for slot, keys in zip(slots, self.keys, strict=True):
            self.code |= dict(zip(keys, slot.code, strict=True))

    def key(self, at: int) -> Any:
        return self.keys[at][self.taken[at]]

    def instructions(self) -> float:
        return sum(slot.costs[option] for slot, option in zip(self.slots, self.taken, strict=True))

    def held(self) -> Counter[Table]:
        """How many calls have each table."""
        held = Counter(self.fixed.keys())
        for at, option in enumerate(self.taken):
            held.update(self.tables[at][option].keys())
        return held

    def flash(self) -> float:
        constants = sum(self.sizes[table] for table in self.held())
        return constants + sum(self.code[key] for key in {self.key(at) for at in range(len(self.taken))})


def _function(call: KernelCall) -> tuple[Any, ...]:
    """What calls have in common that share their code: the kernel, all numbers, the types of tables."""
    numbers: list[Any] = []
    for name, argument in call.arguments.items():
        if isinstance(argument, int):
            numbers.append((name, argument))
        elif isinstance(argument, ConstantTable):
            numbers.append((name, argument.data.dtype.name))
        elif isinstance(argument, Accumulators | Rescaling):
            form = argument.form if isinstance(argument, Rescaling) else requantization(argument).form
            numbers.append((form, argument.zero_point, argument.low, argument.high))
    return (call.kernel, call.text, *numbers)


def _spend(
    state: _State,
    budget: float | None,
    fits: Callable[[int, int], bool],
    order: Callable[[_Move], tuple[float, float, int]],
) -> None:
    """The first move of an order that the budget has room for, then the next, until there is none."""
    while True:
        left = float("inf") if budget is None else max(0.0, budget - state.flash())
        best = max((move for move in _moves(state, fits) if move.added <= left), key=order, default=None)
        if best is None:
            return
        for at in best.slots:
            state.taken[at] = best.option


def _moves(state: _State, fits: Callable[[int, int], bool]) -> Iterator[_Move]:
    """Every option of every slot that takes fewer instructions: for the slot alone, and for those alike with it."""
    users, held = Counter(state.key(at) for at in range(len(state.slots))), state.held()
    groups: dict[tuple[Any, Any], list[tuple[int, int]]] = {}
    for at, slot in enumerate(state.slots):
        for option, candidate in enumerate(slot.options):
            if slot.costs[option] < _SAVES * slot.costs[state.taken[at]] and fits(slot.index, candidate.call.scratch):
                groups.setdefault((state.key(at), state.keys[at][option]), []).append((at, option))
    for (before, after), members in groups.items():
        # Those with the same tables leave them together.
        members.sort(key=lambda member: state.alike[member[0]])
        saved = constants = 0.0
        change = Counter[Table]()
        for count, (at, option) in enumerate(members, 1):
            slot, now = state.slots[at], state.taken[at]
            saved += slot.costs[now] - slot.costs[option]
            constants += _exchanged(held, change, state.tables[at][now], state.tables[at][option])
            code = (0.0 if users[after] else state.code[after]) - (
                state.code[before] if users[before] == count else 0.0
            )
            if len({other for _, other in members[:count]}) == 1:
                yield _Move(tuple(place for place, _ in members[:count]), option, saved, constants + code)


def _exchanged(
    held: Mapping[Table, int], change: Counter[Table], before: Mapping[Table, int], after: Mapping[Table, int]
) -> int:
    """Bytes that a call's other tables add, of which some stand anyway; ``change`` is what others did, and grows."""
    added = 0
    for table, size in before.items():
        change[table] -= 1
        added -= size if held.get(table, 0) + change[table] == 0 else 0
    for table, size in after.items():
        added += size if held.get(table, 0) + change[table] == 0 else 0
        change[table] += 1
    return added


def _share(tables: Mapping[Table, int], other: Mapping[Table, int], held: Mapping[Table, int]) -> float:
    """Bytes of the tables that another kernel has not, each in equal parts for the calls that have it."""
    return sum(size / held[table] for table, size in tables.items() if table not in other)


def _said(
    state: _State, at: int, left: float | None, fits: Callable[[int, int], bool], held: Mapping[Table, int]
) -> LayerChoice:
    """What was taken for a slot, and why nothing else was."""
    slot, taken, tables = state.slots[at], state.taken[at], state.tables[at]
    others = dict(slot.refused) | dict.fromkeys(slot.uncounted, "was not counted on this processor")
    users = Counter(state.key(each) for each in range(len(state.slots)))
    for option, candidate in enumerate(slot.options):
        if option == taken:
            continue
        more = slot.costs[option] - slot.costs[taken]
        added = float(_exchanged(held, Counter(), tables[taken], tables[option]))
        added += 0 if users[state.keys[at][option]] else round(state.code[state.keys[at][option]])
        if more >= 0:
            reason = f"takes {more:,.0f} instructions more"
        elif not fits(slot.index, candidate.call.scratch):
            reason = f"its {candidate.call.scratch:,} bytes of working memory do not fit"
        else:
            reason = f"saves {-more:,.0f} instructions, for {added:,.0f} bytes of flash"
            reason += "" if left is None else f" of which {max(0, int(left)):,} are left"
        others[kernel_name(candidate)] = reason
    # Code and tables are the layers' that have them, in equal parts; those of before are saved where nobody has them.
    before = state.keys[at][0]
    gone = 0.0 if users[before] else state.code[before] / sum(keys[0] == before for keys in state.keys)
    gone += _share(
        {table: size for table, size in tables[0].items() if not held.get(table)}, tables[taken], state.least
    )
    flash = _share(tables[taken], tables[0], held) + state.code[state.key(at)] / users[state.key(at)] - gone
    call = slot.options[taken].call
    name, saved = kernel_name(slot.options[taken]), slot.costs[0] - slot.costs[taken] if taken else 0.0
    return LayerChoice(
        slot.index, slot.part, name, slot.costs[taken], saved, round(flash if taken else 0.0), call.scratch, others
    )
