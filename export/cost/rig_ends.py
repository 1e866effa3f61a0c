"""A model of any inputs and outputs for the rigs, which know one row of bytes in and one out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.graph.ir import Graph

__all__ = ["NAME", "rig_sources", "rows_of_bytes"]

#: The C identifier under which the rigs call it.
NAME = "rig"


def rows_of_bytes(arrays: Sequence[np.ndarray], samples: int) -> np.ndarray:
    """The bytes of each sample's arrays, one behind the other: int8 ``[samples, bytes]``.

    Example:
        >>> rows_of_bytes([np.array([[1], [2]], np.int16), np.array([[5], [6]], np.int8)], 2).tolist()
        [[1, 0, 5], [2, 0, 6]]
    """
    rows = [np.ascontiguousarray(array).reshape(samples, -1).view(np.int8) for array in arrays]
    return np.concatenate(rows, axis=1)


def rig_sources(graph: Graph, name: str) -> dict[str, str]:
    """``rig_model.h`` and ``rig_model.c``: ``<name>_invoke`` behind a function of bytes.

    One int8 tensor on either side is handed through. Others are copied to where they are aligned, as an interpreter's
    are, and that counts.
    """
    ends = {"in": graph.inputs, "out": graph.outputs}
    sizes = {side: sum(graph.values[each].bytes for each in names) for side, names in ends.items()}
    arrays: list[str] = []
    begin: list[str] = []
    end: list[str] = []
    arguments: list[str] = []
    for side, names in ends.items():
        if [graph.values[each].dtype for each in names] == ["int8"]:
            arguments.append(side)
            continue
        at = 0
        for i, value in enumerate(graph.values[each] for each in names):
            here = f"{side}_{i}"
            arrays.append(f"static {value.array_dtype}_t {here}[{value.elements}];")
            (begin if side == "in" else end).append(
                f"  memcpy({here}, in + {at}, sizeof {here});"
                if side == "in"
                else f"  memcpy(out + {at}, {here}, sizeof {here});"
            )
            arguments.append(here)
            at += value.bytes
    header = f"""\
#pragma once
#include <stdint.h>
#define RIG_INPUT_SIZE {sizes["in"]}
#define RIG_OUTPUT_SIZE {sizes["out"]}
void {NAME}_invoke(const int8_t *in, int8_t *out);
"""
    lines = [
        "#include <string.h>",
        '#include "rig_model.h"',
        f'#include "{name}_model.h"',
        *arrays,
        f"void {NAME}_invoke(const int8_t *in, int8_t *out) {{",
        *begin,
        f"  {name}_invoke({', '.join(arguments)});",
        *end,
        "}",
    ]
    return {"rig_model.h": header, "rig_model.c": "\n".join(lines) + "\n"}
