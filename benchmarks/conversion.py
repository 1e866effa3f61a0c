"""Seconds and bytes from a float network to an int8 file, here and by other converters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.peers.networks import NETWORKS
from benchmarks.rounds import Peer, absent_lines, rounds
from benchmarks.spread import cell, spread
from benchmarks.suite import Suite, markdown_table

__all__ = ["CONVERSION"]

_TURNS = 8
_PEERS = (
    Peer("qtorch", "benchmarks.peers.qtorch_conversion"),
    Peer("qtorch, run by four engines on all samples", "benchmarks.peers.qtorch_verified_conversion"),
    Peer("litert-torch and ai-edge-quantizer", "benchmarks.peers.litert_conversion", "litert"),
    Peer("TFLiteConverter", "benchmarks.peers.tensorflow_conversion", "tensorflow"),
)


def _measure() -> dict[str, Any]:
    taken, absent = rounds(_PEERS, NETWORKS, _TURNS)
    files = []
    for task, turns in taken.items():
        for library in turns[-1]:
            first, *again = (turn[library]["seconds"] for turn in turns)
            files.append(
                {
                    "task": task,
                    "library": library,
                    "bytes": turns[-1][library]["bytes"],
                    "first_s": first,
                    "again_s": asdict(spread(again)),
                }
            )
    return {"files": files, "absent": [asdict(each) for each in absent]}


def _table(found: dict[str, Any]) -> Sequence[str]:
    by = {(each["library"], each["task"]): each for each in found["files"]}
    rows = []
    for library in dict.fromkeys(library for library, _ in by):
        row = [library]
        for task in NETWORKS:
            each = by.get((library, task))
            row += ["", ""] if each is None else [f"{each['bytes']:,}", cell(each["again_s"], ".3f")]
        rows.append(row)
    head = ["", *(f"{task}, {unit}" for task in NETWORKS for unit in ("bytes", "s"))]
    return [*markdown_table(head, rows), *absent_lines(found)]


CONVERSION = Suite("conversion", __doc__, _measure, _table)
