"""``python -m export verify MODEL.tflite [--against CHECKPOINT]``: the parity check of a file, repeated."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from torch import fx

from export.bundle.float_formats import refusal
from export.bundle.manifest import require_unchanged
from export.commands.options import parsed
from export.commands.outcome_page import agreement_table
from export.commands.summary import read_model
from export.console.page import Line
from export.console.terminal import show
from export.engines import LITERT_REFERENCE, TFLM, tflm_absent, tflm_available
from export.graph.build import InputLayout, build
from export.graph.ir import Graph
from export.parity.float_ends import codes_behind, fed, float_outputs_parity
from export.parity.nodes import node_parity
from export.parity.outputs import compare_graphs, corner_codes, parity
from export.tflite.reader import read_tflite
from export.tflite.stored_proof import require_stored_proof
from export.tflite.summary import summarize
from qtorch.errors import ParityError
from qtorch.lightning.checkpoint import load_run

__all__ = ["verify_command"]

_RANDOM_INPUTS = 10_000
_FLOAT_INPUTS = 200


def verify_command(arguments: Sequence[str]) -> None:
    """Compare a file with the integer reference, and with a checkpoint if one is given.

    Raises:
        BadInput: no file, or one that is no model.
        ParityError: an engine computes something else, or the file is another network's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m export verify", description="Repeat the parity check of a model file."
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--against", type=Path, help="a checkpoint whose every scale, weight and bias must be in it")
    options = parsed(parser, arguments)
    model = read_model(options.model)
    graph = read_tflite(model, str(options.model))
    require_stored_proof(model, summarize(model, str(options.model)), str(options.model))
    unchanged = require_unchanged(options.model)
    if unchanged:
        show([Line(f"{options.model}: {unchanged} files are as the manifest beside it lists them")])
    if options.against is not None:
        _require_same(graph, load_run(options.against).module.net)  # type: ignore[arg-type]
        show([Line(f"{options.model}: every scale, zero point, weight and bias is the checkpoint's")])
    if graph.values[graph.inputs[0]].qparams is None:
        _verify_float(graph, model)
        return
    codes = corner_codes(graph, _RANDOM_INPUTS)
    report = parity(graph, model, codes)
    show([agreement_table(report.engines, report.judges, report.not_run), *_without_tflm()])


def _verify_float(graph: Graph, model: bytes) -> None:
    """A model with float32 inputs: node by node where it computes in float, else its outputs, exactly."""
    behind = codes_behind(graph)
    if behind is None:
        rng = np.random.default_rng(0)
        drawn = tuple(rng.normal(size=(_FLOAT_INPUTS, *graph.values[n].shape[1:])).astype("f4") for n in graph.inputs)
        _verify_nodes(graph, model, drawn)
        return
    inputs = fed(graph, corner_codes(replace(graph, inputs=behind), _RANDOM_INPUTS))
    # Without TFLite Micro node by node too, because some of LiteRT's kernels may differ from their reference by what
    # their rows declare.
    if graph.has_float_nodes or not tflm_available():
        _verify_nodes(graph, model, inputs)
        return
    float_outputs_parity(graph, model, inputs, f"integer reference on {{wrong}} outputs of {len(inputs[0])} inputs")
    show([Line(f"{TFLM.name}: {len(inputs[0]):,} float32 inputs, all exact")])


def _without_tflm() -> list[Line]:
    """Who judged where TFLite Micro does not run; nothing where it does."""
    absent = tflm_absent()
    if not absent:
        return []
    return [Line(f"{absent}: LiteRT's reference kernels judged, against single rounding", "attention")]


def _verify_nodes(graph: Graph, model: bytes, inputs: tuple[np.ndarray, ...]) -> None:
    """In LiteRT, and in TFLite Micro if it has the kernels."""
    engines = [LITERT_REFERENCE]
    if tflm_available() and not refusal(model, inputs):
        engines.append(TFLM)
    for engine in engines:
        tally = node_parity(graph, model, inputs, engine)
        said = (
            f"{tally.inputs:,} inputs, {tally.integer_outputs:,} integers exact, {tally.float_outputs:,} float results"
        )
        show([Line(f"{engine.name}: {said} as their layers' functions")])
    show(_without_tflm())


def _require_same(stored: Graph, network: fx.GraphModule) -> None:
    """Either way of storing the inputs is the checkpoint's."""
    results = []
    io: Literal["int8", "float32"] = "float32" if stored.values[stored.inputs[0]].qparams is None else "int8"
    layouts: tuple[InputLayout, ...] = ("nhwc", "nchw")
    for input_layout in layouts:
        expected = build(network, "int8", input_layout, io)
        results.append(compare_graphs(expected, stored).first)
    if all(results):
        raise ParityError(f"the file is not the checkpoint's: first difference {results[0]}")
