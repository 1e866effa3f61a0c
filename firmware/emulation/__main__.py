"""``python -m firmware.emulation FOLDER``: a sketch built for an Arduino Uno, and what it says on Serial in simavr."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from firmware.emulation.failure import EmulationFailure
from firmware.emulation.sketch import build_sketch, run_sketch, sketch_available

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, or 2 where the sketch can't be built or ends before the time is up."""
    parser = argparse.ArgumentParser("python -m firmware.emulation", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("folder", type=Path, help="of a sketch, or of a library with one example")
    parser.add_argument("--seconds", type=float, default=5.0, help="of the board's time, up to 3600 (default: 5)")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        parser.error(f"expected the folder of a sketch or of a library, got {str(options.folder)!r}")
    if not 0 < options.seconds <= 3600:
        parser.error(f"--seconds: expected more than 0 and at most 3600, got {options.seconds:g}")
    try:
        if absent := sketch_available():
            raise EmulationFailure(where=str(options.folder), expected="tools that build and run it", got=absent)
        # Elsewhere: the folder is somebody's, or an export's.
        with tempfile.TemporaryDirectory(prefix="sketch-") as build:
            elf = build_sketch(options.folder, Path(build))
            sys.stdout.write(run_sketch(elf, None, round(options.seconds * 16_000_000), seconds=3600))
    except EmulationFailure as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
