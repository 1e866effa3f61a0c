"""Files of data that are not quite as they should be, and the numbers that a person would read in them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

__all__ = ["DIGITS", "FUEL", "GESTURES", "PICTURES", "SOUND", "WAVES", "Odd"]


@dataclass(frozen=True)
class Odd:
    """``content`` and what a reader may make of it: ``read``, or a refusal that has all of ``words``."""

    content: bytes
    words: tuple[str, ...] = ()
    read: np.ndarray | None = field(default=None, compare=False)


# A table of cars: litres, cylinders, consumption, CO2 in the file; litres, cylinders, CO2, consumption when read.
_HEAD = "MAKE,ENGINE SIZE,CYLINDERS,FUEL CONSUMPTION,COEMISSIONS"
_CARS = np.array([[round(1 + i / 10, 1), 3 + i % 6, 200 + 3 * i, round(8 + i / 5, 1)] for i in range(14)])
_ROWS = [f"M{i},{a},{b:.0f},{d},{c:.0f}" for i, (a, b, c, d) in enumerate(_CARS)]


def _csv(*rows: str, head: str = _HEAD, end: str = "\n", encoding: str = "utf-8") -> bytes:
    return (end.join([head, *rows]) + end).encode(encoding)


def _with(row: str, at: int = 5) -> bytes:
    return _csv(*_ROWS[:at], row, *_ROWS[at + 1 :])


_LINE = "line 7"
FUEL = {
    "as it should be": Odd(_csv(*_ROWS), read=_CARS),
    "a byte order mark": Odd(_csv(*_ROWS, encoding="utf-8-sig"), read=_CARS),
    "line ends of Windows": Odd(_csv(*_ROWS, end="\r\n"), read=_CARS),
    "line ends of an old Mac": Odd(_csv(*_ROWS, end="\r"), read=_CARS),
    "mixed line ends": Odd(
        "\r\n".join([_HEAD, *_ROWS[:7]]).encode() + b"\n" + "\r".join(_ROWS[7:]).encode(), read=_CARS
    ),
    "no line end at the end": Odd(_csv(*_ROWS)[:-1], read=_CARS),
    "quoted numbers": Odd(_csv(*(",".join(f'"{c}"' for c in row.split(",")) for row in _ROWS)), read=_CARS),
    "spaces around": Odd(_csv(*(row.replace(",", " , ") for row in _ROWS)), read=_CARS),
    "blank lines between": Odd(_csv(*(row + "\n" for row in _ROWS)), read=_CARS),
    "a comma in quotes": Odd(_with('"M5, Ltd",' + _ROWS[5].partition(",")[2]), read=_CARS),
    "empty cells behind": Odd(_csv(*(row + ",," for row in _ROWS)), read=_CARS),
    "other order of columns": Odd(
        _csv(
            *(f"{c:.0f},{d},{a},{b:.0f}" for a, b, c, d in _CARS),
            head="COEMISSIONS,FUEL CONSUMPTION,ENGINE SIZE,CYLINDERS",
        ),
        read=_CARS,
    ),
    "an empty cell": Odd(_with("M5,,4,9,215"), read=np.delete(_CARS, 5, 0)),
    "nan": Odd(_with("M5,nan,4,9,215"), read=np.delete(_CARS, 5, 0)),
    "a field missing": Odd(_with("M5,4,9,215"), read=np.delete(_CARS, 5, 0)),
    "a decimal comma": Odd(_with("M5,1,5,8,9,215"), ("5 cells", _LINE, "decimal point")),
    "a quoted decimal comma": Odd(_with('M5,"1,5",8,9,215'), ("'1,5'", _LINE, "decimal point")),
    "decimal commas and semicolons": Odd(_csv(*_ROWS).replace(b",", b";").replace(b".", b","), ("commas", "';'")),
    "semicolons": Odd(_csv(*_ROWS).replace(b",", b";"), ("separated by ';'",)),
    "tabs": Odd(_csv(*_ROWS).replace(b",", b"\t"), ("separated by",)),
    "thousands": Odd(_with('M5,1.5,8,9,"1,215"'), ("'1,215'", _LINE)),
    "thousands without quotes": Odd(_with("M5,1.5,8,9,1,215"), ("5 cells", _LINE)),
    "thousands by spaces": Odd(_with("M5,1.5,8,9,1 215"), ("'1 215'", _LINE)),
    "thousands by points": Odd(_with("M5,1.5,8,9,1.215"), ("COEMISSIONS", _LINE)),
    "a unit": Odd(_with("M5,1.5 L,8,9,215"), ("'1.5 L'", _LINE, "unit")),
    "cubic centimetres": Odd(_with("M5,1500,8,9,215"), ("litres", "1500", _LINE)),
    "a colon for a point": Odd(_with("M5,1:5,8,9,215"), ("'1:5'", _LINE)),
    "underscores": Odd(_with("M5,1_5,8,9,215"), ("'1_5'", _LINE)),
    "digits of another script": Odd(_with("M5,\u0661,8,9,215"), (_LINE,)),
    "a date where a spreadsheet made one": Odd(_with("M5,01.May,8,9,215"), ("'01.May'", _LINE)),
    "infinity": Odd(_with("M5,inf,8,9,215"), ("'inf'", _LINE)),
    "too large for a float": Odd(_with("M5,1e999,8,9,215"), ("'1e999'", _LINE)),
    "a dash": Odd(_with("M5,-,8,9,215"), ("'-'", _LINE)),
    "half a cylinder": Odd(_with("M5,1.5,4.5,9,215"), ("whole number", "4.5", _LINE)),
    "a negative number": Odd(_with("M5,-1.5,4,9,215"), ("-1.5", _LINE)),
    "a text shifted in": Odd(_with("M,5,1.5,8,9,215"), ("5 cells", _LINE)),
    "the header again": Odd(_with(_HEAD), ("'ENGINE SIZE'", _LINE)),
    "a mean at the end": Odd(_csv(*_ROWS, "mean,1.65,5.1,9.3,219.5"), ("5.1", "line 16")),
    "a title in front": Odd(b"Cars of 2000\n" + _csv(*_ROWS), ("columns ['Cars of 2000']",)),
    "a column twice": Odd(
        _csv(*(row + ",1" for row in _ROWS), head=_HEAD + ",CYLINDERS"), ("one column 'CYLINDERS'", "got 2")
    ),
    "columns exchanged": Odd(
        _csv(*(f"M{i},{b:.0f},{a},{d},{c:.0f}" for i, (a, b, c, d) in enumerate(_CARS))), ("CYLINDERS",)
    ),
    "consumption and CO2 exchanged": Odd(
        _csv(*(f"M{i},{a},{b:.0f},{c:.0f},{d}" for i, (a, b, c, d) in enumerate(_CARS))), ("COEMISSIONS", "line 2")
    ),
    "a quote that is not closed": Odd(_with('"M5,1.5,8,9,215'), ("readable CSV",)),
    "a quote that a later one closes": Odd(
        _csv(*_ROWS[:5], '"M5,1.5,8,9,215', '6",1.6,3,9.2,218', *_ROWS[7:]), ("one line", "line 8")
    ),
    "UTF-16": Odd(_csv(*_ROWS, encoding="utf-16"), ("UTF-8",)),
    "another encoding": Odd(_with("Citroën,1.5,8,9,215").decode().encode("latin-1"), ("UTF-8",)),
    "cut off in the last row": Odd(_csv(*_ROWS)[:-7], ("last line", "no end", "line 15")),
    "empty": Odd(b"", ("empty",)),
    "a header alone": Odd(_csv(), ("at least 10", "got 0")),
    "a page of the web": Odd(b"<!DOCTYPE html>\n<html>\n</html>\n", ("columns",)),
}

# One recording of a gesture, 50 rows, time in milliseconds at 50 Hz.
_MOVED = np.array([[round(10 * np.sin(i / 5 + k), 2) for k in range(3)] for i in range(50)])
_LINES = [",".join(f"{v}" for v in row) for row in _MOVED]
_TIMED = [f"{20 * i},{line}" for i, line in enumerate(_LINES)]


def _gesture(*lines: str, head: str = "aX,aY,aZ", end: str = "\n") -> bytes:
    return (end.join([head, *lines]) + end).encode()


def _moved(line: str, at: int = 5) -> bytes:
    return _gesture(*_LINES[:at], line, *_LINES[at + 1 :])


def _timed(times: list[float], head: str = "time [ms],aX,aY,aZ") -> bytes:
    return _gesture(*(f"{time:g},{line}" for time, line in zip(times, _LINES, strict=True)), head=head)


GESTURES = {
    "as it should be": Odd(_gesture(*_LINES), read=_MOVED),
    "line ends of Windows": Odd(_gesture(*_LINES, end="\r\n"), read=_MOVED),
    "line ends of an old Mac": Odd(_gesture(*_LINES, end="\r"), read=_MOVED),
    "a byte order mark": Odd(b"\xef\xbb\xbf" + _gesture(*_LINES), read=_MOVED),
    "spaces around": Odd(_gesture(*(line.replace(",", " , ") for line in _LINES)), read=_MOVED),
    "no line end at the end": Odd(_gesture(*_LINES)[:-1], read=_MOVED),
    "exponents": Odd(_gesture(*(",".join(f"{v:.8e}" for v in row) for row in _MOVED)), read=_MOVED),
    "units in the header": Odd(_gesture(*_LINES, head="aX [g],aY [g],aZ [g]"), read=_MOVED),
    "statements": Odd(b"# unit: g\n# rate: 50 Hz\n# note: left, 3: wrist\n" + _gesture(*_LINES), read=_MOVED),
    "a time column": Odd(_gesture(*_TIMED, head="time [ms],aX,aY,aZ"), read=_MOVED),
    "a time column whose clock rounds": Odd(_timed([8.403 * i // 1 for i in range(50)]), read=_MOVED),
    "columns in another order": Odd(_gesture(*_LINES, head="aZ,aY,aX"), ("line 1", "aX,aY,aZ", "order")),
    "a column twice": Odd(_gesture(*_LINES, head="aX,aX,aZ"), ("line 1",)),
    "a column of something else": Odd(_gesture(*_LINES, head="gX,gY,gZ"), ("line 1",)),
    "no header": Odd(_gesture(*_LINES[1:], head=_LINES[0]), ("line 1",)),
    "two units in the header": Odd(_gesture(*_LINES, head="aX [g],aY [g],aZ [m/s^2]"), ("line 1", "same unit")),
    "a unit that contradicts": Odd(b"# unit: g\n" + _gesture(*_LINES, head="aX [mg],aY [mg],aZ [mg]"), ("line 2",)),
    "a rate in words": Odd(b"# rate: fast\n" + _gesture(*_LINES), ("line 1", "'fast'")),
    "a rate with a decimal comma": Odd(b"# rate: 62,5 Hz\n" + _gesture(*_LINES), ("line 1", "decimal point")),
    "a statement that nobody knows": Odd(b"# untis: g\n" + _gesture(*_LINES), ("line 1", "untis")),
    "two rates": Odd(b"# rate: 50\n# rate: 100\n" + _gesture(*_LINES), ("line 2", "rate")),
    "axes stated in another order": Odd(b"# axes: aZ,aY,aX\n" + _gesture(*_LINES), ("line 1", "order")),
    "a stated rate that the clock contradicts": Odd(
        b"# rate: 100 Hz\n" + _gesture(*_TIMED, head="time [ms],aX,aY,aZ"), ("100 Hz", "got 50 Hz")
    ),
    "a time column without a unit": Odd(_gesture(*_TIMED, head="time,aX,aY,aZ"), ("line 1", "time [ms]")),
    "a time column of dates": Odd(
        _gesture(*(f"12:00:{i:02d},{line}" for i, line in enumerate(_LINES)), head="time [s],aX,aY,aZ"),
        ("line 2", "'12:00:00'"),
    ),
    "a gap in time": Odd(_timed([20 * i + 20 * (i > 30) for i in range(50)]), ("line 33", "0.04 s")),
    "a time twice": Odd(_timed([20 * min(i, 48) for i in range(50)]), ("line 51", "grow")),
    "a clock that wraps": Odd(_timed([20 * i % 700 for i in range(50)]), ("line 37", "grow")),
    "time at the end": Odd(_gesture(*_LINES, head="aX,aY,aZ,time [ms]"), ("line 1",)),
    "decimal commas": Odd(_moved("1,5,2,3,0,1"), ("line 7", "3 columns", "point")),
    "semicolons": Odd(_gesture(*_LINES).replace(b",", b";"), ("line 1", "commas")),
    "semicolons in a row": Odd(_moved("1;2;3"), ("line 7", "got 1")),
    "a unit in a cell": Odd(_moved("1g,2,3"), ("line 7", "'1g'")),
    "a quoted number": Odd(_moved('"1",2,3'), ("line 7",)),
    "a missing value": Odd(_moved("1,2"), ("line 7", "got 2")),
    "an empty value": Odd(_moved("1,,2"), ("line 7", "''")),
    "a lost line end": Odd(_moved("1,2,34,5,6"), ("line 7", "got 5")),
    "nan": Odd(_moved("1,nan,2"), ("line 7", "'nan'")),
    "the sensor's overflow": Odd(_moved("1,1e40,2"), ("line 7", "aY")),
    "digits of another script": Odd(_moved("1,\u0662,2"), ("line 7",)),
    "a row lost": Odd(_gesture(*_LINES[1:]), ("49 rows",)),
    "a header in the middle": Odd(_moved("aX,aY,aZ"), ("line 7", "'aX'")),
    "cut off in the last row": Odd(_gesture(*_LINES)[:-8], ("line 51", "2")),
    "UTF-16": Odd(_gesture(*_LINES).decode().encode("utf-16"), ("UTF-8",)),
    "empty": Odd(b"", ("empty",)),
}

#: Samples of the recording that is as it should be, int16.
SOUND = np.random.default_rng(0).integers(-9000, 9000, 400).astype("<i2")


def _wav(
    data: bytes, tag: int = 1, channels: int = 1, rate: int = 16000, bits: int = 16, size: int | None = None,
    riff: bytes = b"RIFF", between: bytes = b"", order: str = "<",
) -> bytes:  # fmt: skip
    block = channels * bits // 8
    form = struct.pack(order + "HHIIHH", tag, channels, rate, rate * block, block, bits)
    body = b"WAVEfmt " + struct.pack(order + "I", len(form)) + form + between
    body += b"data" + struct.pack(order + "I", len(data) if size is None else size) + data
    return riff + struct.pack(order + "I", len(body)) + body


_PCM = SOUND.tobytes()
WAVES = {
    "as it should be": Odd(_wav(_PCM), read=SOUND),
    "a chunk of remarks in front": Odd(_wav(_PCM, between=b"LIST\x04\0\0\0INFO"), read=SOUND),
    "remarks behind": Odd(_wav(_PCM) + b"LIST\x04\0\0\0INFO", read=SOUND),
    "8 kHz": Odd(_wav(_PCM, rate=8000), ("16000 Hz", "8000")),
    "44.1 kHz": Odd(_wav(_PCM, rate=44100), ("16000 Hz", "44100")),
    "stereo": Odd(_wav(_PCM, channels=2), ("1 channel", "got 2")),
    "8 bits": Odd(_wav(_PCM, bits=8), ("2 bytes", "got 1")),
    "24 bits": Odd(_wav(_PCM[:798], bits=24), ("2 bytes", "got 3")),
    "floating point": Odd(_wav(_PCM, tag=3, bits=32), ("WAV",)),
    "A-law": Odd(_wav(_PCM, tag=6, bits=8), ("WAV",)),
    "big-endian": Odd(_wav(_PCM, riff=b"RIFX", order=">"), ("WAV",)),
    "cut off": Odd(_wav(_PCM)[:-300], ("as many as the header says", "250")),
    "a length that streaming left open": Odd(_wav(_PCM, size=0xFFFFFFFF), ("header says",)),
    "a length of 0": Odd(_wav(_PCM, size=0), ("at least one sample",)),
    "no data": Odd(_wav(b""), ("at least one sample",)),
    "an MP3 by another name": Odd(b"ID3\x04" + bytes(400), ("WAV",)),
    "empty": Odd(b"", ("WAV",)),
}

#: Of the file that is as it should be, uint8 ``[3, 28, 28]``.
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8)


def _idx(*shape: int, kind: int = 8, data: bytes = PICTURES.tobytes(), order: str = ">") -> bytes:
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f"{order}{len(shape)}I", *shape) + data


DIGITS = {
    "as it should be": Odd(_idx(3, 28, 28), read=PICTURES),
    "fewer than its header says": Odd(_idx(4, 28, 28), ("3136 values", "2352")),
    "more than its header says": Odd(_idx(2, 28, 28), ("1568 values", "2352")),
    "a byte lost": Odd(_idx(3, 28, 28)[:-1], ("2352 values", "2351")),
    "floating point": Odd(_idx(3, 28, 28, kind=13), ("unsigned bytes",)),
    "another number of dimensions": Odd(_idx(3, 784), ("3 dimensions",)),
    "little-endian": Odd(_idx(3, 28, 28, order="<"), ("values behind the header",)),
    "no picture": Odd(_idx(0, 28, 28, data=b""), ("at least 1",)),
    "sizes that overflow": Odd(_idx(2**31, 2**31, 2**31), ("values behind the header",)),
    "cut off in the header": Odd(_idx(3, 28, 28)[:9], ("16 bytes", "9 bytes")),
    "still compressed": Odd(b"\x1f\x8b\x08\x00" + bytes(40), ("decompress",)),
    "empty": Odd(b"", ("empty",)),
}
