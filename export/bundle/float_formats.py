"""Exports with float activations: float32, float16 weights, int8 weights (dynamic range); checked node by node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from export.device import headers
from export.engines import Engine
from export.figures.device_network import DeviceNetwork
from export.figures.quantization_report import csv_text, quantization_report
from export.figures.stages import StageFigures, measured
from export.figures.subject import Subject
from export.graph.build import FloatFormat, float_graph
from export.graph.encoding import stored as stored_samples
from export.graph.ir import Graph
from export.interface.network_layouts import network_layouts
from export.interface.tensor_layout import TensorLayout
from export.parity.judges import judges_here, may_judge
from export.parity.nodes import node_parity
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

    What is compared are test inputs, or, without any, random ones. Every engine that may judge does so node by node, in
    float32 and where it has the kernels; what the others say, TFLite Micro among them, is reported.

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
    narrow, stored = kind != "float32", stored_samples(graph, samples)
    judging = judges_here(narrow_weights=narrow)
    engine = judging[0]
    judged = {each.name: node_parity(graph, model, stored, each) for each in reversed(judging)}
    test = measured(subject, {"float": net, kind: DeviceNetwork(graph, model, engine, subject.networks.trained)})
    parity = {
        "judges": {name: asdict(agreement) for name, agreement in judged.items()},
        **_refusals(model, stored, narrow),
        "float_network_max_difference": _difference(net, graph, model, samples, engine),
    }
    layouts = network_layouts(subject.networks.trained, graph, subject.ends.interface)
    texts = headers.model_data(name, model, layouts)
    if kind == "float32":
        methods = tuple(dict.fromkeys(m for node in graph.nodes for m in tflite_cell(node.op).registered(node.attrs)))
        texts[f"{name}_op_resolver.h"] = headers.op_resolver(name, methods)
    if kind == "dynamic_range":
        floats = float_graph(net, example, "float32", input_layout).constants()
        trained = {constant: value.data for constant, value in floats.items() if value.data is not None}
        texts["quantization_report.csv"] = csv_text(quantization_report(graph, trained, ()))
    files = {f"{name}.tflite": model, **{file: text.encode() for file, text in texts.items()}}
    return FloatFiles(files, test, parity, layouts)


def _refusals(model: bytes, stored: tuple[np.ndarray, ...], narrow: bool) -> dict[str, str]:
    """Why engines that lack kernels for narrow weights can't run the model; empty if they can, or aren't here."""
    return {
        f"{each.name}_cannot_run_it": refusal(each, model, stored) if narrow and not each.absent() else ""
        for each in may_judge()
        if not each.narrow_weights
    }


def _random_inputs(graph: Graph) -> Samples:
    """``[N, ...]`` as the network reads them: the normal distribution's, which networks are made for; any indices."""
    rng, inputs = np.random.default_rng(0), []
    for name in graph.inputs:
        shape = (_SAMPLES, *graph.values[name].shape[1:])
        if graph.values[name].of_indices:
            inputs.append(torch.from_numpy(rng.integers(*graph.code_range(name), shape, endpoint=True)))
            continue
        drawn = rng.normal(size=shape).astype(np.float32)
        inputs.append(torch.from_numpy(np.ascontiguousarray(graph.view(name).restore(drawn))))
    return tuple(inputs) if len(inputs) > 1 else inputs[0]


def refusal(engine: Engine, model: bytes, stored: tuple[np.ndarray, ...]) -> str:
    """Why an engine can't run a model; empty if it can."""
    try:
        engine.run(model, tuple(array[:1] for array in stored))
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return ""


def _difference(net: nn.Module, graph: Graph, model: bytes, inputs: Samples, engine: Engine) -> float:
    with torch.no_grad():
        both = [called(each, inputs) for each in (net, DeviceNetwork(graph, model, engine))]
    outputs = (tensors_in(part) for part in both)
    return max(float((mine - device).abs().max()) for mine, device in zip(*outputs, strict=True))
