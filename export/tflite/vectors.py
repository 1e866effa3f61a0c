"""Operators whose kernels take one sample as a vector, where a tensor here has an axis of samples in front of it.

The writer leaves that axis out of tensors which such operators alone touch, and puts a RESHAPE between them and all
others; here they are found again. What such an operator keeps inside, from one run to the next, becomes a value.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.tflite.file_data import FileContents, FileOperator, FileSubgraph, FileTensor
from export.tflite.variables import Variable
from export.tflite.vector_cells import vector_cells

__all__ = ["with_kept", "without_vectors"]


def without_vectors(subgraph: FileSubgraph) -> tuple[FileSubgraph, frozenset[int]]:
    """The subgraph that the writer wrote, with the axis in front everywhere; and the tensors that lay between."""
    cells, tensors = vector_cells(), list(subgraph.tensors)
    taking = [operator for operator in subgraph.operators if operator.name in cells]
    running = {index for each in taking for index in (*each.inputs, *each.outputs) if index >= 0}
    vectors = {index for index in running if not tensors[index].constant_bytes}
    if not vectors:
        return subgraph, frozenset()
    for index in vectors:
        tensors[index] = replace(tensors[index], shape=(1, *tensors[index].shape))
    instead, operators = dict[int, int](), list[FileOperator]()
    for operator in subgraph.operators:
        ends = (*operator.inputs[:1], *operator.outputs)
        if operator.name != "RESHAPE" or not vectors.intersection(ends):
            operators.append(operator)
        else:
            source, output = ends
            instead |= {output: source} if output in vectors else {source: output}

    def each(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(instead.get(index, index) for index in indices)

    known = [replace(one, inputs=each(one.inputs), outputs=each(one.outputs)) for one in operators]
    return replace(subgraph, tensors=tuple(tensors), operators=tuple(known)), frozenset(instead)


def with_kept(
    contents: FileContents, variables: tuple[Variable, ...]
) -> tuple[FileContents, tuple[Variable, ...]]:  # fmt: skip
    """The file with a tensor for what an operator keeps inside, as its last input, and one variable more for each."""
    entry, *others = contents.subgraphs
    tensors, operators, found = list(entry.tensors), list[FileOperator](), list[Variable]()
    for operator in entry.operators:
        cell = vector_cells().get(operator.name)
        kept = () if cell is None else cell.kept
        if len(operator.outputs) <= len(kept):
            operators.append(operator)
            continue
        added = []
        for role, after in zip(kept, operator.outputs[len(operator.outputs) - len(kept) :], strict=True):
            made: FileTensor = tensors[after]
            added.append(len(tensors))
            tensors.append(replace(made, index=len(tensors), name=""))
            found.append(Variable(role, added[-1], after, np.zeros(made.shape, made.dtype)))
        operators.append(replace(operator, inputs=(*operator.inputs, *added)))
    if not found:
        return contents, variables
    entry = replace(entry, tensors=tuple(tensors), operators=tuple(operators))
    return replace(contents, subgraphs=(entry, *others)), (*variables, *found)
