"""What a graph can't have and files may: an output that is there twice, and numbers without an axis."""

from __future__ import annotations

from dataclasses import replace

from ai_edge_litert import schema_py_generated as schema

from export.tflite.contents import FileContents, FileOperator, FileTensor

__all__ = ["with_each_output_once", "with_numbers_as_vectors"]


def with_numbers_as_vectors(contents: FileContents) -> FileContents:
    """The file with an axis of size 1 where a tensor that is computed has a scale and none: it counts samples."""
    entry, *others = contents.subgraphs
    if not any(map(_is_number, entry.tensors)):
        return contents
    tensors = tuple(replace(each, shape=(1,), signature=()) if _is_number(each) else each for each in entry.tensors)
    return replace(contents, subgraphs=(replace(entry, tensors=tensors), *others))


def _is_number(tensor: FileTensor) -> bool:
    return not tensor.shape and bool(tensor.scale) and not tensor.constant_bytes and not tensor.variable


def with_each_output_once(contents: FileContents) -> FileContents:
    """The file with a copy for each output that stands among the outputs before."""
    entry, *others = contents.subgraphs
    if len(set(entry.outputs)) == len(entry.outputs):
        return contents
    tensors, operators, outputs = list(entry.tensors), list(entry.operators), list[int]()
    for index in entry.outputs:
        if index in outputs:
            source, index = tensors[index], len(tensors)
            tensors.append(replace(source, index=index, buffer=0, constant_bytes=0, variable=False))
            options = {"NewShape": source.shape}
            kind = schema.BuiltinOptions.ReshapeOptions
            operators.append(FileOperator("RESHAPE", 1, (source.index,), (index,), kind, options, len(operators)))
        outputs.append(index)
    entry = replace(entry, tensors=tuple(tensors), operators=tuple(operators), outputs=tuple(outputs))
    return replace(contents, subgraphs=(entry, *others))
