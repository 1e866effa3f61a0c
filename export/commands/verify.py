"""``python -m export verify MODEL.tflite [--against CHECKPOINT]``: the parity check of a file, repeated."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from torch import fx

from export.bundle.float_formats import refusal
from export.bundle.manifest import require_unchanged
from export.bundle.outcome_page import agreement_table
from export.command_line.reader import POSITIONAL, read_options
from export.commands.summary import read_model
from export.console.page import Line, printable
from export.console.terminal import show
from export.graph.build import InputLayout, build
from export.graph.ir import Graph
from export.parity.float_ends import codes_behind, fed, float_outputs_parity
from export.parity.judges import exact_judge, judge_here, judges_here, may_judge
from export.parity.nodes import node_parity
from export.parity.outputs import compare_graphs, corner_codes, parity
from export.tflite.reader import read_tflite
from export.tflite.stored_proof import require_stored_proof
from export.tflite.summary import summarize
from qtorch.errors import BadModelFile, ParityError
from qtorch.progress import stage

__all__ = ["VerifyOptions", "verify_command"]

_RANDOM_INPUTS = 10_000
_FLOAT_INPUTS = 200


@dataclass(frozen=True)
class VerifyOptions:
    """Repeat the parity check of a model file, and of the files that lie beside it.

    Example:
        qtorch verify build/kws/kws.tflite
        qtorch verify build/kws/kws.tflite --against build/kws/kws.ckpt

    Attributes:
        model: a .tflite file that an export wrote.
        against: a checkpoint whose every scale, weight and bias must be in it.
    """

    model: Annotated[Path, POSITIONAL]
    against: Path | None = None


def verify_command(arguments: Sequence[str]) -> None:
    """Compare a file with the integer reference, and with a checkpoint if one is given.

    Raises:
        BadInput: no file, or one that is no model, or no network of integers: says what it is.
        ParityError: an engine computes something else, or the file is another network's.
    """
    options = read_options(VerifyOptions, arguments, "verify")
    model = read_model(options.model)
    summary = summarize(model, str(options.model))
    try:
        graph = read_tflite(model, str(options.model))
    except BadModelFile as unknown:
        if summary.form.is_integers:
            raise
        raise summary.form.refused(str(options.model)) from unknown
    if not summary.form.is_integers:
        show([Line(f"{options.model}: {printable(summary.form.words)}", "attention")])
    require_stored_proof(model, summary, str(options.model))
    unchanged = require_unchanged(options.model)
    if unchanged:
        show([Line(f"{options.model}: {unchanged} files are as the manifest beside it lists them")])
    if options.against is not None:
        # Lightning takes seconds to import, which a check of the file alone has no need of.
        from qtorch.lightning.checkpoint import load_run

        _require_same(graph, load_run(options.against).module.net)  # type: ignore[arg-type]
        show([Line(f"{options.model}: every scale, zero point, weight and bias is the checkpoint's")])
    if graph.values[graph.inputs[0]].qparams is None:
        _verify_float(graph, model)
        return
    codes = corner_codes(graph, _RANDOM_INPUTS)
    with stage(f"comparing {len(codes[0]):,} inputs in every engine with the integers"):
        report = parity(graph, model, codes)
    show([agreement_table(report.engines, report.judges, report.not_run), *_in_whose_place()])


def _verify_float(graph: Graph, model: bytes) -> None:
    """A model with float32 inputs: node by node where it computes in float, else its outputs, exactly."""
    behind = codes_behind(graph)
    if behind is None:
        rng = np.random.default_rng(0)
        drawn = tuple(rng.normal(size=(_FLOAT_INPUTS, *graph.values[n].shape[1:])).astype("f4") for n in graph.inputs)
        _verify_nodes(graph, model, drawn)
        return
    inputs = fed(graph, corner_codes(replace(graph, inputs=behind), _RANDOM_INPUTS))
    # Where the judge rounds once node by node too, because some of LiteRT's kernels may differ from their reference by
    # what their rows declare.
    engine = exact_judge()
    if graph.has_float_nodes or engine is None:
        _verify_nodes(graph, model, inputs)
        return
    words = f"integer reference on {{wrong}} outputs of {len(inputs[0])} inputs"
    float_outputs_parity(graph, model, inputs, words, engine)
    show([Line(f"{engine.name}: {len(inputs[0]):,} float32 inputs, all exact")])


def _in_whose_place() -> list[Line]:
    """Who judged against single rounding, because one that rounds as the reference is absent; else nothing."""
    engine = judge_here()
    absent = "; ".join(filter(None, (each.absent() for each in itertools.takewhile(engine.__ne__, may_judge()))))
    if not absent or exact_judge() is not None:
        return []
    return [Line(f"{absent}: {engine.kernels or engine.name} judged, against single rounding", "attention")]


def _verify_nodes(graph: Graph, model: bytes, inputs: tuple[np.ndarray, ...]) -> None:
    """In every engine that may judge and has the kernels, the preferred one last."""
    for engine in reversed(judges_here()):
        if not engine.narrow_weights and refusal(engine, model, inputs):
            continue
        tally = node_parity(graph, model, inputs, engine)
        said = (
            f"{tally.inputs:,} inputs, {tally.integer_outputs:,} integers exact, {tally.float_outputs:,} float results"
        )
        show([Line(f"{engine.name}: {said} as their layers' functions")])
    show(_in_whose_place())


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
