"""A fully connected layer for AVR as code of its own: every weight is an immediate of an instruction.

A product takes 6 cycles where a table of weights takes 8, and a weight of 0 takes none. The multiplications of an input
by weights of one magnitude are one, and magnitudes that come again soon stay in a register.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from export.c.short_requantization import Short
from qtorch.row.kernel_call import Accumulators

__all__ = ["Immediates", "cost_of_text", "immediates"]

#: First registers of the sums, which the compiler wants even; and those that take immediates and hold no sum.
_SUMS = (2, 6, 10, 14, 18, 22)
_FREE = (21, 25, 30, 31)
_ZERO = 5
_MASK = (1 << 24) - 1


@dataclass(frozen=True)
class Immediates:
    """A layer's kernel.

    Attributes:
        name: of the function ``name(in, out)``, made of its text.
        text: C with assembly.
        cycles: of the dot products alone.
        code_bytes: likewise.
    """

    name: str
    text: str
    cycles: int
    code_bytes: int


@dataclass(frozen=True)
class _Pass:
    """Instructions of up to six outputs, as calls of the macros of ``firmware/c/immediates_avr.h``."""

    first: int
    width: int
    calls: tuple[str, ...]
    cycles: int
    words: int


#: Cycles and words of each macro.
_COSTS = {
    "Q_SKIP": (2, 1), "Q_LOAD": (3, 2), "Q_KEEP": (1, 1), "Q_TIMES": (2, 1), "Q_PLUS": (3, 3), "Q_MINUS": (3, 3),
    "Q_PLUS_ONE": (3, 3), "Q_MINUS_ONE": (3, 3), "Q_SET": (2, 2),
}  # fmt: skip


def immediates(weights: np.ndarray, accumulators: Accumulators, short: Short, rows: int) -> Immediates:
    """The kernel with the fewest cycles.

    Args:
        weights: int ``[O, I]``, -127..127.
        accumulators: biases of codes as they are, the zero point folded, and limits.
        short: proven requantization.
        rows: inputs one after the other.
    """
    # Inputs are taken with 128 added, which the bias takes back.
    moved = (accumulators.bias - 128 * weights.sum(1) - short.origin) & _MASK
    candidates = [_passes(weights, moved, widest) for widest in range(3, len(_SUMS) + 1)]
    passes = min(candidates, key=lambda tried: sum(each.cycles for each in tried))
    body = [line for each in passes for line in _pass_text(each, short, accumulators.low, accumulators.high)]
    step = [f"    in += {weights.shape[1]};", f"    out += {len(weights)};"]
    lines = [f"  for (int row = 0; row < {rows}; ++row) {{", *body, *step, "  }"] if rows > 1 else ["  {", *body, "  }"]
    text = "\n".join(lines)
    name = f"fully_connected_{hashlib.sha256(text.encode()).hexdigest()[:8]}_avr"
    opening = (
        f'#include "immediates_avr.h"\n\n// {weights.shape[1]} inputs, {len(weights)} outputs; weights as immediates.\n'
        f"Q_KERNEL void {name}(const int8_t *in, int8_t *out) {{"
    )
    words = sum(each.words for each in passes)
    return Immediates(name, f"{opening}\n{text}\n}}\n", sum(each.cycles for each in passes) * rows, 2 * words)


def cost_of_text(text: str) -> tuple[int, int]:
    """Of a kernel's text, for one row, cycles and bytes of the assembly."""
    costs = [_COSTS[macro] for macro in re.findall(r"\b(Q_[A-Z_]+)\b", text) if macro in _COSTS]
    return sum(cycles for cycles, _ in costs), 2 * sum(words for _, words in costs)


def _passes(weights: np.ndarray, starts: np.ndarray, widest: int) -> list[_Pass]:
    parts = np.array_split(np.arange(len(weights)), -(-len(weights) // widest))
    return [_pass(weights[part], starts[part], int(part[0])) for part in parts]


def _pass(weights: np.ndarray, starts: np.ndarray, first: int) -> _Pass:
    width = len(weights)
    sums = [f"{r}, {r + 1}, {r + 2}" for r in _SUMS[:width]]
    free = (*_FREE, *(r + i for r in _SUMS[width:] if r > 16 for i in range(3)))
    kept = _kept([magnitude for column in weights.T for magnitude in _magnitudes(column)], free)
    calls = [
        f"{'Q_KEEP' if register + i > 15 else 'Q_SET'}({register + i}, {int(start) >> 8 * i & 255})"
        for register, start in zip(_SUMS, starts, strict=False)
        for i in range(3)
    ]
    for column in weights.T:
        calls.append("Q_LOAD" if column.any() else "Q_SKIP")
        for registers, weight in zip(sums, column, strict=True):
            if abs(weight) == 1:
                calls.append(f"{'Q_PLUS' if weight > 0 else 'Q_MINUS'}_ONE({registers})")
        for magnitude in _magnitudes(column):
            register, loaded = next(kept)
            calls += [f"Q_KEEP({register}, {magnitude})"] * loaded + [f"Q_TIMES({register})"]
            for registers, weight in zip(sums, column, strict=True):
                if abs(weight) == magnitude:
                    calls.append(f"{'Q_PLUS' if weight > 0 else 'Q_MINUS'}({registers})")
    costs = [_COSTS[call.partition("(")[0]] for call in calls]
    return _Pass(first, width, tuple(calls), sum(c for c, _ in costs), sum(w for _, w in costs))


def _magnitudes(column: np.ndarray) -> list[int]:
    """By which an input is multiplied."""
    return sorted({abs(int(weight)) for weight in column} - {0, 1})


def _kept(wanted: Sequence[int], registers: Sequence[int]) -> Iterator[tuple[int, bool]]:
    """For each wanted number its register, and whether it has to be loaded: what is needed last gives way."""
    upcoming: dict[int, list[int]] = {}
    for position, number in reversed(list(enumerate(wanted))):
        upcoming.setdefault(number, []).append(position)
    held: dict[int, int] = {}  # number -> register
    for number in wanted:
        upcoming[number].pop()
        loaded = number not in held
        if loaded and len(held) < len(registers):
            held[number] = registers[len(held)]
        elif loaded:
            latest = max(held, key=lambda other: upcoming[other][-1] if upcoming[other] else len(wanted))
            held[number] = held.pop(latest)
        yield held[number], loaded


def _pass_text(planned: _Pass, short: Short, low: int, high: int) -> Iterator[str]:
    names = [f"sum_{i}" for i in range(planned.width)]
    yield "    {"
    yield "      const int8_t *from = in;"
    for name, register in zip(names, _SUMS, strict=False):
        yield f'      register __uint24 {name} __asm__("r{register}");'
    yield "      __asm__ volatile("
    yield f'          "clr r{_ZERO}\\n\\t"'
    line = "         "
    for call in planned.calls:
        if len(line) + 1 + len(call) > 120:
            yield line
            line = "         "
        line += " " + call
    yield line
    outputs = ", ".join(f'"=r"({name})' for name in names)
    clobbered = [_ZERO, 17, *_FREE, *(r + i for r in _SUMS[planned.width :] if r > 16 for i in range(3))]
    yield '          "clr __zero_reg__"'
    yield f'          : "+x"(from), {outputs}'
    yield "          :"
    yield f'          : {", ".join(f"{chr(34)}r{r}{chr(34)}" for r in sorted(clobbered))}, "memory");'
    # A call may overwrite registers that bear names, so the sums leave them first.
    for i, name in enumerate(names):
        yield f"      const __uint24 moved_{i} = {name};"
    for i in range(planned.width):
        yield f"      const uint8_t level_{i} = {_level(f'moved_{i}', planned.first + i, short)};"
    for i in range(planned.width):
        yield f"      out[{planned.first + i}] = q_code_of_level_avr(level_{i}, {low}, {high - low});"
    yield "    }"


def _level(moved: str, channel: int, short: Short) -> str:
    above, below = int(short.above[channel]), int(short.below[channel])
    zero = int(-short.origin[channel]) & _MASK
    fraction = f"{above}u" if above == below else f"{moved} >= {zero}u ? {above}u : {below}u"
    return f"q_level_{short.form}_once_avr({moved}, {int(short.multiplier[channel])}u, {fraction})"
