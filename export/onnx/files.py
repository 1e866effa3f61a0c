"""The ONNX form of an export: the file, ONNX Runtime's agreement, and what has to be there for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.graph.ir import Graph
from export.graph.names import speaking_names
from export.onnx.parity import verified_onnx
from export.onnx.runtime import ONNX_RUNTIME
from export.optional_packages import require
from export.parity.float_ends import fed
from export.parity.outputs import EngineParity
from qtorch.errors import BadConfiguration

__all__ = ["OnnxFiles", "onnx_files", "require_onnx"]

#: Inputs on which every op of a network is judged; of more, as many that are spread evenly.
_MOST = 2_000


@dataclass(frozen=True)
class OnnxFiles:
    """A network in ONNX.

    Attributes:
        files: bytes by file name.
        engines: what ONNX Runtime computes, for the report.
        figures: bytes, and the largest distance of each op.
    """

    files: Mapping[str, bytes]
    engines: Mapping[str, EngineParity]
    figures: Mapping[str, Any]


def require_onnx(kind: str) -> None:
    """Fail before training where the export could not write ONNX.

    Raises:
        BadConfiguration: a package is absent, or the export is of floats.
    """
    require("export.onnx", "onnx", "onnxruntime")
    if kind != "int8":
        raise BadConfiguration(
            where="export.onnx",
            expected="format int8: the file says how integers stand for real numbers",
            got=f"format {kind}",
            remedy="leave export.onnx or export.format out; for floats, torch.onnx.export writes a file",
        )


def onnx_files(name: str, graph: Graph, codes: tuple[np.ndarray, ...]) -> OnnxFiles:
    """A graph as ``<name>.onnx``, verified; its tensors are called as in ``<name>_named.tflite``.

    Args:
        name: of the model.
        graph: with integer or float32 ends.
        codes: samples of each input, integers; a graph with float32 inputs gets what they stand for.

    Raises:
        UnsupportedLayer: an op has no form in ONNX.
        ParityError: the file is not the graph, or an op lies further off than its row declares.
    """
    step = -(-len(codes[0]) // _MOST)
    inputs = fed(graph, tuple(array[::step] for array in codes))
    file, agreement = verified_onnx(graph.renamed(speaking_names(graph)), name, inputs)
    return OnnxFiles(
        {f"{name}.onnx": file}, {ONNX_RUNTIME.name: agreement.outputs}, {"bytes": len(file), **agreement.as_json()}
    )
