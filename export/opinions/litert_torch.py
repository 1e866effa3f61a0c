"""litert-torch's opinion: the same float network through its converter, and through its quantizer on our ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from export.graph.ir import Graph, View
from export.opinions.grids import counterparts
from export.optional_packages import ai_edge_quantizer_package, litert_torch_package
from qtorch.numbers.qparams import QParams

__all__ = ["converted_by_litert_torch", "keeps_order", "quantized_by_ai_edge", "ranges_by_name"]


def keeps_order(graph: Graph) -> bool:
    """Whether litert-torch can store the ends as the graph does: PyTorch's order, or images channels last."""
    views = [graph.view(name) for name in (*graph.inputs, *graph.outputs)]
    return all(view == View.identity(view.shape) or view.axes == (0, 3, 1, 2) for view in views)


def converted_by_litert_torch(net: nn.Module, graph: Graph, batch: int = 1) -> bytes:
    """A float network, in evaluation, as a float32 .tflite file; its ends in the graph's order if it can.

    Args:
        net: takes and gives what the graph stands for.
        graph: of the same network.
        batch: how many samples the file takes at a time.
    """
    package: Any = litert_torch_package()
    last = [[i for i, n in enumerate(names) if n in graph.views] for names in (graph.inputs, graph.outputs)]
    example = []
    for name in graph.inputs:
        shape = graph.values[name].shape if keeps_order(graph) else graph.view(name).shape
        example.append(torch.zeros(batch, *shape[1:]))
    if keeps_order(graph) and any(last):
        net = package.to_channel_last_io(net, args=last[0], outputs=last[1])
    return bytes(package.convert(net.eval(), tuple(example)).model_content())


def ranges_by_name(ours: bytes, theirs: bytes) -> dict[str, QParams]:
    """For the names of their file's run-time tensors the grids of ours; empty if the ops differ."""
    ours_by_name = counterparts(ours, theirs)
    return {name: QParams(mine.scale, mine.zero_point) for name, mine in ours_by_name.items() if mine.scale}


def quantized_by_ai_edge(
    model: bytes, twin: bytes, samples: tuple[np.ndarray, ...], ranges: Mapping[str, QParams]
) -> bytes:
    """A float32 .tflite file quantized to int8 by ai-edge-quantizer.

    Args:
        model: the file.
        twin: the same, for all samples at a time. The quantizer takes a moving average over batches, and one of
            batches of a single sample forgets nearly all of them.
        samples: of each input, as the file stores it, ``[N, ...]``; for calibration.
        ranges: grids that take the place of what calibration finds, by the names of tensors.
    """
    from ai_edge_litert.interpreter import Interpreter

    package: Any = ai_edge_quantizer_package()
    (signature,) = (interpreter := Interpreter(model_content=model)).get_signature_list()
    names = interpreter.get_signature_list()[signature]["inputs"]
    quantizer, of_twin = (
        package.quantizer.Quantizer(bytearray(file), package.recipe.static_wi8_ai8()) for file in (model, twin)
    )
    of_batch = of_twin.calibrate({signature: [dict(zip(names, samples, strict=True))]}, num_threads=1)
    # The twin's tensors may have other names, because a reshape of one sample may be none of many.
    statistics = {name: of_batch[tensor.name] for name, tensor in counterparts(twin, model).items()}
    for name, qparams in ranges.items():
        low, high = qparams.dequantize(np.array(qparams.code_range)).tolist()
        ends_of = {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        statistics[name] = ends_of
    return bytes(quantizer.quantize(statistics, enable_progress_report=False).quantized_model)
