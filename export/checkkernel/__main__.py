"""``python -m export.checkkernel``: every kernel by itself, against the portable one, on emulated processors."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from export.checkkernel.build import clang_for
from export.checkkernel.check import Finding, Outcome, checked, findings
from export.checkkernel.drawing import Case, drawn, ops_of
from export.checkkernel.targets import Target, targets
from export.console.page import Line, Table
from export.console.terminal import show
from firmware.emulation import EmulationFailure, Options, available
from qtorch.ops import ROWS

__all__ = ["main"]

_OPTIMIZATIONS = ("-O0", "-O1", "-O2", "-O3", "-Os", "-Oz", "-Og", "-Ofast")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0; 1 where a kernel did something wrong, or a target's programs did not run; 2 of bad arguments."""
    every = targets()
    parser = argparse.ArgumentParser("python -m export.checkkernel", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--target", choices=every, action="append", help="may be repeated (default: all)")
    parser.add_argument(
        "--kernel", default="", help="only cases that call this kernel of firmware/c, drawn from its rows"
    )
    parser.add_argument("--op", choices=sorted(ROWS), action="append", help="only cases of this row; may be repeated")
    parser.add_argument("--seed", type=_from(0), default=0, help="that cases are drawn from (default: 0)")
    parser.add_argument("--cases", type=_from(1), default=200, help="how many are drawn (default: 200)")
    parser.add_argument("--case", type=_from(0), help="this one alone")
    parser.add_argument(
        "--optimize", type=_optimization, default="-O2", help="the compiler's, as O2 or Os (default: O2)"
    )
    parser.add_argument("--clang", action="store_true", help="compiles the kernels, where it makes code for the target")
    options = parser.parse_args(arguments)
    ops = tuple(options.op or (ops_of(options.kernel) if options.kernel else ()))
    failed = False
    for name in options.target or every:
        target = every[name]
        absent = available(target.machine)
        if options.clang and clang_for(target.machine) is None:
            absent = "no clang makes code for it here: apt-get install clang, or another target"
        if absent:
            show([Line(f"{name}: {absent}", "attention")])
            failed |= options.target is not None
            continue
        begun = time.monotonic()
        cases = _cases(options, ops, target)
        try:
            built = Options(optimize=(options.optimize,), seconds=600)
            outcomes = checked(cases, target, options=built, kernel=options.kernel, clang=options.clang)
        except EmulationFailure as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
            continue
        if not outcomes:
            show([Line(f"{name}: {_nothing(options, len(cases))}", "attention")])
            failed = True
            continue
        _print(name, target, outcomes, time.monotonic() - begun)
        failed |= any(outcome.fault for outcome in outcomes)
    return int(failed)


def _from(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, got {text!r}")
        return int(text)

    return whole


def _optimization(text: str) -> str:
    """Also without the dash, which would make another option of it."""
    found = f"-{text.removeprefix('-')}"
    if found not in _OPTIMIZATIONS:
        said = ", ".join(each.removeprefix("-") for each in _OPTIMIZATIONS)
        raise argparse.ArgumentTypeError(f"expected one of {said}, got {text!r}")
    return found


def _nothing(options: argparse.Namespace, cases: int) -> str:
    """Why nothing was checked, which is no success."""
    what = f"no call of {options.kernel}" if options.kernel else "no call"
    return f"nothing was checked: {what} in {cases} cases. Remedy: more --cases, another --seed, --op or --kernel"


def _cases(options: argparse.Namespace, ops: tuple[str, ...], target: Target) -> list[Case]:
    numbers = range(options.cases) if options.case is None else [options.case]
    found = (drawn(options.seed, number, target.room, ops) for number in numbers)
    return [case for case in found if case is not None]


def _print(name: str, target: Target, outcomes: Sequence[Outcome], seconds: float) -> None:
    lines = findings(outcomes)
    cases = len({outcome.case.number for outcome in outcomes})
    title = f"{name} ({target.machine.description}): {len(outcomes)} calls of {cases} cases in {seconds:.0f} s"
    unit = target.machine.unit or "instructions"
    head = ("kernels", "form", "cases", "verdict", f"{unit}, portable", unit, "ratio")
    rows = tuple(_row(finding) for finding in lines)
    table = Table(head, "llrlrrr", rows, title, frozenset(i for i, line in enumerate(lines) if line.faults))
    faults = [Line(_told(name, fault), "attention") for line in lines for fault in line.faults]
    show([Line(title, "heading"), table, *faults])


def _row(finding: Finding) -> tuple[object, ...]:
    verdict = f"{len(finding.faults)} FAULTY" if finding.faults else "right"
    own = "" if finding.cost is None else f"{finding.cost:,}"
    if finding.form == "portable" or finding.portable is None or finding.cost is None:
        return (", ".join(finding.kernels), finding.form, finding.cases, verdict, own, "", "")
    ratio = f"{finding.cost / max(finding.portable, 1):.2f}"
    return (", ".join(finding.kernels), finding.form, finding.cases, verdict, f"{finding.portable:,}", own, ratio)


def _told(name: str, outcome: Outcome) -> str:
    return f"{name}: {', '.join(outcome.kernels)} ({outcome.form}): {outcome.fault}. {outcome.case}"


if __name__ == "__main__":
    sys.exit(main())
