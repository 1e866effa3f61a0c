"""A model of integers as it is written: its graph, its file, and how inputs and outputs lie."""

from __future__ import annotations

from dataclasses import dataclass

from export.graph.ir import Graph
from export.interface.tensor_layout import TensorLayout
from export.tflite.metadata import ModelMetadata
from export.tflite.model_file import ModelFile

__all__ = ["WrittenModel"]


@dataclass(frozen=True)
class WrittenModel:
    """What firmware that runs TFLite Micro is built from.

    Attributes:
        graph: integers at its ends, in forms that the board's TFLite Micro computes rightly.
        final: the same, with the ends that were asked for.
        file: of ``final``.
        metadata: what the file says of itself; ``None`` where it says nothing.
        layouts: of the inputs and outputs of ``final``.
    """

    graph: Graph
    final: Graph
    file: ModelFile
    metadata: ModelMetadata | None
    layouts: tuple[TensorLayout, ...]
