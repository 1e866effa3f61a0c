"""What a step of quantized training costs here and in other libraries, in multiples of the float network's own step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.peers.networks import NETWORKS
from benchmarks.rounds import Peer, absent_lines, rounds
from benchmarks.spread import cell, ratios
from benchmarks.suite import Suite, markdown_table

__all__ = ["TRAINING"]

_TURNS = 21
_PEERS = (
    Peer("qtorch", "benchmarks.peers.qtorch_steps"),
    Peer("torchao, PT2E", "benchmarks.peers.torchao_steps", "torchao"),
    Peer("Brevitas", "benchmarks.peers.brevitas_steps", "brevitas"),
)


def _measure() -> dict[str, Any]:
    taken, absent = rounds(_PEERS, NETWORKS, _TURNS)
    found = []
    for task, turns in taken.items():
        for library in turns[-1]:
            for kind, ratio in ratios([turn[library] for turn in turns]).items():
                found.append({"task": task, "library": library, "kind": kind, "ratio": asdict(ratio)})
    return {"ratios": found, "absent": [asdict(each) for each in absent]}


def _table(found: dict[str, Any]) -> Sequence[str]:
    cells = {(each["library"], each["kind"], each["task"]): cell(each["ratio"]) for each in found["ratios"]}
    rows = [
        [
            library if kind == "QAT" else f"{library}, {kind}",
            *(cells.get((library, kind, task), "") for task in NETWORKS),
        ]
        for library, kind in sorted({(library, kind) for library, kind, _ in cells}, key=_place)
    ]
    return [*markdown_table(["QAT step / float step", *NETWORKS], rows), *absent_lines(found)]


def _place(of: tuple[str, str]) -> tuple[int, str]:
    library, kind = of
    return [peer.library for peer in _PEERS].index(library), kind


TRAINING = Suite("training", __doc__, _measure, _table)
