"""Whether to ship: the answer on top, and below it the criterion, what was compared, and what the page is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from export.figures.verdict import OUTCOMES
from export.html.facts import Facts
from export.html.markup import Markup, element, joined, shown
from export.html.tables import table

__all__ = ["provenance_section", "verdict_banner", "verdict_section"]


def _verdict(facts: Facts) -> Mapping[str, Any]:
    verdict: Mapping[str, Any] = facts.metrics.get("verdict") or {}
    return verdict


def verdict_banner(facts: Facts) -> Markup:
    """The answer and its reason, as the first thing of the page."""
    verdict = _verdict(facts)
    if not verdict:
        return Markup()
    good = element("b", f"Verdict: {verdict['answer']}", class_="good" if verdict["answer"] == "ship" else "bad")
    return element("p", good, f": {verdict['reason']}.", class_="verdict")


def verdict_section(facts: Facts) -> Markup:
    """By what the answer was found; nothing without one."""
    verdict = _verdict(facts)
    remarks = [element("li", remark) for remark in verdict.get("remarks", ())]
    if not verdict.get("comparisons"):
        return element("ul", *remarks) if remarks else Markup()
    rows: list[list[str | Markup]] = [
        [
            each["against"], shown(each["figure"]), shown(each["worse_by"]),
            f"{shown(each['low'])} to {shown(each['high'])}", shown(each["allowed"]),
            OUTCOMES["met"] if each["outcome"] == "met" else element("b", OUTCOMES[each["outcome"]], class_="bad"),
        ]
        for each in verdict["comparisons"]
    ]  # fmt: skip
    header = ["the device beside", verdict["figure"], "device worse by", "95 % interval", "allowed", "criterion"]
    kinds: tuple[Literal["text", "number"], ...] = ("text", "number", "number", "number", "number", "text")
    name, count = verdict["figure"], shown(verdict["samples"])
    about = (
        f"{name} on the device: {shown(verdict['device'])}, 95 %: {shown(verdict['low'])} to {shown(verdict['high'])} "
        f"on {count} test samples; the {verdict['better']} the better. Intervals are of a bootstrap over the samples, "
        "on which all networks are compared one by one."
    )
    return joined(
        element("p", f"Criterion: {verdict['criterion']}."),
        element("p", about),
        table(f"{name} on {count} test samples", header, rows, kinds),
        element("ul", *remarks) if remarks else Markup(),
    )


def provenance_section(facts: Facts) -> Markup:
    """The day, and SHA-256 of what it is of."""
    hashes: Mapping[str, str] = facts.metrics.get("sha256") or {}
    rows = [[what.replace("_", " "), element("code", digest)] for what, digest in hashes.items()]
    day = element("p", f"Made on {facts.day} (UTC).") if facts.day else Markup()
    return joined(day, table("hashes of", ["", "SHA-256"], rows, 2) if rows else Markup())
