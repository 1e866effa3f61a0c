"""One network's files by this project and by the converters of the opinions environment, and how far they part."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import qtorch
from benchmarks.mlperf_networks import REFERENCES
from benchmarks.peers.serving import serve
from export.engines import LITERT_REFERENCE
from export.forms.onnx.parity import onnx_parity
from export.forms.onnx.writer import write_onnx
from export.graph.build import float_graph, integer_graph
from export.graph.encoding import codes_of, stored
from export.graph.interpret import interpret
from export.opinions.grids import grid_agreement, operators
from export.opinions.litert_torch import converted_by_litert_torch, quantized_by_ai_edge, ranges_by_name
from export.opinions.tensorflow import quantized_by_tensorflow
from export.optional_packages import EXTRAS, distribution_version
from export.tflite.writer import write_tflite

_SAMPLES = 100


def _versions() -> dict[str, str]:
    return {package: distribution_version(package) for package in (*EXTRAS, "ai_edge_litert", "torch")}


def _files(network: str) -> list[dict[str, Any]]:
    """One object for each file of the network of that label.

    ``outputs`` are those of 100 noisy samples, against the integer reference, which TFLite Micro equals; ``None``
    where the file's input has a grid of its own, so that the same codes mean something else, or is of floats.
    """
    (reference,) = (each for each in REFERENCES if each.label == network)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, shape = reference.network(), reference.shape
    x, y = (torch.randn(_SAMPLES, *shape) + torch.randn(_SAMPLES, *[1] * len(shape)) for _ in range(2))
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = None  # the mean of all batches
    with torch.no_grad():
        net(x)
    net.eval()
    qat = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, [x])
    graph = integer_graph(qat.eval())
    codes, calibration = codes_of(graph, y), stored(graph, x)
    wanted, ours = interpret(graph, codes)[graph.outputs[0]], write_tflite(graph)

    def of(file: str, model: bytes, compared: bool = True) -> dict[str, Any]:
        found: dict[str, Any] = {"file": file, "bytes": len(model), "ops": len(operators(model))}
        grids = grid_agreement(ours, model) if compared else None
        if grids is None:
            return found
        (got,) = LITERT_REFERENCE.run(model, codes)
        apart = np.abs(got.astype(np.int64) - wanted)
        return {
            **found,
            "grids": {"tensors": grids.tensors, "equal": grids.equal, "largest": grids.largest},
            "engine": LITERT_REFERENCE.name,
            "outputs": _outputs(apart.size, int((apart > 0).sum()), int(apart.max())),
        }

    onnx = write_onnx(graph)
    by_onnx = onnx_parity(graph, onnx, codes)
    plain = write_tflite(float_graph(net, x[:1], "float32", "nhwc"))
    source, twin = (converted_by_litert_torch(net, graph, batch) for batch in (1, _SAMPLES))
    ranges = ranges_by_name(ours, source)
    quantized = quantized_by_ai_edge(source, twin, calibration, ranges)
    at_the_end = by_onnx.outputs
    return [
        of("qtorch_int8", ours),
        of("tensorflow_int8", quantized_by_tensorflow(plain, calibration), compared=False),
        # Without counterparts there is nothing to feed it, and its input's grid is its own too.
        of("ai_edge_int8", quantized, compared=bool(ranges)),
        {
            "file": "qtorch_onnx",
            "bytes": len(onnx.file),
            "engine": "onnxruntime",
            "outputs": _outputs(at_the_end.outputs, at_the_end.mismatches, at_the_end.max_lsb),
            "largest_lsb_of_an_op": by_onnx.largest,
        },
        of("qtorch_float32", plain),
        of("litert_torch_float32", source),
    ]


def _outputs(count: int, mismatches: int, max_lsb: int) -> dict[str, int]:
    return {"count": count, "mismatches": mismatches, "max_lsb": max_lsb}


if __name__ == "__main__":
    serve(versions=_versions, files=_files)
