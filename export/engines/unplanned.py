"""A file without the plan of TFLite Micro's arena that it may carry: see :mod:`export.tflite.offline_plan`.

TFLite Micro's planner that keeps every tensor, for whoever looks into them, takes no offsets: it refuses to allocate
the tensors of a file that says any (``linear_memory_planner.h``).
"""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

__all__ = ["PLAN", "without_plan"]

#: What the metadata is called.
PLAN = "OfflineMemoryAllocation"


def without_plan(model: bytes) -> bytes:
    """The same file with another name in the place of the plan's, so that nobody finds it; itself, if there is none.

    Args:
        model: a whole .tflite file.
    """
    if PLAN.encode() not in model:
        return model
    changed = bytearray(model)
    root = schema.Model.GetRootAs(changed)
    for index in range(root.MetadataLength()):
        table = root.Metadata(index)._tab
        field = table.Offset(4)
        if not field:
            continue
        string = table.Indirect(table.Pos + field)
        begin = string + 4
        if bytes(changed[begin : begin + len(PLAN) + 1]) == PLAN.encode() + b"\0":
            changed[begin : begin + 1] = b"-"
    return bytes(changed)
