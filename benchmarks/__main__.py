"""``python -m benchmarks [SUITE ...]``: measure, write ``benchmarks/results``, and make the README's tables anew."""

from __future__ import annotations

import argparse
import sys
import time
import warnings

import torch

from benchmarks.results import README, measured, save, with_tables
from benchmarks.suites import SUITES


def main() -> None:
    """Measure the suites named, all if none is, and print their tables."""
    about = "\n".join(f"  {suite.name:12} {suite.purpose.strip().splitlines()[0]}" for suite in SUITES.values())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\n\n{about}",
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
    for suite in () if given.tables else chosen:
        started = time.perf_counter()
        found = suite.measure()
        save(suite, found)
        print(f"{suite.name}, measured in {time.perf_counter() - started:.0f} s", *suite.table(found), "", sep="\n")
        sys.stdout.flush()
        README.write_text(with_tables(README.read_text(), [suite]))
    if given.tables:
        README.write_text(with_tables(README.read_text(), chosen))


if __name__ == "__main__":
    main()
