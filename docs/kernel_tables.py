"""The kernels of plain C that there is a choice of, and how well their costs are known: for docs/kernels.md."""

from __future__ import annotations

import re
from pathlib import Path

from export.c.targets.counted import fits
from export.c.targets.kernel_row import KernelRow, anywhere
from export.c.targets.table import KERNELS

__all__ = ["PAGE", "with_kernels"]

PAGE = Path(__file__).with_name("kernels.md")

_PLACES = re.compile(r"<!-- (kernels|counts) -->\n.*?<!-- end of \1 -->", re.DOTALL)


def with_kernels(text: str) -> str:
    """A page with both of its tables made anew."""
    made = {"kernels": _kernels(), "counts": _counts()}
    return _PLACES.sub(lambda m: "\n".join([f"<!-- {m[1]} -->", *made[m[1]], f"<!-- end of {m[1]} -->"]), text)


def _kernels() -> list[str]:
    lines = ["| kernel | processors | instead of | takes | when |", "|---|---|---|---|---|"]
    for row in KERNELS:
        cpus, replaced = ", ".join(sorted(row.cpus)), ", ".join(f"`{each}`" for each in sorted(row.replaces))
        lines.append(f"| `{row.kernel}` | {cpus} | {replaced} | {row.shape} | {_when(row)} |")
    return lines


def _when(row: KernelRow) -> str:
    if row.always is None:
        return "chosen"
    return "always" if row.always is anywhere else "chosen; in `size` too where its tables hardly grow"


def _counts() -> list[str]:
    head = ["processor", "kernel", "layers counted", "instructions off: median", "most", "code off: median", "most"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for cpu, kernels in fits().items():
        for name, cost in kernels.items():
            errors = [each for fit in (cost.instructions, cost.code) for each in (fit.median_error, fit.largest_error)]
            shares = " | ".join(f"{100 * each:.1f} %" for each in errors)
            lines.append(f"| {cpu} | `{name}` | {cost.instructions.shapes} | {shares} |")
    return lines
