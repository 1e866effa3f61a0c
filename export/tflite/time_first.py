"""Sequences whose first axis is time: made into those whose first axis is the batch, as rows have them."""

from __future__ import annotations

from dataclasses import replace

from ai_edge_litert import schema_py_generated as schema

from export.tflite.contents import FileContents, FileOperator, FileTensor

__all__ = ["batch_first"]

_LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"


def batch_first(contents: FileContents) -> FileContents:
    """The same file, where each LSTM of a single sequence stands between two RESHAPEs if time is its first axis.

    Raises:
        ValueError: it has several sequences side by side; the message names it.
    """
    graph = contents.subgraphs[0]
    tensors, operators = list(graph.tensors), list[FileOperator]()
    for number, operator in enumerate(graph.operators):
        if operator.name != _LSTM or not operator.options.get("TimeMajor") or len(operator.inputs) < 1:
            operators.append(operator)
            continue
        source, output = tensors[operator.inputs[0]], tensors[operator.outputs[0]]
        if any(len(each.shape) != 3 or each.shape[1] != 1 for each in (source, output)):
            raise ValueError(
                f"operator {number} ({_LSTM}) with time as the first axis of {source.shape}; expected one sequence, or "
                f"the batch as the first axis. Convert it with time_major=False"
            )
        turned = [_turned(tensors, each) for each in (source, output)]
        options = {**operator.options, "TimeMajor": False}
        inputs, outputs = (turned[0], *operator.inputs[1:]), (turned[1], *operator.outputs[1:])
        operators += [
            _reshape(tensors, source.index, turned[0]),
            replace(operator, inputs=inputs, outputs=outputs, options=options),
            _reshape(tensors, turned[1], output.index),
        ]
    if len(operators) == len(graph.operators):
        return contents
    pure = replace(graph, tensors=tuple(tensors), operators=tuple(operators))
    return replace(contents, subgraphs=(pure, *contents.subgraphs[1:]))


def _turned(tensors: list[FileTensor], tensor: FileTensor) -> int:
    """A new tensor ``[1, steps, ...]`` beside one of ``[steps, 1, ...]``."""
    steps, one, size = tensor.shape
    index = len(tensors)
    tensors.append(replace(tensor, index=index, shape=(one, steps, size), signature=(), buffer=0, constant_bytes=0))
    return index


def _reshape(tensors: list[FileTensor], source: int, output: int) -> FileOperator:
    kind = schema.BuiltinOptions.ReshapeOptions
    return FileOperator("RESHAPE", 1, (source,), (output,), kind, {"NewShape": tensors[output].shape})
