"""Inputs that somebody hands over for a comparison: codes or real values, told apart by their type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from export.compiled_file.model_in_file import ModelInFile
from export.graph.ir import Value
from export.tflite.equivalents.shifted_codes import SHIFT
from qtorch.errors import BadData

__all__ = ["given_inputs"]


def given_inputs(given: Any, model: ModelInFile, where: str) -> tuple[np.ndarray, ...]:
    """What was handed over, as the model's file takes it: ``[N, *shape[1:]]`` for each input.

    Integers are codes; floats are real values, which are quantized by the input's scale and zero point where the file
    takes codes. Where it takes floats, codes become the numbers that they stand for; where it takes uint8, those codes
    are given as uint8, or 128 less as int8.

    Args:
        given: an array, or arrays by the inputs' names.
        model: whose inputs they are.
        where: what to call them in an error.

    Raises:
        BadData: an input has no array, or an array no input; or shape, type or range are no input's.
    """
    arrays = _by_input(given, model, where)
    stored = tuple(
        _stored(np.asarray(array), model, position, f"{where}{label}") for position, (label, array) in enumerate(arrays)
    )
    counts = {len(array) for array in stored}
    if len(counts) > 1:
        raise BadData(
            where=where, expected="as many samples of each input", got=", ".join(str(len(array)) for array in stored),
            remedy="give each input its samples",
        )  # fmt: skip
    if not counts or counts == {0}:
        raise BadData(
            where=where, expected="at least one sample", got="none", remedy="give some, or leave the option out"
        )
    return stored


def _by_input(given: Any, model: ModelInFile, where: str) -> list[tuple[str, Any]]:
    """A label and an array for each input."""
    if not isinstance(given, Mapping):
        if len(model.inputs) == 1:
            return [("", given)]
        raise BadData(
            where=where,
            expected=f"an array for each of the inputs {', '.join(model.inputs)}",
            got="one without a name",
            remedy=f"write numpy.savez(path, {', '.join(f'{name}=...' for name in model.inputs)})",
        )
    if len(model.inputs) == len(given) == 1:
        return [("", next(iter(given.values())))]
    called = [*zip(model.inputs, model.graph.inputs, strict=True)]
    arrays = [next((given[name] for name in names if name in given), None) for names in called]
    known = {name for names in called for name in names}
    if any(array is None for array in arrays) or not known.issuperset(given):
        raise BadData(
            where=where, expected=f"an array for each of the inputs {', '.join(model.inputs)}",
            got=", ".join(map(str, given)) or "nothing", remedy="name each array as the model names its input",
        )  # fmt: skip
    return [(f", {name}", array) for name, array in zip(model.inputs, arrays, strict=True)]


def _stored(array: np.ndarray, model: ModelInFile, position: int, where: str) -> np.ndarray:
    outer, inner = model.graph.inputs[position], model.core.inputs[position]
    value, codes = model.graph.values[outer], model.core.values[inner]
    shape = value.shape
    if array.shape == shape[1:] or (len(shape) > 1 and array.shape == shape):
        array = array.reshape(shape)
    if array.ndim != len(shape) or array.shape[1:] != shape[1:] or len(array) % shape[0]:
        raise BadData(
            where=where, expected=f"shape {_words(shape)}, N samples", got=f"{list(array.shape)}",
            remedy="arrange the axes as the model has them; qtorch summary prints its tensors",
        )  # fmt: skip
    if array.dtype.kind == "f":
        return _of_floats(array, value, codes, where)
    if array.dtype.kind not in "iu":
        raise BadData(
            where=where, expected=f"codes ({codes.dtype}), or real values (float32)", got=str(array.dtype),
            remedy="convert the array",
        )  # fmt: skip
    if outer in model.graph.shifted and array.dtype == np.uint8:
        return np.asarray((array ^ np.uint8(SHIFT)).view(np.int8))
    low, high = model.core.code_range(inner)
    if array.size and (array.min() < low or array.max() > high):
        raise BadData(
            where=where, expected=f"codes from {low} to {high} ({codes.dtype})",
            got=f"{array.dtype} from {array.min()} to {array.max()}",
            remedy="give real values as float32, which are quantized here, or codes of the model's type",
        )  # fmt: skip
    held = array.astype(codes.dtype)
    return held if value.qparams is not None else codes.dequantize(held)


def _of_floats(array: np.ndarray, value: Value, codes: Value, where: str) -> np.ndarray:
    if not np.isfinite(array).all():
        raise BadData(where=where, expected="finite numbers", got="NaN or infinity", remedy="leave those samples out")
    if codes.of_indices:
        raise BadData(
            where=where, expected="indices, as integers", got=str(array.dtype), remedy="convert the array to int32"
        )
    real = array.astype(np.float32)
    return real if value.qparams is None else value.quantize(real)


def _words(shape: tuple[int, ...]) -> str:
    return f"[N, {', '.join(map(str, shape[1:]))}]" if len(shape) > 1 else "[N]"
