"""Whether to ship: the answer on top, and below it the criterion, what was compared, and what the page is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from export.figures.verdict import OUTCOMES
from export.html.facts import Facts
from export.html.markup import Markup, element, joined, shown
from export.html.tables import table

__all__ = ["provenance_section", "verdict_banner", "verdict_section"]


def _found(facts: Facts) -> Mapping[str, Any]:
    found: Mapping[str, Any] = facts.metrics.get("verdict") or {}
    return found


def verdict_banner(facts: Facts) -> Markup:
    """The answer and its reason, as the first thing of the page."""
    found = _found(facts)
    if not found:
        return Markup()
    good = element("b", f"Verdict: {found['answer']}", class_="good" if found["answer"] == "ship" else "bad")
    return element("p", good, f": {found['reason']}.", class_="verdict")


def verdict_section(facts: Facts) -> Markup:
    """By what the answer was found; nothing without one."""
    found = _found(facts)
    remarks = [element("li", remark) for remark in found.get("remarks", ())]
    if not found.get("comparisons"):
        return element("ul", *remarks) if remarks else Markup()
    rows: list[list[str | Markup]] = [
        [
            each["against"], shown(each["figure"]), shown(each["worse_by"]),
            f"{shown(each['low'])} to {shown(each['high'])}", shown(each["allowed"]),
            OUTCOMES["met"] if each["outcome"] == "met" else element("b", OUTCOMES[each["outcome"]], class_="bad"),
        ]
        for each in found["comparisons"]
    ]  # fmt: skip
    header = ["the device beside", found["figure"], "device worse by", "95 % interval", "allowed", "criterion"]
    kinds: tuple[Literal["text", "number"], ...] = ("text", "number", "number", "number", "number", "text")
    name, count = found["figure"], shown(found["samples"])
    about = (
        f"{name} on the device: {shown(found['device'])}, 95 %: {shown(found['low'])} to {shown(found['high'])} "
        f"on {count} test samples; the {found['better']} the better. Intervals are of a bootstrap over the samples, on "
        "which all networks are compared one by one."
    )
    return joined(
        element("p", f"Criterion: {found['criterion']}."),
        element("p", about),
        table(f"{name} on {count} test samples", header, rows, kinds),
        element("ul", *remarks) if remarks else Markup(),
    )


def provenance_section(facts: Facts) -> Markup:
    """The day, and SHA-256 of what it is of."""
    hashes: Mapping[str, str] = facts.metrics.get("sha256") or {}
    rows = [[what.replace("_", " "), element("code", digest)] for what, digest in hashes.items()]
    made = element("p", f"Made on {facts.day} (UTC).") if facts.day else Markup()
    return joined(made, table("hashes of", ["", "SHA-256"], rows, 2) if rows else Markup())
