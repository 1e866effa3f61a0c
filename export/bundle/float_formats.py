"""Exports with float activations: float32, float16 weights, int8 weights (dynamic range); checked node by node."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from export.device import headers
from export.engines import LITERT_REFERENCE, TFLM, Engine, tflm_available
from export.figures.quantization_report import csv_text, quantization_report
from export.figures.stages import DeviceNetwork, StageFigures, float_network, measured
from export.graph.build import FloatFormat, float_graph
from export.graph.encoding import stored as stored_samples
from export.graph.ir import Graph
from export.interface.tensor_layout import TensorLayout
from export.lightning_run.real_inputs import RealInputs
from export.lightning_run.run_layouts import run_layouts
from export.parity.nodes import NodeParity, node_parity
from export.parity.outputs import compare_file
from export.tflite.writer import tflite_cell, write_tflite
from qtorch.capture.call_form import tensors_in
from qtorch.capture.samples import Samples, called, taken
from qtorch.lightning.callback import network_of
from qtorch.lightning.checkpoint import Run
from qtorch.post_training import equalize

__all__ = ["real_files", "refusal"]

_SAMPLES = 200


def real_files(
    run: Run,
    inputs: RealInputs,
    name: str,
    kind: FloatFormat,
    input_layout: Literal["nhwc", "nchw"],
    equalized: bool = False,
) -> tuple[dict[str, bytes], StageFigures, dict[str, Any], tuple[TensorLayout, ...]]:
    """Files, test figures by stage, what the comparisons found, and how inputs and outputs lie.

    What is compared are test inputs, or, without any, random ones.

    The float network is the one that quantized training started from. LiteRT's reference kernels judge every node;
    TFLite Micro does too in float32, and what it says to the others is reported: it has no kernels for them.

    Raises:
        ParityError: a node computes something else than its float function.
    """
    net, example = float_network(run), run.module.example_input_array
    if equalized:
        net = equalize(net, example)
    graph = float_graph(net, example, kind, input_layout)
    model = write_tflite(graph)
    compare_file(graph, model)
    tested = inputs.get("test")
    samples = _random_inputs(graph) if tested is None else taken(tested, slice(_SAMPLES))
    stored = stored_samples(graph, samples)
    judged: dict[str, NodeParity] = {LITERT_REFERENCE.name: node_parity(graph, model, stored, LITERT_REFERENCE)}
    runs_in_tflm = ""
    if tflm_available():
        if kind == "float32":
            judged[TFLM.name] = node_parity(graph, model, stored, TFLM)
        else:
            runs_in_tflm = refusal(model, stored)
    engine = TFLM if TFLM.name in judged else LITERT_REFERENCE
    test = measured(run, inputs, {"float": net, kind: DeviceNetwork(graph, model, engine, network_of(run.module))})
    parity = {
        "judges": {each: asdict(found) for each, found in judged.items()},
        "tflm_cannot_run_it": runs_in_tflm,
        "float_network_max_difference": _difference(net, graph, model, samples, engine),
    }
    methods = tuple(dict.fromkeys(tflite_cell(node.op).resolver for node in graph.nodes))
    files = {f"{name}.tflite": model}
    layouts = run_layouts(run, graph)
    texts = headers.model_data(name, model, layouts)
    if kind == "float32":
        texts[f"{name}_op_resolver.h"] = headers.op_resolver(name, methods)
    if kind == "dynamic_range":
        floats = float_graph(net, example, "float32", input_layout).constants()
        trained = {constant: value.data for constant, value in floats.items() if value.data is not None}
        texts["quantization_report.csv"] = csv_text(quantization_report(graph, trained, ()))
    return files | {file: text.encode() for file, text in texts.items()}, test, parity, layouts


def _random_inputs(graph: Graph) -> Samples:
    """float32 ``[N, ...]`` as the network reads them: the normal distribution's, which networks are made for."""
    rng, found = np.random.default_rng(0), []
    for name in graph.inputs:
        drawn = rng.normal(size=(_SAMPLES, *graph.values[name].shape[1:])).astype(np.float32)
        found.append(torch.from_numpy(np.ascontiguousarray(graph.view(name).restore(drawn))))
    return tuple(found) if len(found) > 1 else found[0]


def refusal(model: bytes, stored: tuple[np.ndarray, ...]) -> str:
    """Why TFLite Micro can't run a model; empty if it can."""
    try:
        TFLM.run(model, tuple(array[:1] for array in stored))
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return ""


def _difference(net: nn.Module, graph: Graph, model: bytes, inputs: Samples, engine: Engine) -> float:
    with torch.no_grad():
        found = [called(each, inputs) for each in (net, DeviceNetwork(graph, model, engine))]
    outputs = (tensors_in(part) for part in found)
    return max(float((mine - device).abs().max()) for mine, device in zip(*outputs, strict=True))
