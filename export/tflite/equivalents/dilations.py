"""Convolutions between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, as one with a dilation.

TensorFlow writes a dilated convolution as one over every so many pixels, each set of pixels a picture of its own. The
integers are the same: what SPACE_TO_BATCH_ND pads with is the code of 0 in LiteRT, as PAD's is. TFLite Micro's kernel
never sets the code that it pads with: what lies in memory there is another from run to run.
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
        following = _alone(draft, operator, readers)
        last = None if following is None else _alone(draft, operators[following], readers)
        if following is None or last is None:
            continue
        three = operator, operators[following], operators[last]
        written = _dilated(draft, three)
        if written:
            made |= {place: (), following: (), last: written}
    return tuple(each for place, operator in enumerate(operators) for each in made.get(place, (operator,)))


def _alone(draft: Draft, operator: FileOperator, readers: dict[int, list[int]]) -> int | None:
    """Where the one operator stands that reads a result which is no output."""
    (output,) = operator.outputs
    found = readers.get(output, [])
    return found[0] if len(found) == 1 and output not in draft.entry.outputs else None


def _dilated(draft: Draft, three: tuple[FileOperator, FileOperator, FileOperator]) -> tuple[FileOperator, ...]:
    """What stands for the three; nothing where they are no dilated convolution."""
    spread, convolution, gather = three
    if convolution.name not in _CONVOLUTIONS or gather.name != "BATCH_TO_SPACE_ND":
        return ()
    operands = [draft.data(index) for index in (*spread.inputs[1:], *gather.inputs[1:])]
    if any(each is None for each in operands) or len(draft.shape(spread.inputs[0])) != 4:
        return ()
    block, paddings, other, crops = (np.asarray(each).tolist() for each in operands)
    options, source, output = convolution.options, spread.inputs[0], gather.outputs[0]
    plain = all(options.get(name, 1) == 1 for name in ("StrideH", "StrideW", "DilationHFactor", "DilationWFactor"))
    grids = [draft.tensors[i].grid for i in (source, spread.outputs[0], convolution.outputs[0], output)]
    on_one_grid = grids[0] == grids[1] and grids[2] == grids[3]
    valid = options.get("Padding") == schema.Padding.VALID
    fit = plain and valid and on_one_grid and convolution.inputs[0] == spread.outputs[0]
    if block != other or len(block) != 2 or not fit:
        return ()
    count, height, width, channels = draft.shape(source)
    padded = (count, height + sum(paddings[0]), width + sum(paddings[1]), channels)
    batch, out_h, out_w, out_c = draft.shape(convolution.outputs[0])
    if batch != count * block[0] * block[1] or padded[1] % block[0] or padded[2] % block[1]:
        return ()
    written = []
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
    return tuple(written)


def _beside(operator: FileOperator, name: str, inputs: Sequence[int], output: int, table: str) -> FileOperator:
    """Another operator that stands for the same one of the file."""
    kind = getattr(schema.BuiltinOptions, table)
    return replace(
        operator, name=name, version=1, inputs=tuple(inputs), outputs=(output,), options_kind=kind, options={}
    )
