"""Ends of a graph whose file has uint8: codes there and here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.graph.ir import Graph
from export.tflite.equivalents.shifted_codes import shifted_codes

__all__ = ["in_other_codes"]


def in_other_codes(graph: Graph, names: Sequence[str], arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Inputs or outputs of a graph as its file has them, or the file's as the graph has them; others as they are.

    Args:
        graph: as it was read from the file.
        names: of the ends.
        arrays: of each.
    """
    return tuple(
        shifted_codes(array) if name in graph.shifted else array for name, array in zip(names, arrays, strict=True)
    )
