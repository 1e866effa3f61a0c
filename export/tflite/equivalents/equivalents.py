"""A file that anyone wrote, in operators and forms that rows know: what :mod:`export.tflite.reader` reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from export.tflite.equivalents.biases import with_bias_of_sums
from export.tflite.equivalents.blocks import batch_to_space, space_to_batch
from export.tflite.equivalents.comparisons import both, chosen, compared, either, every, neither, with_answers_as_codes
from export.tflite.equivalents.dilations import with_dilations
from export.tflite.equivalents.draft import Draft
from export.tflite.equivalents.float_functions import moved_as_codes, product, quantized
from export.tflite.equivalents.front_end import front_end, signals, with_whole_numbers
from export.tflite.equivalents.known_values import settled
from export.tflite.equivalents.movements import broadcast_to, depth_to_space, gathered, mirrored, space_to_depth
from export.tflite.equivalents.options import with_options
from export.tflite.equivalents.pieces import embedded, filled, gathered_by_places, strided, updated
from export.tflite.equivalents.places import numbers_of_places
from export.tflite.equivalents.quantized_floats import looked_through
from export.tflite.equivalents.ranks import with_equal_ranks
from export.tflite.equivalents.shapes import (
    batch_first,
    dense,
    packed,
    reshaped,
    split_by_sizes,
    transposed_convolution,
    unpacked,
)
from export.tflite.equivalents.shifted_codes import with_shifted_codes
from export.tflite.equivalents.streams import streamed
from export.tflite.equivalents.tables import absolute, elu
from export.tflite.equivalents.tables_behind import table_behind
from export.tflite.equivalents.unpacked_constants import densified
from export.tflite.file_data import FileContents, FileOperator

__all__ = ["EQUIVALENTS", "in_known_operators"]

#: Puts other operators in the place of one.
Equivalent = Callable[[Draft, FileOperator], None]

#: By operator of the schema, what stands for it.
EQUIVALENTS: Mapping[str, Equivalent] = {
    "ABS": absolute,
    "ARG_MAX": looked_through,
    "ARG_MIN": looked_through,
    "BATCH_TO_SPACE_ND": batch_to_space,
    "BROADCAST_TO": broadcast_to,
    "CAST": numbers_of_places,
    "CUSTOM:CIRCULAR_BUFFER": streamed,
    "CUSTOM:SignalDelay": streamed,
    "CUSTOM:SignalFramer": streamed,
    "CUSTOM:SignalOverlapAdd": streamed,
    "DENSIFY": densified,
    "DEPTH_TO_SPACE": depth_to_space,
    "DYNAMIC_UPDATE_SLICE": updated,
    "ELU": elu,
    "EMBEDDING_LOOKUP": embedded,
    "EQUAL": compared,
    "EXPAND_DIMS": reshaped,
    "FILL": filled,
    "FULLY_CONNECTED": dense,
    "GATHER": gathered,
    "GATHER_ND": gathered_by_places,
    "GREATER": compared,
    "GREATER_EQUAL": compared,
    "LESS": compared,
    "LESS_EQUAL": compared,
    "LOGICAL_AND": both,
    "LOGICAL_NOT": neither,
    "LOGICAL_OR": either,
    "MIRROR_PAD": mirrored,
    "NEG": product,
    "NOT_EQUAL": compared,
    "PACK": packed,
    "QUANTIZE": quantized,
    "REDUCE_ALL": every,
    "RESHAPE": reshaped,
    "SELECT_V2": chosen,
    "SPACE_TO_BATCH_ND": space_to_batch,
    "SPACE_TO_DEPTH": space_to_depth,
    "SPLIT_V": split_by_sizes,
    "SQUARE": product,
    "SQUEEZE": reshaped,
    "STRIDED_SLICE": strided,
    "TRANSPOSE_CONV": transposed_convolution,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": batch_first,
    "UNPACK": unpacked,
}

#: Operators that run another subgraph of the file.
_CALLS = frozenset({"CALL", "CALL_ONCE", "IF", "WHILE", "STABLEHLO_COMPOSITE", "STABLEHLO_WHILE"})


def in_known_operators(contents: FileContents, needed: frozenset[int] = frozenset()) -> FileContents:
    """The file's first subgraph in operators of rows as far as there are equivalents; others are left as they are.

    Args:
        contents: of a file whose variables are values.
        needed: tensors that somebody reads beside the outputs.

    Raises:
        ValueError: an operator's tensors are no good; names it.
    """
    draft = Draft(with_answers_as_codes(_entry_alone(with_whole_numbers(with_shifted_codes(contents)))))
    for operator in with_dilations(draft):
        draft.number = operator.number
        try:
            _put(draft, operator)
        except (ValueError, IndexError, TypeError) as error:
            raise ValueError(f"operator {operator.number} ({operator.name}): {error}") from error
    return _without_unread(draft.finished(), needed)


def _put(draft: Draft, operator: FileOperator) -> None:
    if settled(draft, operator):
        return
    moved = moved_as_codes(draft, operator)
    if moved is not None:
        _put_alone(draft, moved)
        for codes, output in zip(moved.outputs, operator.outputs, strict=True):
            draft.put("DEQUANTIZE", [codes], [output])
        return
    behind = table_behind(draft, operator)
    _put_alone(draft, operator if behind is None else behind.operator)
    if behind is not None:
        behind.put(draft)


def _put_alone(draft: Draft, operator: FileOperator) -> None:
    equivalent = front_end if operator.name in signals() else EQUIVALENTS.get(operator.name)
    operator = with_options(with_bias_of_sums(draft, operator))
    if equivalent is None:
        draft.operators.append(with_equal_ranks(draft, operator))
    else:
        equivalent(draft, operator)


def _entry_alone(contents: FileContents) -> FileContents:
    """The file without the subgraphs that no operator of the first one runs: other signatures of the same model."""
    entry = contents.subgraphs[0]
    if any(operator.name in _CALLS for operator in entry.operators):
        return contents
    return replace(contents, subgraphs=(entry,))


def _without_unread(contents: FileContents, also: frozenset[int]) -> FileContents:
    """The file without operators whose results nobody reads, which no engine need compute."""
    entry = contents.subgraphs[0]
    needed, operators = {*entry.outputs, *also}, list[FileOperator]()
    for operator in reversed(entry.operators):
        kept = not operator.outputs or any(
            index in needed or (index != -1 and entry.tensors[index].variable) for index in operator.outputs
        )
        if kept:
            needed |= {*operator.inputs}
            operators.append(operator)
    entry = replace(entry, operators=tuple(reversed(operators)))
    return replace(contents, subgraphs=(entry, *contents.subgraphs[1:]))
