"""``python -m benchmarks [SUITE ...]``: measure, write ``benchmarks/results``, make the documentation's tables anew."""

from __future__ import annotations

import argparse
import sys
import time
import warnings

import torch

from benchmarks.editions.command import EDITIONS
from benchmarks.editions.command import main as editions
from benchmarks.files.command import FILES
from benchmarks.files.command import main as files
from benchmarks.kernels.command import main as kernels
from benchmarks.results import measured, save, write_tables
from benchmarks.suites import SUITES
from benchmarks.zoo.command import main as zoo
from qtorch.errors import BadConfiguration


def main() -> None:
    """Measure the suites named, all if none is, and print their tables.

    A suite that lacks something here says what, and keeps what it found before; one that was named ends in exit code 2.
    """
    if sys.argv[1:2] == ["zoo"]:
        zoo(sys.argv[2:])
        return
    if sys.argv[1:2] == ["kernels"]:
        kernels(sys.argv[2:])
        return
    if sys.argv[1:2] == [EDITIONS.name]:
        editions(sys.argv[2:])
        return
    if sys.argv[1:2] == [FILES.name] and sys.argv[2:]:
        files(sys.argv[2:])
        return
    about = "\n".join(f"  {suite.name:12} {suite.purpose.strip().splitlines()[0]}" for suite in SUITES.values())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\n\n{about}\n\n  {'zoo':12} a command of its own, no part of all: see its --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suite", nargs="*", help="what to measure; all if none is named")
    parser.add_argument("--tables", action="store_true", help="measure nothing; make tables of what is saved")
    given = parser.parse_args()
    unknown = [name for name in given.suite if name not in SUITES]
    if unknown:
        parser.error(f"expected some of {', '.join(SUITES)}, got {', '.join(unknown)}")
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    every = measured(SUITES.values()) if given.tables else list(SUITES.values())
    chosen = [SUITES[name] for name in given.suite] or every
    refused = False
    for suite in () if given.tables else chosen:
        started = time.perf_counter()
        try:
            found = suite.measure()
        except BadConfiguration as error:
            # What it found where it could measure stays, file and table.
            print(f"{suite.name} was not measured, its results stay: {error}", file=sys.stderr)
            refused = True
            continue
        save(suite, found)
        print(f"{suite.name}, measured in {time.perf_counter() - started:.0f} s", *suite.table(found), "", sep="\n")
        sys.stdout.flush()
        write_tables([suite])
    if given.tables:
        write_tables(chosen)
    if given.suite and refused:
        raise SystemExit(2)


if __name__ == "__main__":
    main()
