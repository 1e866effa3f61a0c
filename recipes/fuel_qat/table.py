"""The vehicle table: read from a CSV, or generated."""

from __future__ import annotations

import csv
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qtorch.errors import BadData

__all__ = ["COLUMNS", "TARGET", "CarTable", "generate", "read_csv"]

#: Inputs, in the network's order.
COLUMNS = ("ENGINE SIZE", "CYLINDERS", "COEMISSIONS")
TARGET = "FUEL CONSUMPTION"
_MISSING = {"", "na", "n/a", "#n/a", "nan", "null"}
# Python's float() would also take "1_0" and "infinity".
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
#: Where a car's values lie, in the columns' units: another unit, another column or a comma for a point lies outside.
_RANGES = {
    "ENGINE SIZE": (0.1, 20.0, "litres"),
    "CYLINDERS": (1.0, 24.0, "cylinders"),
    "COEMISSIONS": (10.0, 2000.0, "g/km"),
    "FUEL CONSUMPTION": (0.5, 100.0, "L/100 km"),
}


@dataclass(frozen=True)
class CarTable:
    """``values`` float64 ``[rows, 4]``: litres, cylinders, g CO2 per km, L/100 km."""

    values: np.ndarray
    source: str
    dropped: int


def read_csv(path: Path) -> CarTable:
    """Read a table with at least the four columns; others are ignored, except that whole rows are compared for
    duplicates. Rows with a missing value or fewer cells than the header, and repeated rows, are dropped, and counted on
    stderr.

    Raises:
        BadData: unreadable, empty, without a column or with one twice, separated by other marks than commas; a row has
            more cells than the header, a cell a line end, a column text where a number belongs, or a value that no car
            has in its unit; or the last row is cut off. Names the line.
    """
    rows = _rows(path)
    if not rows:
        raise _bad(path, "a header and rows", "an empty file", "export the table again")
    header = [name.strip() for name in rows[0][1]]
    absent = [name for name in (*COLUMNS, TARGET) if name not in header]
    if absent:
        only = header[0] if len(header) == 1 else ""
        mark = next((mark for mark in (";", "\t", "|") if mark in only), None)
        if mark is not None:
            raise _bad(
                path, f"columns {absent}, separated by commas", f"columns separated by {mark!r}",
                "export the table with commas between columns and points in numbers",
            )  # fmt: skip
        raise _bad(path, f"columns {absent}", f"columns {header}", "rename or add the columns")
    twice = [name for name in (*COLUMNS, TARGET) if header.count(name) > 1]
    if twice:
        raise _bad(path, f"one column {twice[0]!r}", f"{header.count(twice[0])}", "delete or rename the others")
    at = {name: header.index(name) for name in (*COLUMNS, TARGET)}
    kept: list[list[float]] = []
    seen: set[tuple[str, ...]] = set()
    missing = duplicates = 0
    for line, raw in rows[1:]:
        cells = tuple(cell.strip() for cell in raw)
        _require_whole_row(path, line, header, cells)
        if len(cells) < len(header) or any(cell.lower() in _MISSING for cell in cells[: len(header)]):
            missing += 1
        elif cells in seen:
            duplicates += 1
        else:
            seen.add(cells)
            kept.append([_number(path, line, name, cells[i]) for name, i in at.items()])
    print(
        f"{path.name}: {len(kept)} rows kept, {missing} with missing values and {duplicates} duplicates dropped",
        file=sys.stderr,
    )
    if len(kept) < 10:
        raise _bad(path, "at least 10 usable rows", f"{len(kept)}", "pass a larger table")
    return CarTable(np.array(kept), path.name, missing + duplicates)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
            _require_end(path, rows)
            return rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad(path, "a readable CSV in UTF-8", f"{error}", "check the path and the encoding") from error


def _number(path: Path, line: int, column: str, cell: str) -> float:
    number = float(cell) if _NUMBER.fullmatch(cell) else math.nan
    if not math.isfinite(number):
        remedy = "write a decimal point, and no unit" if any(c.isdigit() for c in cell) else "correct or delete the row"
        raise _bad(path, f"a finite number in column {column!r}", f"{cell!r} in line {line}", remedy)
    low, high, unit = _RANGES[column]
    whole = column != "CYLINDERS" or number == int(number)
    if not low <= number <= high or not whole:
        raise _bad(
            path, f"{'' if column != 'CYLINDERS' else 'a whole number of '}{unit} from {low:g} to {high:g} in column "
            f"{column!r}", f"{cell} in line {line}", "correct the unit or the columns, or delete the row",
        )  # fmt: skip
    return number


def _require_whole_row(path: Path, line: int, header: list[str], cells: tuple[str, ...]) -> None:
    """No more cells than the header, but for empty ones behind, and none over several lines."""
    surplus = [cell for cell in cells[len(header) :] if cell]
    if surplus:
        raise _bad(
            path, f"{len(header)} cells, as the header has", f"{len(cells)} in line {line}: {','.join(cells)!r}",
            "write decimal points instead of commas, and put text that holds a comma into quotes",
        )  # fmt: skip
    if any("\n" in cell or "\r" in cell for cell in cells):
        raise _bad(
            path, "cells of one line", f"one that goes on up to line {line}", "close the quotes that it begins with"
        )


def _require_end(path: Path, rows: list[tuple[int, list[str]]]) -> None:
    """A last line without an end is whole, or the file was cut off."""
    with path.open("rb") as file:
        end = file.read()[-1:]
    if rows and end not in (b"\n", b"\r") and len(rows[-1][1]) < len(rows[0][1]):
        line, cells = rows[-1]
        raise _bad(
            path, f"{len(rows[0][1])} cells in the last line", f"{len(cells)} in line {line}, which has no end",
            "the file seems cut off: copy it again, or delete the line",
        )  # fmt: skip


def _bad(path: Path, expected: str, got: str, remedy: str) -> BadData:
    return BadData(where=str(path), expected=expected, got=got, remedy=remedy)


def generate(rows: int, seed: int) -> CarTable:
    """A synthetic table that resembles one model year of cars on sale; no row is a real car.

    Displacement is log-normal, cylinders follow it, consumption follows both with a spread for body and gearbox, and
    CO2 follows consumption at 2.3 kg per litre of gasoline or, for one car in forty, 2.7 of diesel. Printed precision
    is that of such tables: 0.1 L, 0.1 L/100 km, and 1 g/km, the latter from a combined cycle with its own small error.
    """
    rng = np.random.default_rng(seed)
    size = np.clip(np.exp(rng.normal(1.115, 0.375, rows)), 1.0, 8.0).round(1)
    wanted = 2.3 + 1.08 * size + rng.normal(0, 0.55, rows)
    allowed = np.array([3, 4, 5, 6, 8, 10, 12])
    # Odd counts and more than eight are rare: they cost a step in the choice.
    cost = np.array([0.8, 0.0, 0.7, 0.0, 0.0, 0.6, 0.4])
    cylinders = allowed[np.argmin(np.abs(wanted[:, None] - allowed) + cost, axis=1)]
    consumption = 5.8 + 1.6 * size + 0.65 * cylinders + rng.normal(0, 1.5, rows)
    diesel = rng.random(rows) < 1 / 40
    consumption = np.clip(np.where(diesel, 0.62 * consumption, consumption), 4.9, 30.2)
    grams = np.where(diesel, 27.0, 23.0)
    # The published CO2 comes from another weighting of the test cycles than the consumption.
    co2 = consumption * 0.88 * grams * (1 + rng.normal(0, 0.03, rows))
    return CarTable(
        np.stack([size, cylinders.astype(float), co2.round(), consumption.round(1)], axis=1), "synthetic", 0
    )
