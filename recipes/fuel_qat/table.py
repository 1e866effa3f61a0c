"""The vehicle table: read from a CSV, or generated."""

from __future__ import annotations

import csv
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qtorch.errors import BadData

__all__ = ["COLUMNS", "TARGET", "Table", "generate", "read_csv"]

#: Inputs, in the network's order.
COLUMNS = ("ENGINE SIZE", "CYLINDERS", "COEMISSIONS")
TARGET = "FUEL CONSUMPTION"
_MISSING = {"", "na", "n/a", "#n/a", "nan", "null"}


@dataclass(frozen=True)
class Table:
    """``values`` float64 ``[rows, 4]``: litres, cylinders, g CO2 per km, L/100 km."""

    values: np.ndarray
    source: str
    dropped: int


def read_csv(path: Path) -> Table:
    """Read a table with at least the four columns; others are ignored, except that whole rows are compared for
    duplicates. Rows with a missing value and repeated rows are dropped, and counted on stderr.

    Raises:
        BadData: unreadable, empty, without a column, or with text where a number belongs.
    """
    rows = _rows(path)
    if not rows:
        raise _bad(path, "a header and rows", "an empty file", "export the table again")
    header = [name.strip() for name in rows[0][1]]
    absent = [name for name in (*COLUMNS, TARGET) if name not in header]
    if absent:
        raise _bad(path, f"columns {absent}", f"columns {header}", "rename or add the columns")
    at = {name: header.index(name) for name in (*COLUMNS, TARGET)}
    kept: list[list[float]] = []
    seen: set[tuple[str, ...]] = set()
    missing = duplicates = 0
    for line, raw in rows[1:]:
        cells = tuple(cell.strip() for cell in raw)
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
    return Table(np.array(kept), path.name, missing + duplicates)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            return [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad(path, "a readable CSV in UTF-8", f"{error}", "check the path and the encoding") from error


def _number(path: Path, line: int, column: str, cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _bad(
            path, f"a finite number in column {column!r}", f"{cell!r} in line {line}", "correct or delete the row"
        )
    return number


def _bad(path: Path, expected: str, got: str, remedy: str) -> BadData:
    return BadData(where=str(path), expected=expected, got=got, remedy=remedy)


def generate(rows: int, seed: int) -> Table:
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
    return Table(np.stack([size, cylinders.astype(float), co2.round(), consumption.round(1)], axis=1), "synthetic", 0)
