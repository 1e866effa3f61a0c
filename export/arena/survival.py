"""Whether an inference leaves its inputs as they were.

TFLite Micro gives an input's memory to later tensors and to kernels' scratch buffers, as soon as no operator reads it
any more. Then a second inference without filling the input again computes something else.
"""

from __future__ import annotations

from export.arena.arena import demand, file_contents
from export.arena.kernels import Kernels
from export.arena.plan import placed
from export.tflite.lifetimes import shared_by_reshape
from export.tflite.offline_plan import stored_offsets

__all__ = ["inputs_survive"]


def inputs_survive(model: bytes, kernels: Kernels) -> bool:
    """Whether every input of a file holds its bytes until it is filled again.

    ``False`` where that is not known: of several subgraphs.

    Args:
        model: a .tflite file; a plan that it has is followed.
        kernels: library and processor, whose scratch buffers lie among the tensors.

    Raises:
        BadModelFile: as :func:`export.tflite.contents.read_contents`.
    """
    contents = file_contents(model)
    if len(contents.subgraphs) > 1:
        return False
    graph, asked = contents.subgraphs[0], demand(model, kernels)
    buffers = asked.buffers(stored_offsets(contents))
    offsets = placed(buffers)
    # What RESHAPE leaves where it is holds the input's own bytes.
    copies = list(shared_by_reshape(graph))
    for index in graph.inputs:
        if index not in asked.numbers:
            continue
        same = {index}
        for source, target in copies:
            same |= {target} if source in same else set()
        at = asked.numbers.index(index)
        begin, end = offsets[at], offsets[at] + buffers[at].size
        for other, (offset, buffer) in enumerate(zip(offsets, buffers, strict=True)):
            own = other < len(asked.numbers) and asked.numbers[other] in same and offset == begin
            if not own and offset < end and begin < offset + buffer.size:
                return False
    return True
