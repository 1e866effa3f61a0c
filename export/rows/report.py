"""All judges of a row, one after the other, and what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from export.c.compiled import c_compiler
from export.engines import LITERT_REFERENCE, TFLM
from export.optional_packages import missing, remedy
from export.rows.judges import (
    c_library,
    c_samples,
    require_c,
    require_file,
    require_float,
    require_litert,
    require_onnx,
    require_tflm,
)
from qtorch.errors import BadConfiguration, ParityError, UnsupportedLayer
from qtorch.ops import ROWS
from qtorch.row.registration import require_registrable
from qtorch.row.row import Row, Sample, TFLite, Unsupported

__all__ = ["RowParity", "row_parity"]

#: What a label says of who computes something else: see :class:`~qtorch.row.row.Sample`.
_TFLM_ALONE, _CANCELLED, _NO_FLOAT = "TFLM alone", "cancelled", "no float form"


@dataclass(frozen=True)
class RowParity:
    """A row that is right, as far as its samples go.

    Attributes:
        row: its name.
        samples: how many there are.
        compared: by who computed them, numbers that were compared with the integer reference, and agree.
        left_out: by who did not compute all of them, why.
    """

    row: str
    samples: int
    compared: Mapping[str, int]
    left_out: Mapping[str, str]

    def __str__(self) -> str:
        lines = [f"{self.row}: {self.samples} samples"]
        lines += [f"  {who}: {count:,} compared, all agree" for who, count in self.compared.items()]
        lines += [f"  {who}, left out: {why}" for who, why in self.left_out.items()]
        return "\n".join(lines)


def row_parity(row: Row) -> RowParity:
    """The proof of a row: each of its samples computed by all that can, compared with the row's integer reference.

    The float function of training within a step of int8; the .tflite file read back; TFLite Micro to the bit; LiteRT's
    reference kernels and ONNX Runtime within what the row declares; plain C, compiled here, to the bit.

    Example:
        >>> from qtorch.ops import ROWS
        >>> row_parity(ROWS["relu6"]).compared["TFLite Micro"] > 0
        True

    Args:
        row: registered or not; if not, it stands among the rows for as long as it is judged.

    Raises:
        ParityError: somebody computes something else; names the sample, and the first code that differs. Or neither
            TFLite Micro nor LiteRT is here to judge.
        BadConfiguration: it is no row that could be registered; see :func:`qtorch.register`.
    """
    if not isinstance(row, Row):
        raise BadConfiguration(
            where="export.row_parity", expected="a Row of qtorch.row.row", got=f"{type(row).__name__} {row!r:.60}",
            remedy="pass the record itself, of a registered one qtorch.ops.ROWS[name]",
        )  # fmt: skip
    with _among_rows(row):
        samples = list(row.samples())
        tally = _Tally({}, {})
        tally.each(
            "float function", samples, lambda s: require_float(row, s), _words(_TFLM_ALONE, _CANCELLED, _NO_FLOAT)
        )
        if isinstance(row.tflite, TFLite):
            tally.each("file", samples, lambda s: require_file(row, s))
            if TFLM.absent():
                tally.left_out["TFLite Micro"] = TFLM.absent()
            else:
                tally.each("TFLite Micro", samples, lambda s: require_tflm(row, s) + require_tflm(row, s, at_once=True))
            if LITERT_REFERENCE.absent():
                tally.left_out["LiteRT"] = LITERT_REFERENCE.absent()
            else:
                tally.each("LiteRT", samples, lambda s: require_litert(row, s), _words(_TFLM_ALONE))
            if not {"TFLite Micro", "LiteRT"} & tally.compared.keys():
                raise ParityError(f"row {row.name!r}: nobody here computes its files: {tally.left_out}")
        else:
            tally.left_out["file"] = row.tflite.reason
        _compare_c(row, tally)
        _compare_onnx(row, samples, tally)
    return RowParity(row.name, len(samples), tally.compared, tally.left_out)


@dataclass(frozen=True)
class _Tally:
    """What was compared, and why something was not."""

    compared: dict[str, int]
    left_out: dict[str, str]

    def each(
        self,
        who: str,
        samples: list[Sample],
        compare: Callable[[Sample], int],
        told: Callable[[Sample], str] = lambda sample: "",
    ) -> None:
        """Every sample that nothing is told against; one of which there is no form is left out, with its reason."""
        reasons: dict[str, list[str]] = {}
        for sample in samples:
            why = told(sample)
            if not why:
                try:
                    self.compared[who] = self.compared.get(who, 0) + compare(sample)
                    continue
                except UnsupportedLayer as error:
                    why = f"expected {error.expected}, got {error.got}"
            reasons.setdefault(why, []).append(sample.label)
        if reasons:
            self.left_out[who] = "; ".join(f"{len(labels)} samples, {why}" for why, labels in reasons.items())


def _words(*words: str) -> Callable[[Sample], str]:
    """Why a sample is none for somebody: what its label says."""
    return lambda sample: next((f"labelled {word!r}" for word in words if word in sample.label), "")


def _compare_c(row: Row, tally: _Tally) -> None:
    if isinstance(row.c, Unsupported):
        tally.left_out["plain C"] = row.c.reason
        return
    if c_compiler() is None:
        tally.left_out["plain C"] = "no C compiler found; install gcc"
        return
    written, missing_kernels = c_samples(row)
    if written:
        tally.compared["plain C"] = require_c(row, written, c_library(written))
    if missing_kernels:
        reasons = "; ".join(dict.fromkeys(missing_kernels.values()))
        tally.left_out["plain C"] = f"{len(missing_kernels)} samples, {reasons}"


def _compare_onnx(row: Row, samples: list[Sample], tally: _Tally) -> None:
    absent = missing("onnx", "onnxruntime")
    if isinstance(row.onnx, Unsupported):
        tally.left_out["ONNX Runtime"] = row.onnx.reason
    elif absent:
        tally.left_out["ONNX Runtime"] = f"{absent[0]} is not installed: {remedy(absent[0])}"
    else:
        tally.each("ONNX Runtime", samples, lambda s: require_onnx(row, s), _words(_CANCELLED))


@contextmanager
def _among_rows(row: Row) -> Iterator[None]:
    """A block in which ``row`` is the row of its name."""
    earlier = ROWS.get(getattr(row, "name", ""))
    if earlier is row:
        yield
        return
    others = {name: other for name, other in ROWS.items() if other is not earlier}
    ROWS[row.name] = require_registrable(row, others, ROWS.owners)
    try:
        yield
    finally:
        if earlier is None:
            del ROWS[row.name]
        else:
            ROWS[row.name] = earlier
