"""The ONNX form of an export: the file, ONNX Runtime's agreement, and what has to be there for it."""

from __future__ import annotations

import numpy as np

from export.forms.form import Choices, Form, FormFiles
from export.forms.onnx.parity import verified_onnx
from export.forms.onnx.runtime import ONNX_RUNTIME
from export.forms.onnx.writer import write_onnx
from export.graph.ir import Graph
from export.graph.names import speaking_names
from export.optional_packages import require
from export.parity.float_ends import fed
from qtorch.errors import BadConfiguration

__all__ = ["FORM", "onnx_files"]

#: Inputs on which every op of a network is judged; of more, as many that are spread evenly.
_MOST = 2_000


def _require(options: Choices) -> None:
    """Fail before training where the export could not write ONNX.

    Raises:
        BadConfiguration: a package is absent, or the export is of floats.
    """
    require("export.onnx", "onnx", "onnxruntime")
    if options.format != "int8":
        raise BadConfiguration(
            where="export.onnx",
            expected="format int8: the file says how integers stand for real numbers",
            got=f"format {options.format}",
            remedy="leave export.onnx or export.format out; for floats, torch.onnx.export writes a file",
        )


def onnx_files(name: str, graph: Graph, codes: tuple[np.ndarray, ...]) -> FormFiles:
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
    return FormFiles(
        {f"{name}.onnx": file},
        {ONNX_RUNTIME.name: agreement.outputs},
        {"bytes": len(file), **agreement.as_json()},
        f"{len(file):,} bytes of ONNX, every op within the steps that its row declares",
    )


def _try_out(name: str, graph: Graph) -> None:
    write_onnx(graph, name)


FORM = Form(option="onnx", require=_require, try_out=_try_out, write=onnx_files)
