"""What a graph can't have and files may: an output that is there twice, and numbers without an axis."""

from __future__ import annotations

from dataclasses import replace

from export.tflite.equivalents.draft import Draft
from export.tflite.file_data import FileContents, FileTensor

__all__ = ["with_each_output_once", "with_numbers_as_vectors"]


def with_numbers_as_vectors(contents: FileContents) -> FileContents:
    """The file with an axis of size 1, which counts samples, in each number that has none.

    So it is with inputs and outputs, and with what is computed and has a scale; what has none is arithmetic of shapes.
    """
    entry, *others = contents.subgraphs
    ends = {*entry.inputs, *entry.outputs}
    numbers = {each.index for each in entry.tensors if each.index in ends or _is_computed(each)}
    numbers = {index for index in numbers if not entry.tensors[index].shape and not entry.tensors[index].variable}
    if not numbers:
        return contents
    tensors = tuple(
        replace(each, shape=(1,), signature=()) if each.index in numbers else each for each in entry.tensors
    )
    return replace(contents, subgraphs=(replace(entry, tensors=tensors), *others))


def _is_computed(tensor: FileTensor) -> bool:
    return bool(tensor.scale) and not tensor.constant_bytes


def with_each_output_once(contents: FileContents) -> FileContents:
    """The file with a copy for each output that stands among the outputs before."""
    entry, *others = contents.subgraphs
    if len(set(entry.outputs)) == len(entry.outputs):
        return contents
    draft, outputs = Draft(contents), list[int]()
    draft.operators = list(entry.operators)
    draft.number = len(entry.operators)
    for index in entry.outputs:
        copy = draft.computed(index, draft.shape(index)) if index in outputs else index
        if copy != index:
            draft.reshape(index, copy)
        outputs.append(copy)
    written = draft.finished()
    return replace(written, subgraphs=(replace(written.subgraphs[0], outputs=tuple(outputs)), *others))
