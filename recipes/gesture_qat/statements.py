"""What a file of recordings says of itself in front of its rows: unit, rate, the order of its columns, a clock.

A file may begin with lines ``# unit: g``, ``# rate: 50 Hz`` and ``# axes: aX,aY,aZ``; further ones, such as
``# note: left wrist``, are not looked at. Then follows the header: ``aX,aY,aZ``, or ``aX [g],aY [g],aZ [g]``, with a
column ``time [ms]`` in front where there is one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from qtorch.errors import BadData

__all__ = ["AXES", "Statements", "read_statements", "stated_lines"]

#: Names of the columns, in their order.
AXES = ("aX", "aY", "aZ")

#: Per second, and how far from the clock's own time a step may be rounded, of each unit of time.
_CLOCKS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_CLOCK_NAMES = {"sec": "s", "seconds": "s", "msec": "ms", "milliseconds": "ms", "µs": "us", "μs": "us", "micros": "us"}
_UNITS = {
    "g": ("g", "gs", "gee", "gn", "g0"),
    "mg": ("mg", "milli-g", "millig"),
    "m/s^2": ("m/s^2", "m/s2", "m/s²", "m/s**2", "m/s/s", "ms^-2", "ms-2", "m*s^-2", "m·s^-2"),
    "codes": ("codes", "code", "lsb", "lsbs", "counts", "count", "raw"),
}
_KEYS = {
    "unit": ("unit", "units"),
    "rate": ("rate", "sampling rate", "sample rate", "sampling frequency", "frequency", "odr", "fs"),
    "axes": ("axes", "columns", "order"),
    "note": ("note", "notes", "comment", "date", "time", "device", "board", "sensor", "author", "subject", "label"),
}
_AXIS = re.compile(r"(a[XYZ])(?: ?[\[(]([^\])]+)[\])])?")
_TIME = re.compile(r"(?:t|time|timestamp)(?:_([a-zµμ]+)| ?[\[(]([^\])]+)[\])])?", re.IGNORECASE)
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?(hz|khz|/s|samples/s|sps)?", re.IGNORECASE)
_LONGEST_UNIT = 20


@dataclass(frozen=True)
class Statements:
    """What stands in front of the rows.

    Attributes:
        lines: that it takes.
        unit: of an acceleration; ``None`` if it is not stated, like the next.
        rate: samples per second.
        clock: seconds of a step of the time column; ``None`` if there is none.
    """

    lines: int
    unit: str | None = None
    rate: float | None = None
    clock: float | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of a row's cells."""
        return AXES if self.clock is None else ("time", *AXES)


def stated_lines(unit: str | None, rate: float | None) -> str:
    """The lines in front of the rows that say so."""
    unit_line = "" if unit is None else f"# unit: {unit}\n"
    return unit_line + ("" if rate is None else f"# rate: {rate:g} Hz\n") + ",".join(AXES) + "\n"


def read_statements(where: str, lines: list[str]) -> Statements:
    """Read the lines in front of the rows.

    Args:
        where: the file.
        lines: of all of it, without their ends.

    Raises:
        BadData: a line says nothing that is known, two contradict each other, or the header is another; names the line.
    """
    stated: dict[str, tuple[str, int]] = {}
    at = 0
    while at < len(lines) and lines[at].startswith("#"):
        key, value = _statement(f"{where}, line {at + 1}", lines[at])
        if key != "note":
            if stated.get(key, (value, 0))[0] != value:
                raise _bad(
                    f"{where}, line {at + 1}",
                    f"one {key}",
                    f"{value}, and {stated[key][0]} in line {stated[key][1]}",
                    "delete the wrong line",
                )
            stated[key] = value, at + 1
        at += 1
    header = f"{where}, line {at + 1}"
    unit, clock = _header(header, lines[at] if at < len(lines) else "")
    if unit is not None and stated.get("unit", (unit, 0))[0] != unit:
        raise _bad(header, f"the unit {stated['unit'][0]} of line {stated['unit'][1]}", unit, "correct the wrong one")
    unit = stated["unit"][0] if unit is None and "unit" in stated else unit
    rate = float(stated["rate"][0]) if "rate" in stated else None
    return Statements(at + 1, unit, rate, clock)


def _statement(where: str, line: str) -> tuple[str, str]:
    """Key and value, either in the one form that is compared."""
    written, separator, value = line.lstrip("#").replace("=", ":", 1).partition(":")
    keys = [key for key, names in _KEYS.items() if " ".join(written.lower().split()) in names]
    value = value.strip()
    if not separator or not keys or not value:
        raise _bad(
            where,
            "# unit: ..., # rate: ... Hz, # axes: aX,aY,aZ or # note: ...",
            repr(line),
            "correct the line, or begin it with '# note:' if it is a remark",
        )
    if keys[0] == "unit":
        return "unit", _unit(where, value)
    if keys[0] == "rate":
        match = _RATE.fullmatch(value)
        rate = float(match[1]) * (1000 if (match[2] or "").lower() == "khz" else 1) if match else 0.0
        if not 0 < rate <= 1e6:
            raise _bad(where, "a rate such as 50 Hz", repr(value), "write samples per second, with a decimal point")
        return "rate", f"{rate!r}"
    if keys[0] == "axes" and tuple(re.split(r"[\s,;]+", value)) != AXES:
        raise _bad(
            where, f"the axes {','.join(AXES)}", repr(value), "write the columns in this order, in every file alike"
        )
    return keys[0], value


def _unit(where: str, written: str) -> str:
    folded = "".join(written.split()).lower()
    for unit, names in _UNITS.items():
        if folded in names:
            return unit
    if len(written) > _LONGEST_UNIT or not written.isprintable() or re.fullmatch(r"[0-9.,+-]*", folded):
        raise _bad(where, f"a unit such as {', '.join(_UNITS)}", repr(written), "write the unit's symbol alone")
    return written


def _header(where: str, line: str) -> tuple[str | None, float | None]:
    """Unit and clock, where the header has them."""
    cells = line.split(",")
    clock = None
    if len(cells) == len(AXES) + 1 and (match := _TIME.fullmatch(cells[0])):
        written = (match[1] or match[2] or "").strip()
        clock = _CLOCKS.get(_CLOCK_NAMES.get(written, written))
        if clock is None:
            raise _bad(
                where,
                "a time column with its unit: time [ms], time [us] or time [s]",
                repr(cells[0]),
                "write the unit into the header",
            )
        cells = cells[1:]
    matches = [_AXIS.fullmatch(cell) for cell in cells]
    names = [match[1] for match in matches if match]
    units = {_unit(where, match[2]) if match[2] else None for match in matches if match}
    if names != list(AXES) or len(names) != len(cells):
        if sorted(names) == sorted(AXES) and len(names) == len(cells):
            remedy = f"write the columns in the order {','.join(AXES)}, in every file alike"
        elif any(mark in line for mark in ";\t|"):
            remedy = f"separate columns by commas, and write decimal points: {','.join(AXES)}"
        else:
            remedy = "make this line exactly the header"
        raise _bad(where, f"the header {','.join(AXES)!r}", repr(line), remedy)
    if len(units) > 1:
        raise _bad(where, "the same unit for all three axes", repr(line), "record all axes in one unit")
    return next(iter(units)), clock


def _bad(where: str, expected: str, got: str, remedy: str) -> BadData:
    return BadData(where=where, expected=expected, got=got, remedy=remedy)
