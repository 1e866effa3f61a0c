"""Accelerometer recordings as CSV files, one per class: read and written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qtorch.errors import BadData, Unwritable

__all__ = ["AXES", "LIMIT", "SAMPLES", "Recordings", "read_folder", "read_recordings", "write_folder"]

#: The header of every file, in the order of its columns.
AXES = ("aX", "aY", "aZ")
#: Rows of one recording.
SAMPLES = 50
#: Largest magnitude of a value: the sensor's range in the codes of a signed byte.
LIMIT = 127.0

# Python's float() would also take "nan", "1_0" and "infinity".
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FEWEST = 5


@dataclass(frozen=True)
class Recordings:
    """``values`` maps each class, in alphabetical order, to float32 ``[recordings, 50, 3]`` within -127 .. 127."""

    values: dict[str, np.ndarray]
    source: str


def read_folder(folder: Path) -> Recordings:
    """Read every ``*.csv`` of a folder; a file's name without ``.csv`` is its class.

    Raises:
        BadData: the folder is missing, holds fewer than two classes, or a file is not as :func:`read_recordings` says
            or has fewer than five recordings.
    """
    if not folder.is_dir():
        raise _bad(str(folder), "a folder with a CSV file per class", "no such folder", "check the path")
    paths = sorted(folder.glob("*.csv"), key=lambda path: path.stem)
    if len(paths) < 2:
        raise _bad(
            str(folder),
            "at least 2 CSV files, one per class",
            f"{len(paths)}: {', '.join(path.name for path in paths) or 'none'}",
            "add a file such as punch.csv for each gesture that is to be told apart",
        )
    values = {path.stem: read_recordings(path) for path in paths}
    for path in paths:
        if len(values[path.stem]) < _FEWEST:
            raise _bad(
                str(path),
                f"at least {_FEWEST} recordings, so that training, validation and test have some",
                f"{len(values[path.stem])}",
                "record more of this gesture",
            )
    return Recordings(values, folder.resolve().name)


def read_recordings(path: Path) -> np.ndarray:
    """Read the recordings of one class.

    The first line is ``aX,aY,aZ``; then follow recordings of 50 lines of three numbers from -127 to 127 each. Blank
    lines may stand behind a recording, never within one.

    Returns:
        float32 ``[recordings, 50, 3]``, at least one.

    Raises:
        BadData: anything else stands in the file; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(str(path), "a readable CSV file in UTF-8", f"{error}", "check the file and its encoding") from error
    lines = text.split("\n")
    if not text.strip():
        raise _bad(str(path), f"the header {','.join(AXES)!r}", "an empty file", "record it again")
    if lines[0] != ",".join(AXES):
        raise _bad(
            f"{path}, line 1", f"the header {','.join(AXES)!r}", repr(lines[0]), "make this line exactly the header"
        )
    rows: list[list[float]] = []
    first, held = 2, 0  # where the present run of rows without a blank line began, and how many it has
    for number, line in enumerate(lines[1:], 2):
        if line.strip():
            first = first if held else number
            held += 1
            rows.append(_row(f"{path}, line {number}", line))
            continue
        # The last piece of a text that ends in a line's end is no line.
        last = number == len(lines)
        if held % SAMPLES or not (rows or last):
            raise _part(path, number, "end of the file" if last else "blank line", first, held)
        held = 0
    if held % SAMPLES:
        raise _part(path, len(lines), "end of the file", first, held)
    if not rows:
        raise _bad(
            str(path), f"recordings of {SAMPLES} rows", "a header only", "record the gesture, or delete the file"
        )
    return np.array(rows, np.float32).reshape(-1, SAMPLES, len(AXES))


def _row(where: str, line: str) -> list[float]:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != len(AXES):
        raise _bad(
            where, f"{len(AXES)} columns", f"{len(cells)}: {line!r}", "write the three axes, separated by two commas"
        )
    values = []
    for axis, cell in zip(AXES, cells, strict=True):
        if not _NUMBER.fullmatch(cell):
            raise _bad(where, f"a number as {axis}", repr(cell), "correct it, or delete the whole recording")
        value = float(cell)
        if abs(value) > LIMIT:
            raise _bad(
                where,
                f"{axis} from {-LIMIT:g} to {LIMIT:g}",
                cell,
                "scale the sensor's range to these limits when recording",
            )
        values.append(value)
    return values


def _part(path: Path, line: int, what: str, first: int, held: int) -> BadData:
    return _bad(
        f"{path}, line {line}",
        f"recordings of {SAMPLES} rows each, and blank lines only behind one",
        f"a {what} after {held} rows that began in line {first}" if held else f"a {what} before the first row",
        f"make it {SAMPLES} rows, or delete it" if held else "delete the line",
    )


def _bad(where: str, expected: str, got: str, remedy: str) -> BadData:
    return BadData(where=where, expected=expected, got=got, remedy=remedy)


def write_folder(folder: Path, values: dict[str, np.ndarray]) -> None:
    """Write recordings as :func:`read_folder` reads them, with a blank line between them.

    Args:
        folder: made if it does not exist; files of the same classes are replaced.
        values: by class, ``[recordings, 50, 3]`` within -127 .. 127. Whole numbers are written as such, others in
            as many digits as float32 needs.

    Raises:
        Unwritable: the folder can't be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, recordings in values.items():
            blocks = [
                "".join(",".join(np.format_float_positional(v, trim="-") for v in row) + "\n" for row in recording)
                for recording in np.asarray(recordings, np.float32)
            ]
            (folder / f"{name}.csv").write_text(",".join(AXES) + "\n" + "\n".join(blocks), encoding="utf-8")
    except OSError as error:
        raise Unwritable(
            where=str(folder), expected="a folder to write recordings to", got=f"{error}", remedy="pass another folder"
        ) from error
