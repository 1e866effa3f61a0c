"""Accelerometer recordings as CSV files, one per class: read and written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qtorch.errors import BadData, Unwritable

from .plausibility import require_plausible
from .sampling import measured_rate, require_same_rate
from .statements import AXES, Statements, read_statements, stated_lines

__all__ = ["AXES", "LIMIT", "SAMPLES", "Recorded", "Recordings", "read_file", "read_folder", "read_recordings",
           "write_folder"]  # fmt: skip

#: Rows of one recording.
SAMPLES = 50
#: Largest magnitude of a value: the sensor's range in the codes of a signed byte.
LIMIT = 127.0

# Python's float() would also take "nan", "1_0" and "infinity".
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_FEWEST = 5
#: Steps of a clock that float64 still tells apart.
_LATEST = 2.0**53


@dataclass(frozen=True)
class Recorded:
    """One file: ``values`` float32 ``[recordings, 50, 3]``; unit and rate, stated or measured, ``None`` if neither."""

    values: np.ndarray
    unit: str | None = None
    rate: float | None = None


@dataclass(frozen=True)
class Recordings:
    """``values`` maps each class, in alphabetical order, to float32 ``[recordings, 50, 3]`` within -127 .. 127.

    Attributes:
        values: see above.
        source: the folder's name, or what generated them.
        unit: of all of them; ``None`` if no file states one.
        rate: samples per second of all of them; ``None`` if no file states it or has a time column.
        findings: what is odd, a sentence each.
    """

    values: dict[str, np.ndarray]
    source: str
    unit: str | None = None
    rate: float | None = None
    findings: tuple[str, ...] = field(default=())


def read_folder(folder: Path) -> Recordings:
    """Read every ``*.csv`` of a folder; a file's name without ``.csv`` is its class.

    Raises:
        BadData: the folder is missing, holds fewer than two classes, a file is not as :func:`read_recordings` says
            or has fewer than five recordings, files differ in unit or rate, or only some state them, or the numbers
            are of two units (see :func:`~recipes.gesture_qat.plausibility.require_plausible`).
    """
    if not folder.is_dir():
        raise _bad(str(folder), "a folder with a CSV file per class", "no such folder", "check the path")
    paths = sorted((p for p in folder.iterdir() if _is_class(p)), key=lambda path: path.stem)
    if len(paths) < 2:
        raise _bad(
            str(folder),
            "at least 2 CSV files, one per class",
            f"{len(paths)}: {', '.join(path.name for path in paths) or 'none'}",
            "add a file such as punch.csv for each gesture that is to be told apart",
        )
    if len({path.stem for path in paths}) < len(paths):
        names = ", ".join(path.name for path in paths)
        raise _bad(str(folder), "one file per class", names, "rename or delete a file of the same class")
    read = {path: read_file(path) for path in paths}
    for path in paths:
        if len(read[path].values) < _FEWEST:
            raise _bad(
                str(path),
                f"at least {_FEWEST} recordings, so that training, validation and test have some",
                f"{len(read[path].values)}",
                "record more of this gesture",
            )
    unit = _same_unit(read)
    rate = require_same_rate({str(path): recorded.rate for path, recorded in read.items()})
    values = {path.stem: recorded.values for path, recorded in read.items()}
    findings = require_plausible(str(folder), values, unit)
    return Recordings(values, folder.resolve().name, unit, rate, findings)


def _is_class(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and path.name[0] != "."


def _same_unit(read: dict[Path, Recorded]) -> str | None:
    """The unit that all files state, or ``None``."""
    first, *others = read
    for path in others:
        if read[path].unit != read[first].unit:
            raise _bad(
                str(path),
                f"the unit {read[first].unit} that {first.name} states" if read[first].unit else
                f"no unit, as {first.name} states none",
                read[path].unit or "none",
                "record all classes in the same unit, and state it in the first line of every file: "
                f"# unit: {read[first].unit or read[path].unit}",
            )  # fmt: skip
    return read[first].unit


def read_recordings(path: Path) -> np.ndarray:
    """Read the recordings of one class.

    In front stands what :mod:`~recipes.gesture_qat.statements` says, ``aX,aY,aZ`` at least; then follow recordings of
    50 lines of three numbers from -127 to 127 each. Blank lines may stand behind a recording, never within one. Where
    there is a time column, it grows evenly within each recording.

    Returns:
        float32 ``[recordings, 50, 3]``, at least one.

    Raises:
        BadData: anything else stands in the file; names the line.
    """
    return read_file(path).values


def read_file(path: Path) -> Recorded:
    """Read one file with what it says of unit and rate.

    Raises:
        BadData: as :func:`read_recordings`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(str(path), "a readable CSV file in UTF-8", f"{error}", "check the file and its encoding") from error
    lines = text.split("\n")
    if not text.strip():
        raise _bad(str(path), f"the header {','.join(AXES)!r}", "an empty file", "record it again")
    stated = read_statements(str(path), lines)
    rows: list[list[float]] = []
    numbers: list[int] = []
    begin = stated.lines + 1
    first, held = begin, 0  # where the present run of rows without a blank line began, and how many it has
    for number, line in enumerate(lines[stated.lines :], begin):
        if line.strip():
            first = first if held else number
            held += 1
            rows.append(_row(f"{path}, line {number}", line, stated))
            numbers.append(number)
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
    table = np.array(rows).reshape(-1, SAMPLES, len(stated.columns))
    rate = stated.rate
    if stated.clock is not None:
        rate = measured_rate(str(path), table[..., 0] * stated.clock, numbers, stated.rate)
    return Recorded(table[..., -len(AXES) :].astype(np.float32), stated.unit, rate)


def _row(where: str, line: str, stated: Statements) -> list[float]:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != len(stated.columns):
        raise _bad(
            where,
            f"{len(stated.columns)} columns",
            f"{len(cells)}: {line!r}",
            f"write {', '.join(stated.columns)} separated by commas, with a point as decimal mark",
        )
    values = []
    for column, cell in zip(stated.columns, cells, strict=True):
        if not _NUMBER.fullmatch(cell):
            raise _bad(where, f"a number as {column}", repr(cell), "correct it, or delete the whole recording")
        value = float(cell)
        if abs(value) > (_LATEST if column == "time" else LIMIT):
            raise _bad(
                where,
                f"a time below {_LATEST:g}" if column == "time" else f"{column} from {-LIMIT:g} to {LIMIT:g}",
                cell,
                "correct it" if column == "time" else "scale the sensor's range to these limits when recording",
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


def write_folder(
    folder: Path, values: dict[str, np.ndarray], unit: str | None = None, rate: float | None = None
) -> None:
    """Write recordings as :func:`read_folder` reads them, with a blank line between them.

    Args:
        folder: made if it does not exist; files of the same classes are replaced.
        values: by class, ``[recordings, 50, 3]`` within -127 .. 127. Whole numbers are written as such, others in
            as many digits as float32 needs.
        unit: stated in every file, unless it is ``None``.
        rate: samples per second, likewise.

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
            (folder / f"{name}.csv").write_text(stated_lines(unit, rate) + "\n".join(blocks), encoding="utf-8")
    except OSError as error:
        raise Unwritable(
            where=str(folder), expected="a folder to write recordings to", got=f"{error}", remedy="pass another folder"
        ) from error
