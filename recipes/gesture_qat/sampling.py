"""The rate of recordings: from their time column, and the same in all files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qtorch.errors import BadData

__all__ = ["measured_rate", "require_same_rate"]

#: Of the usual step: a clock of whole milliseconds rounds steps by less, and one missing sample makes it twice as long.
_GAP = 1.5
#: By which rates may differ: oscillators of sensors are off by a few percent.
_TOLERANCE = 0.03


def measured_rate(where: str, times: np.ndarray, lines: Sequence[int], stated: float | None) -> float:
    """Samples per second of a file with a time column, to three digits; what the file states, if it does.

    Args:
        where: the file.
        times: in seconds, float64 ``[recordings, samples]``.
        lines: of the file, one for each time.
        stated: rate; ``None`` if there is none.

    Raises:
        BadData: times do not grow within a recording, or by a step that is half as long again as the usual one, or
            recordings differ in their rate, among each other or from the stated one; names the line.
    """
    steps = np.diff(times, axis=1)
    samples = times.shape[1]

    def line(recording: int, sample: int) -> str:
        return f"{where}, line {lines[recording * samples + sample]}"

    backward = np.argwhere(steps <= 0)
    if len(backward):
        recording, sample = (int(i) for i in backward[0])
        raise BadData(
            where=line(recording, sample + 1),
            expected="times that grow from row to row within a recording",
            got=f"{times[recording, sample + 1]:g} s behind {times[recording, sample]:g} s",
            remedy="sort the rows, take a finer clock, or delete the whole recording",
        )
    usual = float(np.median(steps))
    gaps = np.argwhere(steps > _GAP * usual)
    if len(gaps):
        recording, sample = (int(i) for i in gaps[0])
        raise BadData(
            where=line(recording, sample + 1),
            expected=f"a row every {usual:g} s, as most are",
            got=f"{steps[recording, sample]:g} s after the row before",
            remedy="samples are missing, or a recording begins here: delete the whole recording, or mend its rows",
        )
    rates = (samples - 1) / (times[:, -1] - times[:, 0])
    typical = stated if stated is not None else float(np.median(rates))
    off = np.argwhere(np.abs(rates / typical - 1) > _TOLERANCE)
    if len(off):
        recording = int(off[0, 0])
        raise BadData(
            where=line(recording, 0),
            expected=f"recordings at {typical:.4g} Hz" + (" as the file states" if stated is not None else ""),
            got=f"{rates[recording]:.4g} Hz by the time column",
            remedy="correct the stated rate or the unit of time, or record again at one rate",
        )
    return stated if stated is not None else float(f"{typical:.3g}")


def require_same_rate(rates: Mapping[str, float | None]) -> float | None:
    """The rate of all files; ``None`` if none has one.

    Args:
        rates: by file, stated or measured.

    Raises:
        BadData: they differ, or only some have one.
    """
    first, *others = rates
    expected = rates[first]
    for path in others:
        got = rates[path]
        if (got is None) != (expected is None) or (
            got is not None and expected is not None and abs(got / expected - 1) > _TOLERANCE
        ):
            raise BadData(
                where=path,
                expected=f"no rate, as {first} states none" if expected is None else f"the {expected:g} Hz of {first}",
                got="none" if got is None else f"{got:g} Hz",
                remedy="record all classes at the same rate, and state it in every file: "
                f"# rate: {expected or got:g} Hz",
            )
    return expected
