"""``docs/coverage.md`` from the results: by corpus, by reason, by network."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from benchmarks.suite import markdown_table

__all__ = ["page"]

Results = Mapping[str, Mapping[str, Any]]

_VERDICTS = ("exact", "refused", "failed", "wrong", "too long", "too big", "unbuilt")
_PEER = ("runs", "not in TFLM", "failed", "too long", "too big")
_INTRODUCTION = """\
# Which networks go through

`python -m benchmarks zoo` builds {count} networks that nobody here wrote ([the
list](../benchmarks/zoo/networks.toml)), with random weights, and takes each through `prepare`, `calibrate`
on 16 inputs and an export, in a process of its own that may take {seconds:g} s of a processor and {gigabytes:g} GB of
memory. **{exact} of {count} are exact**: every output that was compared, of 4 inputs and 4 of random codes, is TFLite
Micro's.

- refused: `prepare` or the export says what can't be exported exactly, and the remedy
- failed: another exception than a refusal, which is a defect; wrong: a comparison found a difference
- unbuilt: the network's own library doesn't build it here

Beside it {tried} of the same networks through litert-torch and ai-edge-quantizer: static int8, ranges from least to
most over the same 16 inputs. "Runs" says that TFLite Micro runs the file. TinyNeuralNetwork is not on PyPI, and is not
measured. Errors are against the float network on 16 other inputs: squared errors over squares. Seconds are of a
processor.

{versions}."""


def page(ours: Results, theirs: Results, seconds: float, gigabytes: float) -> str:
    """The page.

    Args:
        ours: what :func:`benchmarks.zoo.runs.run` found, by network.
        theirs: the same of the peer; of as many networks as it was run on.
        seconds: the limit of processor time.
        gigabytes: that of memory.
    """
    exact = sum(found["verdict"] == "exact" for found in ours.values())
    packages = ("torch", "tflite_micro", "litert-torch", "ai-edge-quantizer")
    versions = ", ".join(f"{name} {_version(name)}" for name in packages if _version(name))
    introduction = _INTRODUCTION.format(
        count=len(ours), exact=exact, seconds=seconds, gigabytes=gigabytes, versions=versions, tried=len(theirs)
    )
    parts = [
        [introduction],
        ["## By corpus", "", *_by_corpus(ours, theirs)],
        ["## Why networks are refused", "", *_reasons(ours)],
        *([["## What fails", "", *_failures(ours)]] if any(map(_is_defect, ours.values())) else []),
        ["## By network", "", *_by_network(ours, theirs)],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _is_defect(found: Mapping[str, Any]) -> bool:
    return found["verdict"] not in ("exact", "refused")


def _cell(text: str, most: int = 160) -> str:
    """As a table holds it: code, in one line, and not too long of it."""
    line = " ".join(text.split()).replace("|", "\\|").replace("`", "'")
    return f"`{line if len(line) <= most else line[: most - 3] + '...'}`" if line else ""


def _by_corpus(ours: Results, theirs: Results) -> list[str]:
    head = ["corpus", "networks", *_VERDICTS, *(f"litert-torch: {verdict}" for verdict in _PEER)]
    corpora = sorted({name.split("/")[0] for name in ours})
    rows = []
    for corpus in [*corpora, ""]:
        mine, peers = (
            [found["verdict"] for name, found in results.items() if not corpus or name.split("/")[0] == corpus]
            for results in (ours, theirs)
        )
        counts = [*(mine.count(verdict) for verdict in _VERDICTS), *(peers.count(verdict) for verdict in _PEER)]
        rows.append([corpus or "**all**", len(mine), *(count or "" for count in counts)])
    return markdown_table(head, rows)


def _reasons(ours: Results) -> list[str]:
    """Refusals that differ in numbers alone, or in where, are one reason; the commonest first."""
    networks: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, found in ours.items():
        if found["verdict"] == "refused":
            words = (re.sub(r"\d+", "N", found[part]) for part in ("got", "expected", "remedy"))
            networks[(found["stage"], *words)].append(name)
    rows = [
        [len(names), stage, *(_cell(word) for word in words), ", ".join(names[:3]) + (", ..." if names[3:] else "")]
        for (stage, *words), names in sorted(networks.items(), key=lambda each: (-len(each[1]), each[0]))
    ]
    return [
        "Of each network the first thing that stood in the way; N is any number.",
        "",
        *markdown_table(["networks", "in", "got", "expected", "remedy", "for example"], rows),
    ]


def _failures(ours: Results) -> list[str]:
    head = ["network", "result", "in", "what", "the last line of the network's own code"]
    return markdown_table(
        head,
        [
            [name, found["verdict"], found["stage"], _cell(found.get("got", "")), _cell(found.get("where", ""))]
            for name, found in ours.items()
            if _is_defect(found)
        ],
    )


def _by_network(ours: Results, theirs: Results) -> list[str]:
    head = [
        "network", "result", "bytes", "TRANSPOSE", "error", "prepare, s", "calibrate, s", "export, s", "litert-torch",
        "its bytes", "its TRANSPOSE", "its error",
    ]  # fmt: skip
    rows: list[Sequence[object]] = []
    for name, found in ours.items():
        spent, peer = found.get("seconds", {}), theirs.get(name, {})
        seconds = (f"{spent[stage]:.2f}" if stage in spent else "" for stage in ("prepare", "calibrate", "export"))
        rows.append([name, *_figures(found), *seconds, *_figures(peer)])
    return markdown_table(head, rows)


def _figures(found: Mapping[str, Any]) -> list[object]:
    stage = f", {found['stage']}" if "stage" in found and found["verdict"] != "not in TFLM" else ""
    size = f"{found['bytes']:,}" if "bytes" in found else ""
    error = f"{found['error']:.2g}" if "error" in found else ""
    return [found.get("verdict", "") + stage, size, found.get("transposes", ""), error]
