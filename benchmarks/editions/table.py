"""The tables of editions, of what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from benchmarks.suite import markdown_table

__all__ = ["edition_tables", "kept"]

#: Ways to end that are not exact.
_ENDS = ("other codes", "refused", "crashed")
_KERNELS = {"reference": "reference", "cmsis_nn": "CMSIS-NN, portable C", "esp_nn": "ESP-NN, portable C"}


def kept(tally: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of a tally, the forms that are not exact throughout: what an edition is remembered by."""
    return {form: dict(row) for form, row in tally.items() if row.get("exact", 0) != row["models"]}


def _cell(row: Mapping[str, Any] | None) -> str:
    """What came of a form: nothing where every model is exact.

    Example:
        ``"2 of 11 other, up to 146; 3 refused"``
    """
    if row is None:
        return ""
    models, said = row["models"], []
    if other := row.get("other codes", 0):
        said.append(f"{other} of {models} other, up to {row['furthest']:,}")
    for end in _ENDS[1:]:
        if count := row.get(end, 0):
            said.append(end if count == models else f"{count} of {models} {end}")
    return "; ".join(said)


def _same(edition: Mapping[str, Any]) -> str:
    """What editions that stand together in a table have in common."""
    if "failed" in edition:
        return f"failed {edition['name']}"
    return str({form: _cell(row) for form, row in edition["forms"].items()})


def _head(group: Sequence[Mapping[str, Any]]) -> str:
    first, last = group[0]["name"], group[-1]["name"]
    return first if first == last else f"{first} to {last}"


def _counted(edition: Mapping[str, Any], end: str) -> int:
    return sum(row.get(end, 0) for row in edition["forms"].values())


def edition_tables(found: Mapping[str, Any]) -> list[str]:
    """One line an edition, neighbours alike on one; below, one line an op that some edition doesn't compute exactly."""
    models = sum(found["models"].values())
    groups = [list(group) for _, group in groupby(found["editions"], key=_same)]
    measured = [group for group in groups if "failed" not in group[0]]
    rows = []
    for group in groups:
        (first, *_) = group
        if "failed" in first:
            rows.append([_head(group), f"not measured: {first['failed']}", "", "", ""])
            continue
        counts = [_counted(first, end) for end in _ENDS]
        rows.append([_head(group), f"{models - sum(counts):,} of {models:,}", *(f"{n}" if n else "" for n in counts)])
    sources = ", ".join(f"{count:,} of {source}" for source, count in found["sources"].items())
    return [
        f"{models:,} models: {sources}. Expected are the codes of the integer reference, which is what training "
        "computes.",
        "",
        *markdown_table(["TFLite Micro of", "exact", *_ENDS], rows),
        "",
        *_by_form([(_head(group), group[0]["forms"]) for group in measured]),
        *_of_trees(found["trees"], models),
        *_of_exports(found.get("exports", [])),
    ]


def _by_form(columns: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    forms = sorted({form for _, each in columns for form in each})
    rows = [[form, *(_cell(each.get(form)) for _, each in columns)] for form in forms]
    return markdown_table(["op", *(name for name, _ in columns)], rows)


def _of_trees(trees: Sequence[Mapping[str, Any]], models: int) -> list[str]:
    """Builds of C++ trees, each on the models that there were then."""
    if not trees:
        return []
    rows = []
    for each in trees:
        if "failed" in each:
            rows.append([each["name"], _KERNELS[each["kernels"]], f"not measured: {each['failed']}", "", "", ""])
            continue
        counts = [_counted(each, end) for end in _ENDS]
        exact = f"{models - sum(counts):,} of {models:,}"
        rows.append([each["name"], _KERNELS[each["kernels"]], exact, *(f"{n}" if n else "" for n in counts)])
    measured = [(each["name"], each["forms"]) for each in trees if "forms" in each]
    return [
        "",
        *markdown_table(["C++ tree, built for a PC", "kernels", "exact", *_ENDS], rows),
        "",
        *_by_form(measured),
    ]


def _counts(counts: Mapping[str, int]) -> list[str]:
    """Exact ones of all, and what came of the rest, in a cell each."""
    rest = [f"{counts[end]} {end}" for end in _ENDS if counts.get(end)]
    return [f"{counts.get('exact', 0)} of {sum(counts.values())}", ", ".join(rest)]


#: Refusals in older rows that are none any more: scales of int16 SUB and LEAKY_RELU have been powers of two since, and
#: kernels of ESP-NN have other forms.
_NO_LONGER = frozenset({
    "sub_scales_in_float32", "leaky_relu_scales_in_float32", "conv_s3", "depthwise_s3_scratch",
    "fully_connected_s3_short_rows",
})  # fmt: skip


def _refused(count: int, faults: Mapping[str, int]) -> str:
    """How many networks were refused, and of older rows how many of them may be written today.

    Example:
        ``"9, up to 6 no longer"``
    """
    gone = min(count, sum(met for name, met in faults.items() if name in _NO_LONGER))
    return f"{count}, up to {gone} no longer" if gone else f"{count or ''}"


def _of_exports(exports: Sequence[Mapping[str, Any]]) -> list[str]:
    """Networks exported for an edition, in a build of it, beside the same as the newest takes them."""
    if not exports:
        return []
    head = [
        "TFLite Micro on a PC", "edition", "processor", "networks", "refused", "in other forms", "exact", "other",
        "without the forms: exact", "other",
    ]  # fmt: skip
    rows = []
    for each in exports:
        networks, cases = (sum(each[key].values()) for key in ("networks", "written"))
        rows.append([
            each["name"], f"`{each['edition']}`", each["cpu"], networks, _refused(networks - cases, each["refused"]),
            each["rewritten"] or "", *_counts(each["for it"]), *_counts(each["for newest"]),
        ])  # fmt: skip
    return ["", *markdown_table(head, rows)]
