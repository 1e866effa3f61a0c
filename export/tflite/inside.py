"""Files whose constants lie behind the flatbuffer, with all of them inside, where TFLite Micro reads them.

Writers of large models put constants there (``Buffer.offset`` and ``size``); a TFLite Micro that knows no such fields
takes the buffers to be empty, and computes with whatever lies in its arena.
"""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.tflite.contents import read_contents
from export.tflite.writer import IDENTIFIER

__all__ = ["with_constants_inside"]


def with_constants_inside(model: bytes, where: str = "model") -> tuple[bytes, int]:
    """The same model with every constant in the flatbuffer, and how many of them were not; itself, if all were.

    Args:
        model: the whole file.
        where: what to call it in an error.

    Raises:
        BadModelFile: truncated, damaged, or no .tflite file.
    """
    buffers = read_contents(model, where).buffers
    outside = [index for index, buffer in enumerate(buffers) if buffer.outside]
    if not outside:
        return model, 0
    whole = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(model)))
    for index in outside:
        found = whole.buffers[index]
        found.data, found.offset, found.size = np.frombuffer(buffers[index].data, np.uint8), 0, 0
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), IDENTIFIER)
    return bytes(builder.Output()), len(outside)
