"""The MLPerf Tiny networks in other converters: sizes, scales and outputs beside this project's files.

Random weights, batch norms that know the data, 100 noisy samples to calibrate on and 100 others to compare.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.environments import NotInstalled, interpreter
from benchmarks.mlperf_networks import REFERENCES
from benchmarks.rounds import Absent, absent_lines
from benchmarks.suite import Suite, markdown_table, share
from benchmarks.workers import Worker, WorkerFailed
from export.optional_packages import EXTRAS, missing

__all__ = ["OPINIONS"]

#: Files as the table calls them, int8 before float.
_BYTES = {
    "qtorch_int8": "int8",
    "tensorflow_int8": "int8 by TensorFlow's post-training quantization, of our float file",
    "ai_edge_int8": "int8 by litert-torch and ai-edge-quantizer",
    "qtorch_onnx": "ONNX, QDQ",
    "qtorch_float32": "float32",
    "litert_torch_float32": "float32 by litert-torch",
}
_EQUAL = {
    "qtorch_int8": "our file in LiteRT's reference kernels",
    "ai_edge_int8": "ai-edge-quantizer's file, made with our ranges, in the same",
    "qtorch_onnx": "our ONNX file in ONNX Runtime",
}


def _measure() -> dict[str, Any]:
    absent: list[Absent] = []
    networks: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    try:
        python = interpreter("opinions") if missing(*EXTRAS) else Path(sys.executable)
    except NotInstalled as error:
        absent.append(Absent("all files", str(error)))
    else:
        for each in REFERENCES:
            # Each in a process of its own: what a converter breaks, or keeps in memory, ends with it.
            with Worker(python, "benchmarks.peers.converted_files") as worker:
                try:
                    networks.append({"network": each.label, "files": worker.ask("files", network=each.label)})
                    versions = worker.ask("versions")
                except WorkerFailed as error:
                    absent.append(Absent(each.label, str(error)))
    return {"versions": versions, "networks": networks, "absent": [asdict(each) for each in absent]}


def _table(found: dict[str, Any]) -> Sequence[str]:
    names = [each["network"] for each in found["networks"]]
    files = {(each["network"], file["file"]): file for each in found["networks"] for file in each["files"]}
    sizes = [[label, *(f"{files[name, file]['bytes']:,}" for name in names)] for file, label in _BYTES.items()]
    equal = [[label, *(_equal(files[name, file]) for name in names)] for file, label in _EQUAL.items()]
    return [
        *markdown_table(["bytes", *names], [*sizes, ["**equal**", *("" for _ in names)], *equal]),
        "",
        *_grid_line([files[name, "ai_edge_int8"] for name in names]),
        *absent_lines(found),
    ]


def _equal(file: dict[str, Any]) -> str:
    outputs = file.get("outputs")
    if outputs is None:
        return "its own input grid"
    apart = f", {outputs['max_lsb']} LSB" if outputs["max_lsb"] > 1 else ""
    return share(outputs["mismatches"], outputs["count"]) + apart


def _grid_line(files: Sequence[dict[str, Any]]) -> list[str]:
    grids = [file["grids"] for file in files if file.get("grids")]
    if not grids:
        return []
    equal, tensors = (sum(each[key] for each in grids) for key in ("equal", "tensors"))
    largest = max(each["largest"] for each in grids)
    return [
        f"Given our ranges, ai-edge-quantizer finds the same float32 scales of {equal} of {tensors} tensors, and all"
        f" within {largest:.0e}, because it computes them from the ends of the range again."
    ]


OPINIONS = Suite("opinions", __doc__, _measure, _table)
