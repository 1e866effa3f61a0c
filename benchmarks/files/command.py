"""``python -m benchmarks files``: files that others made in plain C, beside TFLite Micro with CMSIS-NN.

``MLPERF_TINY`` names a folder with MLPerf Tiny's reference files, of which the documentation's table is made;
``--files`` any folder, of which a table is printed. ``TFLM_ROOT`` is as for ``interpreter``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.environments import ROOT
from benchmarks.files.one import Asked
from benchmarks.files.references import COMMIT, REFERENCE_FILES, reference_files
from benchmarks.files.table import reference_lines, table_of
from benchmarks.interpreter import setting
from benchmarks.suite import Suite
from qtorch.errors import ParityError

__all__ = ["FILES", "apart", "main"]

_SECONDS, _GIB = 1800.0, 2**30
_GIGABYTES = 8.0


def apart(file: Path, asked: Asked, seconds: float = _SECONDS, gigabytes: float = _GIGABYTES) -> dict[str, Any]:
    """:func:`benchmarks.files.one.measured` in a process of its own, whose end and silence are verdicts too."""
    # The shell sets the limit: Python's own hook between fork and exec is not safe in a process with threads.
    limited = ["sh", "-c", 'ulimit -v "$0" && exec "$@"', str(int(gigabytes * _GIB) // 1024)]
    command = [*limited, sys.executable, "-m", "benchmarks.files.one", str(file), json.dumps(asdict(asked))]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"file": file.name, "verdict": "time", "why": f"no answer after {seconds:g} s"}
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return {"file": file.name, "verdict": "error", "why": f"exit code {done.returncode}: {said}"[:400]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _measure() -> dict[str, Any]:
    """Of the reference files."""
    files = reference_files(os.environ.get("MLPERF_TINY"))
    sources = {each.label: each.source for each in REFERENCE_FILES}
    asked = Asked(inputs=256, work=4e9, tflm=("cortex_m3", "cortex_m4", "cortex_m55"))
    found = []
    for label, file in files.items():
        one = apart(file, replace(asked, layers=label == REFERENCE_FILES[0].label), seconds=4 * _SECONDS)
        if one["verdict"] != "exact":
            raise ParityError(f"{label}: {one['verdict']}: {one.get('why')}")
        for machine, beside in one.get("tflm", {}).items():
            if "instructions" not in beside:
                raise ParityError(f"{label}: TFLite Micro on {machine}: {beside}")
        found.append({**one, "file": label, "source": sources[label]})
    return {"commit": COMMIT, **setting(), "files": found}


FILES = Suite("files", __doc__, _measure, reference_lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks files", description=__doc__)
    parser.add_argument("--files", type=Path, nargs="+", required=True, help="folders with .tflite files, or files")
    parser.add_argument("--inputs", type=int, help="drawn ones on this machine; else as many as take some seconds")
    parser.add_argument("--samples", type=int, default=8, help="of them on each emulated machine, at most")
    parser.add_argument("--machines", nargs="*", default=list(Asked.machines), help="emulated ones for the plain C")
    parser.add_argument("--layers", action="store_true", help="also each layer by itself")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="for a file")
    parser.add_argument("--gigabytes", type=float, default=_GIGABYTES, help="of address space for a file")
    parser.add_argument("--out", type=Path, help="JSON lines, one a file; files that are in it are not measured again")
    return parser


def main(arguments: Sequence[str]) -> None:
    """Measure every file, print a table and how many were refused for what."""
    given = _parser().parse_args(arguments)
    asked = Asked(given.inputs, given.samples, machines=tuple(given.machines), layers=given.layers)
    found = list(_kept(given.out))
    seen = {each["file"] for each in found}
    for file in _chosen(given.files):
        if file.name in seen:
            continue
        one = apart(file, asked, given.seconds, given.gigabytes)
        found.append(one)
        if given.out:
            with given.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(one) + "\n")
        print(file.name, one["verdict"], one.get("why", "")[:200], file=sys.stderr, flush=True)
    print(*table_of(found), "", sep="\n")
    print(*(f"{count:4} {verdict}" for verdict, count in Counter(each["verdict"] for each in found).items()), sep="\n")


def _chosen(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.rglob("*.tflite")) if path.is_dir() else [path]


def _kept(out: Path | None) -> Iterator[dict[str, Any]]:
    if out is not None and out.exists():
        yield from map(json.loads, out.read_text(encoding="utf-8").splitlines())
