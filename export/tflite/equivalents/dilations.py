"""Convolutions between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, as one with a dilation.

TensorFlow writes a dilated convolution as one over every so many pixels, each set of pixels a picture of its own. The
integers are the same: what SPACE_TO_BATCH_ND pads with is the code of 0 in LiteRT, as PAD's is. TFLite Micro's kernel
never sets the code that it pads with: what lies in memory there is another from run to run. Where the size of a batch
was left open, as Keras does, the file has one picture behind SPACE_TO_BATCH_ND, and TFLite Micro computes no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.tflite.equivalents.draft import Draft
from export.tflite.file_data import FileOperator

__all__ = ["with_dilations"]

_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
_RESHAPES = frozenset({"EXPAND_DIMS", "RESHAPE", "SQUEEZE"})
#: Operators of one dilated convolution along one axis: with an axis of size 1 put in before it, and taken out behind.
_MOST = 5


def with_dilations(draft: Draft) -> tuple[FileOperator, ...]:
    """The entry graph's operators, with PAD, a dilated convolution and SLICE in the place of each such three."""
    operators = draft.entry.operators
    readers: dict[int, list[int]] = {}
    for place, operator in enumerate(operators):
        for index in operator.inputs:
            readers.setdefault(index, []).append(place)
    made: dict[int, tuple[FileOperator, ...]] = {}
    for place, operator in enumerate(operators):
        if operator.name != "SPACE_TO_BATCH_ND":
            continue
        places = _in_a_row(draft, place, readers)
        written = _dilated(draft, [operators[each] for each in places])
        if written:
            made |= {**dict.fromkeys(places, ()), places[-1]: written}
    return tuple(each for place, operator in enumerate(operators) for each in made.get(place, (operator,)))


def _in_a_row(draft: Draft, place: int, readers: dict[int, list[int]]) -> list[int]:
    """Where an operator stands, and those behind it up to BATCH_TO_SPACE_ND, each of which alone reads the one before
    it; at most as many as a convolution along one axis has."""
    operators, places = draft.entry.operators, [place]
    while len(places) < _MOST and operators[places[-1]].name != "BATCH_TO_SPACE_ND":
        (output, *others), found = operators[places[-1]].outputs, readers.get(operators[places[-1]].outputs[0], [])
        if others or len(found) != 1 or output in draft.entry.outputs:
            break
        places.append(found[0])
    return places


def _dilated(draft: Draft, row: Sequence[FileOperator]) -> tuple[FileOperator, ...]:
    """What stands for the three, or for the five where pictures have one axis; nothing where they are no dilated
    convolution."""
    if (
        len(row) not in (3, _MOST)
        or row[len(row) // 2].name not in _CONVOLUTIONS
        or row[-1].name != "BATCH_TO_SPACE_ND"
    ):
        return ()
    spread, convolution, gather = row[0], row[len(row) // 2], row[-1]
    operands = [draft.data(index) for index in (*spread.inputs[1:], *gather.inputs[1:])]
    axes = 2 if len(row) == 3 else 1
    if any(each is None for each in operands) or len(draft.shape(spread.inputs[0])) != axes + 2:
        return ()
    block, paddings, other, crops = (np.asarray(each).tolist() for each in operands)
    options, source, output = convolution.options, spread.inputs[0], gather.outputs[0]
    plain = all(options.get(name, 1) == 1 for name in ("StrideH", "StrideW", "DilationHFactor", "DilationWFactor"))
    behind = row[-2].outputs[0]
    grids = [draft.tensors[i].grid for i in (source, convolution.inputs[0], convolution.outputs[0], behind, output)]
    on_one_grid = grids[0] == grids[1] and grids[2] == grids[3] == grids[4]
    valid = options.get("Padding") == schema.Padding.VALID
    fit = plain and valid and on_one_grid and convolution.inputs[0] == row[len(row) // 2 - 1].outputs[0]
    if block != other or len(block) != axes or not fit:
        return ()
    written, final = [], output
    if axes == 1:
        at = _axis_of_one(draft, row)
        if at is None:
            return ()
        block, paddings, crops = (
            [*each[: at - 1], one, *each[at - 1 :]] for each, one in ((block, 1), (paddings, [0, 0]), (crops, [0, 0]))
        )
        (source, before), (output, _) = _picture(draft, source, at), _picture(draft, output, at)
        written.append(_beside(spread, "RESHAPE", [before], source, "ReshapeOptions"))
    count, height, width, channels = draft.shape(source)
    padded = (count, height + sum(paddings[0]), width + sum(paddings[1]), channels)
    batch, out_h, out_w, out_c = draft.shape(convolution.outputs[0])
    # A batch whose size was left open is written as one picture here, and as the pictures of a block while it runs.
    pictures = {count * block[0] * block[1], *((1,) if count == 1 else ())}
    if batch not in pictures or batch != draft.shape(spread.outputs[0])[0]:
        return ()
    if padded[1] % block[0] or padded[2] % block[1]:
        return ()
    if padded != draft.shape(source):
        wider = draft.computed(source, padded)
        ends = draft.constant(np.array([[0, 0], *paddings, [0, 0]], np.int32))
        written.append(_beside(spread, "PAD", [source, ends], wider, "PadOptions"))
        source = wider
    whole = (count, out_h * block[0], out_w * block[1], out_c)
    computed = output if whole == draft.shape(output) else draft.computed(output, whole)
    dilation = {"DilationHFactor": block[0], "DilationWFactor": block[1]}
    written.append(
        replace(
            convolution,
            inputs=(source, *convolution.inputs[1:]),
            outputs=(computed,),
            options={**options, **dilation},
        )
    )
    if computed != output:
        begin = [0, *(first for first, _ in crops), 0]
        box = [draft.constant(np.array(each, np.int32)) for each in (begin, draft.shape(output))]
        written.append(_beside(gather, "SLICE", [computed, *box], output, "SliceOptions"))
    if output != final:
        written.append(_beside(gather, "RESHAPE", [output], final, "ReshapeOptions"))
    return tuple(written)


def _axis_of_one(draft: Draft, row: Sequence[FileOperator]) -> int | None:
    """Which axis is put beside the one that pictures have, for the convolution; ``None`` if nothing of the kind."""
    _, before, _, behind, _ = row
    if not {before.name, behind.name} <= _RESHAPES:
        return None
    given, made = (draft.shape(each) for each in (before.inputs[0], before.outputs[0]))
    gives, makes = (draft.shape(each) for each in (behind.inputs[0], behind.outputs[0]))
    fits = (at for at in (1, 2) if made == (*given[:at], 1, *given[at:]) and gives == (*makes[:at], 1, *makes[at:]))
    return next(fits, None)


def _picture(draft: Draft, index: int, at: int) -> tuple[int, int]:
    """A new tensor with an axis of size 1 more, and the tensor itself."""
    shape = draft.shape(index)
    return draft.computed(index, (*shape[:at], 1, *shape[at:])), index


def _beside(operator: FileOperator, name: str, inputs: Sequence[int], output: int, table: str) -> FileOperator:
    """Another operator that stands for the same one of the file."""
    kind = getattr(schema.BuiltinOptions, table)
    return replace(
        operator, name=name, version=1, inputs=tuple(inputs), outputs=(output,), options_kind=kind, options={}
    )
