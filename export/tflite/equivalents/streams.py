"""Operators of TFLM's own that keep samples from one run to the next, in operators that keep nothing.

What such an operator keeps becomes a variable: its last input when a run starts, its last output when it has ended.
None of the kernels reads a scale. Source: TFLM ``signal/micro/kernels/delay.cc``, ``framer.cc``, ``overlap_add.cc``,
``micro/kernels/circular_buffer.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from export.tflite.custom_options import custom_options
from export.tflite.equivalents.draft import Draft
from export.tflite.file_data import FileContents, FileOperator, FileTensor
from export.tflite.variables import Variable

__all__ = ["STREAMS", "streamed", "with_streams"]

#: The schema's number of int16, which OverlapAdd's options say.
_INT16 = 7
#: Of ADD: no activation; its scales need be no powers of two.
_ADD = {"FusedActivationFunction": 0, "PotScaleInt16": False}
#: Each frame is some operators, and what is kept is memory of the device: more than one has, so that damaged files end.
_FRAMES, _KEPT = 256, 2**24


@dataclass(frozen=True)
class _Stream:
    """An operator that keeps something.

    Attributes:
        options: of its map, ascending.
        kept: the shape of what it keeps, of its options, input and first output; with 0 where it keeps nothing.
        put: writes it as others: of its options, input, what was kept, its first output, what is kept next.
        dtype: that its kernel has.
        outputs: how many it has.
    """

    options: tuple[str, ...]
    kept: Callable[[Mapping[str, int], FileTensor, FileTensor], tuple[int, ...]]
    put: Callable[[Draft, Mapping[str, int], int, int, int, int], None]
    dtype: str = "int16"
    outputs: int = 1


def _require(right: bool, expected: str, got: str) -> None:
    if not right:
        raise ValueError(f"expected {expected}, got {got}")


def _require_few(frames: int) -> None:
    _require(0 < frames <= _FRAMES, f"at most {_FRAMES} frames in a run", str(frames))


def _part(draft: Draft, source: int, axis: int, begin: int, output: int) -> None:
    """A piece along an axis, as long as the output."""
    first = [0] * len(draft.shape(source))
    first[axis] = begin
    draft.slice(source, first, output)


def _joined(draft: Draft, before: int, source: int, axis: int) -> int:
    """What was kept with the input behind it."""
    shape = list(draft.shape(source))
    if not math.prod(draft.shape(before)):
        return source
    shape[axis] += draft.shape(before)[axis]
    made = draft.computed(source, shape)
    draft.join([before, source], axis, made)
    return made


def _keep_the_last(draft: Draft, source: int, axis: int, after: int) -> None:
    if math.prod(draft.shape(after)):
        _part(draft, source, axis, draft.shape(source)[axis] - draft.shape(after)[axis], after)


def _delayed_kept(options: Mapping[str, int], source: FileTensor, output: FileTensor) -> tuple[int, ...]:
    length = options["delay_length"]
    _require(0 <= length < 2**20, "a delay_length of 0 or more", str(length))
    _require(bool(source.shape) and source.shape == output.shape, f"an output of {source.shape}", f"{output.shape}")
    return (*source.shape[:-1], length)


def _delayed(draft: Draft, options: Mapping[str, int], source: int, before: int, output: int, after: int) -> None:
    axis = len(draft.shape(source)) - 1
    every = _joined(draft, before, source, axis)
    _part(draft, every, axis, 0, output)
    _keep_the_last(draft, every, axis, after)


def _framed_kept(options: Mapping[str, int], source: FileTensor, output: FileTensor) -> tuple[int, ...]:
    size, step = options["frame_size"], options["frame_step"]
    _require(0 < step <= size < 2**20, "frames that are no shorter than their step", f"{size} and {step}")
    _require(
        bool(source.shape) and source.shape[-1] % step == 0, f"a whole number of steps of {step}", f"{source.shape}"
    )
    _require_few(source.shape[-1] // step)
    frames = (*source.shape[:-1], source.shape[-1] // step, size)
    _require(output.shape == frames, f"an output of {frames}", f"{output.shape}")
    _require(
        bool(options["prefill"]) or size == step,
        "prefill, without which the first frames are whatever memory has, as the second output says", "none",
    )  # fmt: skip
    return (*source.shape[:-1], size - step)


def _framed(draft: Draft, options: Mapping[str, int], source: int, before: int, output: int, after: int) -> None:
    *outer, count, size = draft.shape(output)
    axis = len(outer)
    every = _joined(draft, before, source, axis)
    frames = [draft.computed(source, (*outer, size)) for _ in range(count)]
    for number, frame in enumerate(frames):
        _part(draft, every, axis, number * options["frame_step"], frame)
    row = draft.computed(source, (*outer, count * size)) if count > 1 else frames[0]
    if count > 1:
        draft.join(frames, axis, row)
    draft.reshape(row, output)
    _keep_the_last(draft, every, axis, after)


def _added_kept(options: Mapping[str, int], source: FileTensor, output: FileTensor) -> tuple[int, ...]:
    step = options["frame_step"]
    _require(options["T"] == _INT16, "frames of int16", f"type {options['T']}")
    _require(len(source.shape) >= 2, "frames of samples", f"{source.shape}")
    *outer, count, size = source.shape
    _require_few(count)
    _require(0 < step <= size, f"a frame_step from 1 to {size}", str(step))
    _require(output.shape == (*outer, count * step), f"an output of {(*outer, count * step)}", f"{output.shape}")
    return (*outer, size - step)


def _added(draft: Draft, options: Mapping[str, int], source: int, before: int, output: int, after: int) -> None:
    """Frames of one grid, whose sum ADD rescales by 1 and holds to int16, as the kernel does."""
    *outer, count, size = draft.shape(source)
    axis, step = len(outer), options["frame_step"]
    kept = size - step
    if not kept:
        draft.reshape(source, output)
        return
    zeros = draft.constant(np.zeros((*outer, step), np.int16), source)
    row = draft.computed(source, (*outer, count * size))
    draft.reshape(source, row)
    done = [draft.computed(source, (*outer, step)) for _ in range(count)] if count > 1 else [output]
    for number, piece in enumerate(done):
        padded, frame, total = (draft.computed(source, (*outer, size)) for _ in range(3))
        draft.join([before, zeros], axis, padded)
        _part(draft, row, axis, number * size, frame)
        draft.put("ADD", [padded, frame], [total], "AddOptions", _ADD, 3)
        _part(draft, total, axis, 0, piece)
        before = after if number == count - 1 else draft.computed(source, (*outer, kept))
        _part(draft, total, axis, step, before)
    if count > 1:
        draft.join(done, axis, output)


def _shifted_kept(options: Mapping[str, int], source: FileTensor, output: FileTensor) -> tuple[int, ...]:
    _require(
        options["cycles_max"] == 1,
        "cycles_max 1; with another the kernel ends most runs before the operators behind it",
        str(options["cycles_max"]),
    )
    _require(output.variable, "a variable tensor as its output, which alone lives on between runs", output.words)
    shape = source.shape
    _require(len(shape) == 4 and shape[:2] == (1, 1), "an input of (1, 1, width, channels)", f"{shape}")
    fits = len(output.shape) == 4 and (output.shape[0], *output.shape[2:]) == (1, *shape[2:])
    _require(fits and source.grid == output.grid, "an output like the input, with more rows", output.words)
    return (1, output.shape[1] - 1, *shape[2:])


def _shifted(draft: Draft, options: Mapping[str, int], source: int, before: int, output: int, after: int) -> None:
    if not math.prod(draft.shape(before)):
        draft.reshape(source, output)
        return
    draft.join([before, source], 1, output)
    _part(draft, output, 1, 1, after)


_BY_OPERATOR: Mapping[str, _Stream] = {
    "CUSTOM:CIRCULAR_BUFFER": _Stream(("cycles_max",), _shifted_kept, _shifted, "int8"),
    "CUSTOM:SignalDelay": _Stream(("delay_length",), _delayed_kept, _delayed),
    "CUSTOM:SignalFramer": _Stream(("frame_size", "frame_step", "prefill"), _framed_kept, _framed, outputs=2),
    "CUSTOM:SignalOverlapAdd": _Stream(("T", "frame_step"), _added_kept, _added),
}
#: Their names in a file.
STREAMS = frozenset(_BY_OPERATOR)


def with_streams(contents: FileContents) -> tuple[FileContents, tuple[Variable, ...]]:
    """The file with one input and one output more of each such operator, and the variables that these are.

    Raises:
        ValueError: there is no such form of an operator; names it.
    """
    entry, *others = contents.subgraphs
    if not any(each.name in STREAMS for each in entry.operators):
        return contents, ()
    tensors, operators, found = list(entry.tensors), list[FileOperator](), list[Variable]()
    for operator in entry.operators:
        if operator.name in STREAMS:
            try:
                operator, variable = _with_kept(operator, tensors)
            except (ValueError, IndexError) as error:
                raise ValueError(f"operator {operator.number} ({operator.name}): {error}") from error
            found.append(variable)
        operators.append(operator)
    entry = replace(entry, tensors=tuple(tensors), operators=tuple(operators))
    return replace(contents, subgraphs=(entry, *others)), tuple(each for each in found if each.first.size)


def _with_kept(operator: FileOperator, tensors: list[FileTensor]) -> tuple[FileOperator, Variable]:
    stream = _BY_OPERATOR[operator.name]
    counts = (len(operator.inputs), len(operator.outputs))
    _require(counts == (1, stream.outputs) and min(operator.inputs + operator.outputs) >= 0,
             f"1 input and {stream.outputs} outputs", f"{counts[0]} and {counts[1]}")  # fmt: skip
    source, output = tensors[operator.inputs[0]], tensors[operator.outputs[0]]
    _require(source.dtype == output.dtype == stream.dtype, stream.dtype, f"{source.dtype} and {output.dtype}")
    shape = stream.kept(custom_options(operator.custom, stream.options), source, output)
    _require(math.prod(shape) <= _KEPT, f"at most {_KEPT} numbers", str(math.prod(shape)))
    kept = replace(
        source, name="", shape=shape, signature=(), ranked=True, buffer=0, constant_bytes=0, variable=False,
    )  # fmt: skip
    first = len(tensors)
    tensors += [replace(kept, index=first + place) for place in range(2)]
    tensors[output.index] = replace(output, variable=False)
    # What a new interpreter fills int8 with.
    zeros = np.full(shape, source.zero_point[0] if stream.dtype == "int8" and source.zero_point else 0, stream.dtype)
    inputs, outputs = (*operator.inputs, first), (*operator.outputs, first + 1)
    return replace(operator, inputs=inputs, outputs=outputs), Variable("kept", first, first + 1, zeros)


def streamed(draft: Draft, operator: FileOperator) -> None:
    """The operator in others; whether a frame is whole, as a second output says, it is in every run."""
    stream = _BY_OPERATOR[operator.name]
    source, before = operator.inputs
    output, *whole, after = operator.outputs
    for index in whole:
        draft.settle(index, np.ones(draft.shape(index), draft.tensors[index].dtype))
    stream.put(draft, custom_options(operator.custom, stream.options), source, before, output, after)
