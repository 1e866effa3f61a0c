"""Errors that tell a person what to do: what was expected, what came, where, and the remedy.

Command lines turn a :class:`BadInput` into exit code 2 and a :class:`ParityError` into exit code 1; anything else is a
defect of this project and keeps its traceback.
"""

from __future__ import annotations

__all__ = [
    "AccumulatorOverflow",
    "BadCheckpoint",
    "BadConfiguration",
    "BadData",
    "BadInput",
    "BadModelFile",
    "NotFinite",
    "ParityError",
    "UnknownArgument",
    "UnsupportedByEdition",
    "UnsupportedLayer",
    "Unwritable",
]


class BadInput(ValueError):
    """Something a person handed in can't be used.

    Example:
        >>> raise BadInput(where="cars.csv", expected="a column 'CYLINDERS'", got="columns ['A']", remedy="rename it")
        Traceback (most recent call last):
        ...
        qtorch.errors.BadInput: cars.csv: expected a column 'CYLINDERS', got columns ['A']. Remedy: rename it.
    """

    def __init__(self, *, where: str, expected: str, got: str, remedy: str) -> None:
        self.where, self.expected, self.got, self.remedy = where, expected, got, remedy
        # What others say ends in a full stop of its own.
        said = got if got.endswith("...") else got.removesuffix(".")
        super().__init__(f"{where}: expected {expected}, got {said}. Remedy: {remedy.rstrip('.')}.")


class BadData(BadInput):
    """A data set can't be read, or can't be learned from."""


class BadConfiguration(BadInput):
    """Options contradict each other or lie outside their range."""


class AccumulatorOverflow(BadConfiguration, OverflowError):
    """A sum may leave the integers that the device has for it."""


class UnknownArgument(BadConfiguration, TypeError):
    """A function is called with an argument that it does not take."""


class NotFinite(BadInput):
    """NaN or infinity where a number is needed: data, loss, weights or a scale."""


class UnsupportedLayer(BadInput):
    """A layer or function of the network stands in no row."""


class UnsupportedByEdition(BadInput):
    """An edition of TFLite Micro would compute other numbers than training did, or refuse the model."""


class BadCheckpoint(BadInput):
    """A file is no checkpoint, or is one of another network."""


class BadModelFile(BadInput):
    """A file is no .tflite model, or one that this project can't have written."""


class Unwritable(BadInput):
    """The output folder can't be written."""


class ParityError(AssertionError):
    """Two computations that must agree to the last bit do not; nothing was exported."""
