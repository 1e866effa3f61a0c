"""Operators of TFLM's audio front end, which take vectors, on tensors that count samples in front; and their numbers.

None of their kernels reads a scale, and files have none there: such a tensor of int8 or int16 is on the grid whose
codes are the numbers themselves. So is what CAST makes of them, and what is only moved between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from export.tflite.custom_options import custom_options
from export.tflite.equivalents.draft import Draft
from export.tflite.equivalents.streams import STREAMS
from export.tflite.file_data import FileContents, FileOperator, FileTensor
from export.tflite.vector_cells import vector_cells
from qtorch.ops import of_rows
from qtorch.ops.signal_filter_bank import TABLES, bands
from qtorch.row.row import Row, TFLite

__all__ = ["front_end", "signals", "with_whole_numbers"]

_SIGNAL = "CUSTOM:Signal"
#: Operands and results that are numbers without an axis, by operator and place.
_NUMBERS = {f"{_SIGNAL}FftAutoScale": ("outputs", 1), f"{_SIGNAL}FilterBankSquareRoot": ("inputs", 1)}
_MOVED = frozenset(
    {
        "CONCATENATION", "EXPAND_DIMS", "PACK", "PAD", "RESHAPE", "REVERSE_V2", "SLICE", "SPLIT", "SPLIT_V", "SQUEEZE",
        "STRIDED_SLICE", "TRANSPOSE", "UNPACK",
    }
)  # fmt: skip
_OF_CODES = ("int8", "int16")
_CAST = (*_OF_CODES, "int32", "uint32")


@of_rows
def signals(rows: Mapping[str, Row]) -> frozenset[str]:
    """The operators that are read here: of all that rows stand for."""
    operators = {row.tflite.operator for row in rows.values() if isinstance(row.tflite, TFLite)}
    return frozenset(operator for operator in operators if operator.startswith(_SIGNAL))


def with_whole_numbers(contents: FileContents) -> FileContents:
    """The file with a scale of 1 on each tensor of int8 or int16 that has none and is such a number."""
    entry, *others = contents.subgraphs
    tensors = list(entry.tensors)
    moving = [operator for operator in entry.operators if operator.name in _MOVED]
    found = set[int]()
    for operator in entry.operators:
        if operator.name in signals() | STREAMS or _is_cast(operator, tensors):
            found |= _numbers(operator, tensors)
    while True:
        further = {index for each in moving if found & _numbers(each, tensors) for index in _numbers(each, tensors)}
        if further <= found:
            break
        found |= further
    if not found:
        return contents
    for index in found:
        tensors[index] = replace(tensors[index], scale=(1.0,), zero_point=(0,), axis=None)
    return replace(contents, subgraphs=(replace(entry, tensors=tuple(tensors)), *others))


def _numbers(operator: FileOperator, tensors: list[FileTensor]) -> set[int]:
    """Its tensors of codes without a scale."""
    indices = (index for index in (*operator.inputs, *operator.outputs) if index != -1)
    return {index for index in indices if tensors[index].dtype in _OF_CODES and not tensors[index].scale}


def _is_cast(operator: FileOperator, tensors: list[FileTensor]) -> bool:
    """Whether it is a CAST between numbers that begin or end as such without a scale: places of ARG_MAX do not."""
    if operator.name != "CAST" or len(operator.inputs) != 1 or -1 in (*operator.inputs, *operator.outputs):
        return False
    ends = [tensors[index] for index in (*operator.inputs, *operator.outputs)]
    return all(each.dtype in _CAST for each in ends)


def front_end(draft: Draft, operator: FileOperator) -> None:
    """The operator between RESHAPEs that put an axis of samples in front of each tensor that is computed.

    Raises:
        ValueError: a tensor is no vector, a filter bank's tables lead out of its input or of one another, or somebody
            reads what the operator does not write.
    """
    if operator.name == f"{_SIGNAL}Energy":
        _require_written(draft, operator)
    if operator.name == f"{_SIGNAL}FilterBank":
        tables = {role: draft.known(index) for role, index in zip(TABLES, operator.inputs[1:], strict=True)}
        bands(tables, *draft.shape(operator.inputs[0])[-1:])
    inputs = [_with_samples(draft, operator, "inputs", place) for place in range(len(operator.inputs))]
    outputs = [_with_samples(draft, operator, "outputs", place) for place in range(len(operator.outputs))]
    for source, made in zip(operator.inputs, inputs, strict=True):
        if source != made:
            draft.reshape(source, made)
    draft.operators.append(replace(operator, inputs=tuple(inputs), outputs=tuple(outputs)))
    for output, made in zip(operator.outputs, outputs, strict=True):
        if output != made:
            draft.reshape(made, output)


def _with_samples(draft: Draft, operator: FileOperator, side: str, place: int) -> int:
    """The tensor in one of an operator's places, with an axis in front if it is computed."""
    index = (operator.inputs if side == "inputs" else operator.outputs)[place]
    if index == -1 or draft.data(index) is not None:
        return index
    shape, vectors = draft.shape(index), operator.name in vector_cells()
    if _NUMBERS.get(operator.name) == (side, place):
        if shape not in ((), (1,)):
            raise ValueError(
                f"{draft.words(index)} of {shape}: expected a number, of which TFLite Micro has one kernel"
            )
        draft.tensors[index] = replace(draft.tensors[index], shape=(1,), signature=())
        return index
    if vectors and len(shape) != 1:
        raise ValueError(f"{draft.words(index)} of {shape}: expected a vector, as TFLite Micro's kernel takes it")
    if not shape:
        raise ValueError(f"{draft.words(index)} without an axis: expected a vector")
    return draft.computed(index, (1, *shape)) if len(shape) == 1 else index


def _require_written(draft: Draft, operator: FileOperator) -> None:
    """Nothing, if nobody reads an energy that the kernel leaves as memory was.

    Raises:
        ValueError: somebody does.
    """
    options = custom_options(operator.custom, ("end_index", "start_index"))
    written = range(options["start_index"], options["end_index"])
    (output,) = operator.outputs
    if len(draft.shape(output)) != 1 or set(range(*draft.shape(output))) <= set(written):
        return
    for reader, read in _readings(draft, output):
        if read is None or not read <= set(written):
            raise ValueError(
                f"{reader} reads energies outside of {written.start} to {written.stop - 1}, which the kernel does not "
                "write: whatever memory has there. Cut them off behind it with a STRIDED_SLICE, or convert the network "
                f"again with start_index 0 and end_index {draft.shape(output)[0]}"
            )


def _readings(draft: Draft, index: int) -> Iterator[tuple[str, set[int] | None]]:
    """Who reads a vector, and which of its elements; ``None`` of whoever may read all, an output too."""
    if index in draft.entry.outputs:
        yield "an output", None
    for each in draft.entry.operators:
        if index not in each.inputs:
            continue
        name = f"operator {each.number} ({each.name})"
        if each.name == "CAST":
            yield from _readings(draft, each.outputs[0])
        elif each.name in ("STRIDED_SLICE", "SLICE"):
            yield name, _sliced(draft, each)
        elif each.name == f"{_SIGNAL}FilterBank" and len(each.inputs) == 6:
            yield name, _banded(draft, each)
        else:
            yield name, None


def _sliced(draft: Draft, operator: FileOperator) -> set[int] | None:
    vectors = [draft.data(index) for index in operator.inputs[1:]]
    if any(each is None or each.size != 1 for each in vectors):
        return None
    begin, end, *step = (int(each.reshape(-1)[0]) for each in vectors if each is not None)
    count = draft.shape(operator.inputs[0])[0]
    if operator.name == "SLICE":
        return set(range(begin, count if end == -1 else begin + end))
    masks = [operator.options.get(f"{side}Mask", 0) & 1 for side in ("Begin", "End")]
    first, last = (None if mask else each for mask, each in zip(masks, (begin, end), strict=True))
    return set(range(count)[first : last : step[0]])


def _banded(draft: Draft, operator: FileOperator) -> set[int] | None:
    starts, _, widths = (draft.data(index) for index in operator.inputs[3:])
    if starts is None or widths is None or starts.shape != widths.shape:
        return None
    bands = zip(starts.tolist(), widths.tolist(), strict=True)
    return {place for start, width in bands for place in range(start, start + width)}
