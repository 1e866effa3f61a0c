"""Exports with float activations: float32, float16 weights, int8 weights (dynamic range); checked node by node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from export.device import headers
from export.engines import LITERT_REFERENCE, TFLM, Engine, tflm_available
from export.figures.device_network import DeviceNetwork
from export.figures.quantization_report import csv_text, quantization_report
from export.figures.stages import StageFigures, measured
from export.figures.subject import Subject
from export.graph.build import FloatFormat, float_graph
from export.graph.encoding import stored as stored_samples
from export.graph.ir import Graph
from export.interface.network_layouts import network_layouts
from export.interface.tensor_layout import TensorLayout
from export.parity.nodes import NodeParity, node_parity
from export.parity.outputs import compare_file
from export.tflite.writer import tflite_cell, write_tflite
from qtorch.capture.call_form import tensors_in
from qtorch.capture.samples import Samples, called, taken
from qtorch.post_training import equalize

__all__ = ["FloatFiles", "float_files", "refusal"]

_SAMPLES = 200


@dataclass(frozen=True)
class FloatFiles:
    """A network in a float format.

    Attributes:
        files: bytes by file name.
        test: test figures by stage.
        parity: what the comparisons found, for parity.json.
        layouts: how inputs and outputs lie.
    """

    files: Mapping[str, bytes]
    test: StageFigures
    parity: dict[str, Any]
    layouts: tuple[TensorLayout, ...]


def float_files(
    subject: Subject, name: str, kind: FloatFormat, input_layout: Literal["nhwc", "nchw"], equalized: bool = False
) -> FloatFiles:
    """The float network that quantized training started from, written and compared.

    What is compared are test inputs, or, without any, random ones. LiteRT's reference kernels judge every node; TFLite
    Micro does too in float32, and what it says to the others is reported: it has no kernels for them.

    Raises:
        ParityError: a node computes something else than its float function.
    """
    net, example = subject.networks.float_network(), subject.networks.example
    if equalized:
        net = equalize(net, example)
    graph = float_graph(net, example, kind, input_layout)
    model = write_tflite(graph)
    compare_file(graph, model)
    tested = subject.inputs.get("test")
    samples = _random_inputs(graph) if tested is None else taken(tested, slice(_SAMPLES))
    judged, runs_in_tflm = _judged(graph, model, kind, stored_samples(graph, samples))
    engine = TFLM if TFLM.name in judged else LITERT_REFERENCE
    test = measured(subject, {"float": net, kind: DeviceNetwork(graph, model, engine, subject.networks.trained)})
    parity = {
        "judges": {name: asdict(agreement) for name, agreement in judged.items()},
        "tflm_cannot_run_it": runs_in_tflm,
        "float_network_max_difference": _difference(net, graph, model, samples, engine),
    }
    layouts = network_layouts(subject.networks.trained, graph, subject.ends.interface)
    texts = headers.model_data(name, model, layouts)
    if kind == "float32":
        methods = tuple(dict.fromkeys(tflite_cell(node.op).resolver for node in graph.nodes))
        texts[f"{name}_op_resolver.h"] = headers.op_resolver(name, methods)
    if kind == "dynamic_range":
        floats = float_graph(net, example, "float32", input_layout).constants()
        trained = {constant: value.data for constant, value in floats.items() if value.data is not None}
        texts["quantization_report.csv"] = csv_text(quantization_report(graph, trained, ()))
    files = {f"{name}.tflite": model, **{file: text.encode() for file, text in texts.items()}}
    return FloatFiles(files, test, parity, layouts)


def _judged(
    graph: Graph, model: bytes, kind: FloatFormat, stored: tuple[np.ndarray, ...]
) -> tuple[dict[str, NodeParity], str]:
    """What engines say of every node, by name; and why TFLite Micro can't run the model, if it can't."""
    judged = {LITERT_REFERENCE.name: node_parity(graph, model, stored, LITERT_REFERENCE)}
    if not tflm_available():
        return judged, ""
    if kind != "float32":
        return judged, refusal(model, stored)
    return judged | {TFLM.name: node_parity(graph, model, stored, TFLM)}, ""


def _random_inputs(graph: Graph) -> Samples:
    """float32 ``[N, ...]`` as the network reads them: the normal distribution's, which networks are made for."""
    rng, inputs = np.random.default_rng(0), []
    for name in graph.inputs:
        drawn = rng.normal(size=(_SAMPLES, *graph.values[name].shape[1:])).astype(np.float32)
        inputs.append(torch.from_numpy(np.ascontiguousarray(graph.view(name).restore(drawn))))
    return tuple(inputs) if len(inputs) > 1 else inputs[0]


def refusal(model: bytes, stored: tuple[np.ndarray, ...]) -> str:
    """Why TFLite Micro can't run a model; empty if it can."""
    try:
        TFLM.run(model, tuple(array[:1] for array in stored))
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return ""


def _difference(net: nn.Module, graph: Graph, model: bytes, inputs: Samples, engine: Engine) -> float:
    with torch.no_grad():
        both = [called(each, inputs) for each in (net, DeviceNetwork(graph, model, engine))]
    outputs = (tensors_in(part) for part in both)
    return max(float((mine - device).abs().max()) for mine, device in zip(*outputs, strict=True))
