"""Everything a firmware build needs, made in memory and verified; :mod:`export.bundle.folder` writes it.

A bundle is a mapping from file name to bytes. Nothing touches the output folder until every check has passed.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from torch import fx

from export.boards import board
from export.bundle.float_formats import real_files
from export.bundle.manifest import TIMINGS
from export.c.compiled import compiled_c, not_run
from export.c.model import c_model
from export.c_language.names import c_identifier
from export.console.progress import Stage, silent
from export.cost.board_cost import board_cost
from export.cost.board_share import board_shares
from export.cost.choice_cost import choice_costs
from export.cost.machines import all_multiply_accumulates
from export.device import headers
from export.device.firmware_project import firmware_project, require_int8_ends
from export.device.metadata_header import metadata_header
from export.engines import TFLM, tflm_available
from export.figures.judgement import judgement, target_of
from export.figures.left_out import without_data
from export.figures.output_columns import output_figures
from export.figures.provenance import provenance
from export.figures.quantization_report import csv_text, findings, network_report
from export.figures.stages import float_name, float_network, stage_figures
from export.figures.verdict import Verdict
from export.graph.build import integer_graph
from export.graph.encoding import codes_of
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.graph.passes.float_interface import float_interface
from export.html.facts import facts_of
from export.html.page import page
from export.interface.tensor_layout import TensorLayout
from export.lightning_run.output_titles import output_titles
from export.lightning_run.real_inputs import RealInputs, real_inputs
from export.lightning_run.run_layouts import run_interface, run_layouts
from export.onnx.files import onnx_files
from export.options import ExportOptions
from export.parity.nodes import node_parity
from export.parity.outputs import ParityReport, compare_file, corner_codes, parity
from export.tflite.model_file import model_file, model_metadata
from export.tflite.writer import tflite_cell, write_tflite
from qtorch.capture.samples import taken
from qtorch.errors import BadConfiguration, ParityError
from qtorch.features import Feature, Interface
from qtorch.lightning.callback import network_of
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.classification import Classification
from qtorch.lightning.data import ArrayDataModule, Arrays
from qtorch.lightning.reconstruction import Reconstruction
from qtorch.network.calibration import quantizers
from qtorch.ops.quantize import far_values
from qtorch.post_training.steps import PostTraining, quantize_after_training

__all__ = ["Bundle", "make_bundle"]

#: Random inputs of a parity check, beside the data's own; with them it exceeds 10,000.
_RANDOM_INPUTS = 10_000
_TEST_VECTORS = 32
#: Of a float32 interface, as far out as inputs may lie.
_FAR_INPUTS = 64
#: Numbers in a network from which on a sample takes TFLM long enough to try a tenth as many; and how many of each part
#: of the data are tried at most.
_LARGE = 20_000
_MOST_DATA = 2_000
_JUDGED: tuple[Literal["test", "train"], ...] = ("test", "train")


@dataclass(frozen=True)
class Bundle:
    """The files of one export, and the figures that stand in two of them; a firmware project, if one was asked for."""

    name: str
    files: dict[str, bytes]
    metrics: dict[str, Any]
    parity: ParityReport | None
    arena_bytes: int
    firmware: dict[str, bytes] = field(default_factory=dict)
    verdict: Verdict | None = None


@contextmanager
def _timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[what] = seconds.get(what, 0.0) + time.perf_counter() - started


def make_bundle(
    run: Run,
    name: str,
    options: ExportOptions,
    data_seconds: float = 0.0,
    checkpoint: bytes | None = None,
    stage: Stage = silent,
) -> Bundle:
    """Export a trained run and verify it.

    Args:
        run: trained; its data module loads on demand. Where its data can't be had, what needs them is left out, and
            ``metrics["left_out"]`` says what and why.
        name: of the model; becomes a C identifier.
        options: how to export.
        data_seconds: what loading the data took, where that was measured before.
        checkpoint: the file that the run is kept in, if it is in one: the report has its hash.
        stage: told what is being done; see :func:`export.console.progress.told`.

    Raises:
        ParityError: a comparison that must be exact is not.
        NotFinite, BadConfiguration: the network can't be exported.
        BadData: post-training quantization without training data.
    """
    name, target = c_identifier(name), board(options.target)
    network: fx.GraphModule = run.module.net  # type: ignore[assignment]
    seconds = {"data": data_seconds, **run.qat.seconds}
    with _timed(seconds, "data"), stage("loading the data"):
        inputs = real_inputs(run)
    if options.format == "int8" and not options.post_training:
        _require_ranges(run)
    left_out = without_data(inputs, arrays=isinstance(run.data, ArrayDataModule))
    if "interface" in left_out:
        # Nobody shall ask it again: it has no part without the others.
        run = replace(run, data=None)
    if options.format != "int8":
        return _real_bundle(run, inputs, name, options, checkpoint, stage)
    chosen = None
    if options.post_training:
        with _timed(seconds, "post_training"), stage("quantizing without training, on the training data"):
            steps = PostTraining(options.equalize, options.correct_biases, options.round_adaptively)
            example: Any = run.module.example_input_array
            chosen = quantize_after_training(float_network(run), inputs["train"], run.qat.config, steps, example)
        network = chosen
    what = f"the integers, and plain C for {target.name}" if options.writes_c else "the integers"
    with _timed(seconds, "export"), stage(f"writing {what}"):
        graph = integer_graph(network, options.input_layout)
        titles = output_titles(run, graph.values[graph.outputs[0]].shape[-1] if len(graph.outputs) == 1 else None)
        final = graph if options.io == "int8" else float_interface(graph)
        layouts, c_layouts = (run_layouts(run, each) for each in (final, graph))
        speed = options.optimize == "speed"
        written = c_model(name, graph, target, speed, c_layouts) if options.writes_c else None
    about = None
    if options.metadata:
        own = getattr(run.module, "class_names", None) or getattr(run.data, "class_names", None)
        classifies = isinstance(run.module, Classification) or (bool(own) and own is not None and tuple(own) == titles)
        interface = run_interface(run, graph)
        if classifies and not isinstance(run.data, ArrayDataModule):
            interface = Interface(interface.inputs, tuple(map(Feature, titles)))
        about = model_metadata(name, options.version, graph, interface, classifies)
    with _timed(seconds, "arena"), stage("writing the file, and searching for the smallest arena in which it runs"):
        finished = model_file(final, about)
    int8_model = finished.data if final is graph else write_tflite(graph)
    if options.firmware is not None:
        require_int8_ends(graph)
    compare_file(graph, int8_model)
    compare_file(final, finished.named)
    codes = _parity_inputs(graph, inputs)
    judges = "every engine" if written is None else "every engine and the compiled C"
    with _timed(seconds, "parity"), stage(f"comparing {len(codes[0]):,} inputs in {judges} with the integers"):
        compiled = None if written is None else compiled_c(name, written.files, graph, target.cpu)
        report = parity(graph, int8_model, codes, network, judged=() if compiled is None else (compiled,))
        model, arena_bytes = finished.data, finished.arena_bytes
        if options.io == "float32":
            _verify_float_interface(graph, final, model, codes)
        second = onnx_files(name, final, codes) if options.onnx else None
        if second is not None:
            report = replace(report, engines={**report.engines, **second.engines})
    counted = {}
    if written is not None and target.cpu != "host":
        with _timed(seconds, "counting"), stage(f"counting one inference on the processor of {target.name}"):
            counted = {"inference": board_cost(graph, target, options.optimize == "speed")}
    tested = inputs.get("test")
    with stage("measuring what each tensor loses"):
        errors = () if tested is None else network_report(network, graph, tested, options.input_layout, titles)
    with stage("taking test figures: float, post-training, quantized, on the device"):
        test = stage_figures(run, inputs, graph, int8_model, chosen)
    device = "qat_int8" if chosen is None else "post_training_int8"
    judged = judgement(run, test, device, inputs)
    records = {stage: test.records[stage] for stage in ("float", device) if stage in test.records}
    # Labels of anomalies are no classes of an autoencoder's outputs.
    samples = None if isinstance(run.module, Reconstruction) else records.get(device)
    left_out = test.left_out | left_out
    with stage("comparing sizes with those of the default choices"):
        choices = choice_costs(
            graph, network, options, target, run.qat.config, lambda: float_network(run), inputs.get("train"),
            run.module.example_input_array,
        )  # fmt: skip
    metrics = {
        "task": run.task,
        "data": _about(run.data.arrays) if isinstance(run.data, ArrayDataModule) else {},
        "columns": test.columns(run.module),
        **({"unknown_columns": unknown} if (unknown := test.unknown_columns(run.module)) else {}),
        "test": test.figures,
        "float_network": float_name(run),
        "verdict": judged.as_json(),
        "sha256": provenance(model, checkpoint, test),
        "tflite_bytes": len(model),
        **({"arena_bytes": arena_bytes} if arena_bytes else {}),
        "tensors": [layout.as_json() for layout in layouts],
        "macs": all_multiply_accumulates(graph),
        **output_figures(records, None if samples is None else target_of(samples), _step(graph), titles),
        "quantization": {"tensors": len(errors), "findings": findings(errors)},
        **({"choices": [cost.as_json() for cost in choices]} if choices else {}),
        **({"left_out": left_out} if left_out else {}),
        **({} if written is None else {"c": {**written.figures, "not_run": not_run(graph, target.cpu), **counted}}),
        **({"c_tensors": [layout.as_json() for layout in c_layouts]} if written and final is not graph else {}),
        **({} if second is None else {"onnx": dict(second.figures)}),
    }
    metrics["shares"] = [share.as_json() for share in board_shares(metrics, target, options.firmware is not None)]
    made = _headers(run, name, graph, final, layouts, model, codes, arena_bytes)
    files = {
        f"{name}.tflite": model,
        **({} if options.strip else {f"{name}_named.tflite": finished.named}),
        **(second.files if second else {}),
        **{file: text.encode() for file, text in (written.files if written else {}).items()},
        **{file: text.encode() for file, text in made.items()},
        **({f"{name}_metadata.h": metadata_header(name, about, arena_bytes, model).encode()} if about else {}),
        **({} if tested is None else {"quantization_report.csv": csv_text(errors).encode()}),
        "metrics.json": _json(metrics),
        "parity.json": _json(report.as_json()),
        # Of all files the one that differs from one export to the next.
        TIMINGS: _json({"seconds": {phase: round(spent, 3) for phase, spent in seconds.items()}}),
    }
    with stage("writing the report, with what each layer costs"):
        facts = facts_of(
            run, name, metrics, report.as_json(), graph, network, tested, errors, options.input_layout, records
        )
        files["report.html"] = page(facts).encode()
    firmware = {} if options.firmware is None else firmware_project(name, files, target, layouts)
    return Bundle(name, files, metrics, report, arena_bytes, firmware, judged)


def _require_ranges(run: Run) -> None:
    """See that quantized training had begun, before anything takes time.

    Raises:
        BadConfiguration: the network has not been prepared, or its ranges were never measured.
    """
    found = quantizers(network_of(run.module))
    try:
        for quantizer in found.values():
            quantizer.qparams()
    except BadConfiguration as error:
        raise BadConfiguration(
            where=run.task,
            expected="a network with a calibrated range for every tensor, as it has from the first epoch of quantized "
            "training",
            got="one of float training",
            remedy="quantize it without training, by --export.post_training, or export a later checkpoint",
        ) from error
    if not found:
        raise BadConfiguration(
            where=run.task,
            expected="a network that the QuantizationAwareTraining callback has prepared",
            got=type(run.module.net).__name__,
            remedy="train with the callback, or quantize without training, by --export.post_training",
        )


def _real_bundle(
    run: Run, inputs: RealInputs, name: str, options: ExportOptions, checkpoint: bytes | None, stage: Stage
) -> Bundle:
    assert options.format != "int8"
    with stage("writing the file, comparing every op with its float function, taking test figures"):
        files, test, parity, layouts = real_files(
            run, inputs, name, options.format, options.input_layout, options.equalize
        )
    judged = judgement(run, test, options.format, inputs)
    metrics = {
        "task": run.task,
        "format": options.format,
        "columns": test.columns(run.module),
        **({"unknown_columns": unknown} if (unknown := test.unknown_columns(run.module)) else {}),
        "test": test.figures,
        "float_network": float_name(run),
        "verdict": judged.as_json(),
        "sha256": provenance(files[f"{name}.tflite"], checkpoint, test),
        **({"left_out": test.left_out} if test.left_out else {}),
        "tflite_bytes": len(files[f"{name}.tflite"]),
        "tensors": [layout.as_json() for layout in layouts],
    }
    metrics["shares"] = [share.as_json() for share in board_shares(metrics, board(options.target))]
    records = {stage: test.records[stage] for stage in ("float", options.format) if stage in test.records}
    report = page(facts_of(run, name, metrics, parity, records=records)).encode()
    files |= {"metrics.json": _json(metrics), "parity.json": _json(parity), "report.html": report}
    return Bundle(name, files, metrics, None, 0, verdict=judged)


def _step(graph: Graph) -> float:
    qparams = graph.values[graph.outputs[0]].qparams
    return 1.0 if qparams is None else qparams.scale[0]


def _json(figures: dict[str, Any]) -> bytes:
    return (json.dumps(_finite(figures), indent=2, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    """JSON has no NaN: what is not finite is null."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parity_inputs(graph: Graph, inputs: RealInputs) -> tuple[np.ndarray, ...]:
    """All 256 codes of a network with one input; else test set, calibration set, corners and random codes."""
    products = sum(int(np.prod(value.shape)) for value in graph.values.values())
    extra = corner_codes(graph, _RANDOM_INPUTS if products < _LARGE else _RANDOM_INPUTS // 10)
    if [int(np.prod(graph.values[name].shape)) for name in graph.inputs] == [1]:
        return extra
    parts = [taken(found, slice(_MOST_DATA)) for part in _JUDGED if (found := inputs.get(part)) is not None]
    data = [codes_of(graph, part) for part in parts]
    return tuple(np.concatenate(arrays) for arrays in zip(*data, extra, strict=True))


def _verify_float_interface(graph: Graph, final: Graph, model: bytes, codes: tuple[np.ndarray, ...]) -> None:
    compare_file(final, model)
    if not tflm_available():
        return
    rng, inputs = np.random.default_rng(0), []
    for name, array in zip(graph.inputs, codes, strict=True):
        qparams = graph.values[name].qparams
        assert qparams is not None
        # Off the grid, so that QUANTIZE has something to round.
        off = np.float32(qparams.scale[0]) * rng.uniform(-0.5, 0.5, array.shape).astype(np.float32)
        far = far_values(qparams.scale[0], (_FAR_INPUTS, *array.shape[1:]), rng)
        inputs.append(np.concatenate([qparams.dequantize(array) + off, far]))
    if final.has_float_nodes:
        node_parity(final, model, tuple(inputs), TFLM)
        return
    expected = interpret(final, tuple(inputs))
    got = TFLM.run(model, tuple(inputs))
    wrong = sum(int((g != expected[name]).sum()) for g, name in zip(got, final.outputs, strict=True))
    if wrong:
        raise ParityError(f"{TFLM.name} differs from the reference on {wrong} outputs of the float32 interface")


def _headers(
    run: Run, name: str, graph: Graph, final: Graph, layouts: tuple[TensorLayout, ...], model: bytes,
    codes: tuple[np.ndarray, ...], arena_bytes: int,
) -> dict[str, str]:  # fmt: skip
    picked = np.linspace(0, len(codes[0]) - 1, min(_TEST_VECTORS, len(codes[0]))).astype(int)
    chosen = tuple(array[picked] for array in codes)
    outputs = interpret(graph, chosen)[graph.outputs[0]]
    sources, sinks = (
        tuple(q for n in names if (q := graph.values[n].qparams)) for names in (graph.inputs, graph.outputs)
    )
    n_in, n_out = (int(np.prod(graph.values[names[0]].shape[1:])) for names in (graph.inputs, graph.outputs))
    # Of several inputs one after another in a row, in the wider of their types.
    rows = np.concatenate([array.reshape(len(picked), -1) for array in chosen], 1)
    methods = tuple(dict.fromkeys(tflite_cell(node.op).resolver for node in final.nodes))
    made = {
        **headers.model_data(name, model, layouts),
        f"{name}_quantization.h": headers.quantization(
            name, run_interface(run, graph), sources, sinks, (n_in, n_out), layouts
        ),
        f"{name}_op_resolver.h": headers.op_resolver(name, methods),
        f"{name}_test_vectors.h": headers.test_vectors(name, rows, outputs.reshape(len(picked), -1)),
    }
    if arena_bytes:
        made[f"{name}_arena.h"] = headers.arena(name, arena_bytes, 64, TFLM.version)
    return made


def _about(arrays: Arrays) -> dict[str, Any]:
    """Where data came from, how much there is, how it was recorded and what is odd about it."""
    recorded = arrays.interface.recorded
    return {**arrays.summary.figures(), **({"recorded": dict(recorded)} if recorded else {})}
