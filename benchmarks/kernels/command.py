"""``python -m benchmarks kernels``: count every kernel that there is a choice of, and fit what it costs to its shapes.

What is counted is a layer alone, in a network of its own. ``benchmarks/results/kernels.json`` keeps the counts,
``export/c/targets/counted.json`` the factors.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.kernels.fitting import fitted
from benchmarks.kernels.shapes import SHAPES, Shape
from benchmarks.results import RESULTS
from export.c.targets import rows_for
from export.c.targets.counted import COUNTED, kernel_name, terms
from export.cost.kernel_counts import call_count, layer_candidates
from firmware.emulation import MACHINES, EmulationFailure, Machine, available

__all__ = ["counts", "machines_with_a_choice", "main"]

_RESULTS = RESULTS / "kernels.json"
#: Below so many instructions or bytes an error is small whatever share of them it is.
_FLOOR = {"instructions": 500.0, "code": 300.0}
#: By shape, as text, and kernel: instructions and bytes of code.
_Counts = dict[str, dict[str, tuple[float, int]]]


def machines_with_a_choice() -> tuple[Machine, ...]:
    """One for each processor that the table has kernels for."""
    counting = {machine.cpu: machine for machine in reversed(MACHINES.values()) if machine.unit is not None}
    return tuple(machine for cpu, machine in counting.items() if rows_for(cpu))


def counts(machine: Machine, known: _Counts, shapes: Sequence[Shape] = SHAPES) -> _Counts:
    """What every kernel takes on every shape that it takes, and that the machine holds.

    Args:
        machine: that counts.
        known: what need not be counted again.
        shapes: of layers.
    """
    found: _Counts = defaultdict(dict)
    for shape in shapes:
        graph = shape.graph()
        for candidate in layer_candidates(graph, machine.cpu):
            before = known.get(str(shape), {}).get(kernel_name(candidate))
            if before is not None:
                found[str(shape)][kernel_name(candidate)] = before
                continue
            try:
                count = call_count(graph, candidate, machine)
            except EmulationFailure:
                continue
            found[str(shape)][kernel_name(candidate)] = (count.instructions, count.code_bytes)
    return dict(found)


def main(arguments: Sequence[str]) -> None:
    """Count, fit and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks kernels", description=__doc__)
    parser.add_argument("--cpu", nargs="+", help="processors; all that have a choice of kernels if none is named")
    parser.add_argument("--fit", action="store_true", help="count nothing; fit to the counts that are saved")
    parser.add_argument("--again", nargs="*", metavar="KERNEL", help="count these again, all if none is named")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    saved: dict[str, _Counts] = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {}
    factors: dict[str, Any] = json.loads(COUNTED.read_text()) if COUNTED.exists() else {}
    for machine in machines_with_a_choice():
        if given.cpu and machine.cpu not in given.cpu:
            continue
        absent = available(machine)
        if not given.fit and absent is None:
            saved[machine.cpu] = counts(machine, _kept(saved.get(machine.cpu, {}), given.again))
            _RESULTS.write_text(json.dumps(dict(sorted(saved.items())), indent=0) + "\n")
        elif not given.fit:
            print(f"{machine.cpu} stays as it was: {absent}")
        if machine.cpu in saved:
            factors[machine.cpu] = _fits(machine.cpu, saved[machine.cpu])
            COUNTED.write_text(json.dumps(dict(sorted(factors.items())), indent=1) + "\n")


def _kept(saved: _Counts, again: Sequence[str] | None) -> _Counts:
    """Counts that stay: all but those of kernels that are to be counted again."""
    if again is None:
        return saved
    return {
        shape: {name: count for name, count in of.items() if again and name not in again} for shape, of in saved.items()
    }


def _fits(cpu: str, saved: _Counts) -> dict[str, Any]:
    """Both fits of every kernel, and a line that says how good they are."""
    found: dict[str, list[Any]] = defaultdict(list)
    for shape in SHAPES:
        counted = saved.get(str(shape), {})
        for candidate in layer_candidates(shape.graph(), cpu) if counted else ():
            if kernel_name(candidate) in counted:
                found[kernel_name(candidate)].append((terms(candidate), counted[kernel_name(candidate)]))
    both = {}
    for name, of in sorted(found.items()):
        fits = {
            kind: fitted([terms[at] for terms, _ in of], [count[at] for _, count in of], floor)
            for at, (kind, floor) in enumerate(_FLOOR.items())
        }
        words = (f"{kind} {fit.median_error:.1%} off in the median, {fit.largest_error:.1%} at most"
                 for kind, fit in fits.items())  # fmt: skip
        print(f"{cpu}, {name}: {len(of)} shapes; {', '.join(words)}", flush=True)
        both[name] = {kind: asdict(fit) for kind, fit in fits.items()}
    return both
