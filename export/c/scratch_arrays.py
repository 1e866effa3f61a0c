"""The arrays that working memory lies in, and addresses in them, as C.

A program may give its networks one working memory, since one runs at a time: compiled with ``-DQ_SHARED_SCRATCH_BYTES``
they have none of their own and take the program's.
"""

from __future__ import annotations

from export.boards import Memory
from export.c.memory_plan import MemoryPlan, aligned

__all__ = ["array_bytes", "arrays", "declared_shared", "scratch_at"]


def array_bytes(plan: MemoryPlan) -> dict[str, int]:
    """Bytes of each array, by its name; those of 0 bytes are left out."""
    fast = aligned(plan.peak) if plan.fast is None else plan.fast
    sizes = {"scratch": fast, "scratch_slow": aligned(plan.peak) - fast}
    return {name: size for name, size in sizes.items() if size}


def scratch_at(plan: MemoryPlan, offset: int, ctype: str = "char") -> str:
    """An address in working memory, as an expression."""
    if plan.fast is None or offset < plan.fast:
        return f"({ctype} *)scratch + {offset}"
    return f"({ctype} *)scratch_slow + {offset - plan.fast}"


def arrays(name: str, plan: MemoryPlan, second: Memory | None = None) -> str:
    """Definitions of the arrays.

    Args:
        name: the model's, an identifier.
        plan: what lies in them.
        second: the memory of the board beside its RAM, which one of two arrays belongs in.
    """
    lines = list[str]()
    for array, size in array_bytes(plan).items():
        placed = ""
        what = "Working memory"
        if plan.fast is not None:
            speed = "slow" if array == "scratch_slow" else "fast"
            placed = f"{name.upper()}_{speed.upper()}_MEMORY "
            what += f" in the {speed} one of two memories; -D{placed.strip()}=... says how C puts an array there"
            lines += ["", *_macro(placed.strip(), second if second and second.faster == (speed == "fast") else None)]
        lines += ["", f"// {what}.", f"#ifdef {_shared(array)}"]
        lines += [f"static uint32_t *const {array} = q_shared_{array};", "#else"]
        lines += [f"static {placed}uint32_t {array}[{size // 4}];", "#endif"]
    return "\n".join([*lines, ""])


def _shared(array: str) -> str:
    return f"Q_SHARED_{array.upper()}_BYTES"


def _macro(macro: str, memory: Memory | None) -> list[str]:
    """What puts an array into a memory, unless the build says it."""
    if memory is None or not memory.guard:
        return [f"#ifndef {macro}", f"#define {macro}", "#endif"]
    needs = [f"// {memory.name}: needs {memory.needs}."] if memory.needs else [f"// {memory.name}."]
    include = [f"#include <{memory.header}>"] if memory.header else []
    return [
        *needs, f"#if !defined({macro}) && defined({memory.guard})", *include, f"#define {macro} {memory.attribute}",
        f"#elif !defined({macro})", f"#define {macro}", "#endif",
    ]  # fmt: skip


def declared_shared(name: str, plan: MemoryPlan) -> str:
    """Declarations for a program whose networks share their working memory, and what sees that it is large enough."""
    lines = list[str]()
    for array, size in array_bytes(plan).items():
        macro = _shared(array)
        lines += [
            f"#ifdef {macro}", f"#if {macro} < {size}",
            f'#error "{name} needs {macro} of at least {size}"', "#endif",
            f"extern uint32_t q_shared_{array}[{macro} / 4];", "#endif",
        ]  # fmt: skip
    return "\n".join(lines)
