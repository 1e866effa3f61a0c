"""``python -m export verify MODEL.tflite [--against CHECKPOINT]``: the parity check of a file, repeated."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from torch import fx

from export.bundle.manifest import require_unchanged
from export.bundle.outcome_page import agreement_table
from export.command_line.reader import POSITIONAL, read_options
from export.commands.summary import read_model
from export.console.page import Line, printable
from export.console.terminal import show
from export.engines import TFLM
from export.engines.apart import EngineRefused, apart
from export.faults.avoided import require_without_faults
from export.graph.build import InputLayout, build
from export.graph.ir import Graph
from export.parity.float_ends import codes_behind, float_outputs_parity
from export.parity.foreign import drawn, foreign_engine, judged_by_tflm, places
from export.parity.judges import exact_judge, judge_here, judges_here, may_judge
from export.parity.nodes import node_parity
from export.parity.outputs import compare_graphs, parity
from export.tflite.contents import read_contents
from export.tflite.entries import taken
from export.tflite.form import FileForm
from export.tflite.reader import read_tflite
from export.tflite.soundness import require_sound
from export.tflite.stored_proof import require_stored_proof
from export.tflite.summary import summarize
from qtorch.errors import BadModelFile, ParityError
from qtorch.progress import stage

__all__ = ["VerifyOptions", "verify_command"]

_RANDOM_INPUTS = 10_000
_FLOAT_INPUTS = 200
#: Samples that are judged before the others.
_FEW = 4


@dataclass(frozen=True)
class VerifyOptions:
    """Repeat the parity check of a model file, and of the files that lie beside it.

    Example:
        qtorch verify build/kws/kws.tflite
        qtorch verify build/kws/kws.tflite --against build/kws/kws.ckpt

    Attributes:
        model: a .tflite file, whoever wrote it.
        against: a checkpoint whose every scale, weight and bias must be in it.
        signature: which network, of a file that has several signatures; the first without it.
    """

    model: Annotated[Path, POSITIONAL]
    against: Path | None = None
    signature: str = ""


def verify_command(arguments: Sequence[str]) -> None:
    """Compare a file with the integer reference, and with a checkpoint if one is given.

    Raises:
        BadInput: no file, or one that is no model, or no network of integers: says what it is.
        ParityError: an engine computes something else, or the file is another network's.
    """
    options = read_options(VerifyOptions, arguments, "verify")
    where = str(options.model)
    chosen = taken(read_model(options.model), options.signature, where)
    model = chosen.data
    if chosen.sentence:
        show([Line(f"{where}: {printable(chosen.sentence)}", "attention")])
    summary = summarize(model, where)
    require_stored_proof(model, summary, where)
    if not summary.form.is_integers:
        _require_own_form(model, summary.form, where)
    require_sound(read_contents(model, where), where)
    if summary.planned_bytes:
        planned = f"{where}: its tensors lie apart in TFLite Micro's arena, within {summary.planned_bytes:,} bytes"
        show([Line(f"{planned}, as the file itself places them")])
    # Tensor for tensor as the checkpoint's, else in any form that has an equivalent.
    graph = read_tflite(model, where, aligned=options.against is not None)
    unchanged = require_unchanged(options.model)
    if unchanged:
        show([Line(f"{options.model}: {unchanged} files are as the manifest beside it lists them")])
    if options.against is not None:
        # Lightning takes seconds to import, which a check of the file alone has no need of.
        from qtorch.lightning.checkpoint import load_run

        _require_same(graph, load_run(options.against).module.net)  # type: ignore[arg-type]
        show([Line(f"{options.model}: every scale, zero point, weight and bias is the checkpoint's")])
    _require_judged(graph, model, where)
    if any(graph.values[name].qparams is None for name in graph.inputs):
        _verify_float(graph, model, where)
        return
    codes = drawn(graph, _RANDOM_INPUTS)
    with stage(f"comparing {len(codes[0]):,} inputs in every engine with the integers"):
        report = parity(graph, model, codes, foreign=partial(foreign_engine, graph=graph, where=where))
    show([agreement_table(report.engines, report.judges, report.not_run), *_in_whose_place()])


def _require_own_form(model: bytes, form: FileForm, where: str) -> None:
    """Say what a file is that is none of integers, and refuse it where this project does not write such files.

    Raises:
        BadModelFile: so it is.
    """
    try:
        read_tflite(model, where)
    except BadModelFile as unknown:
        raise form.refused(where) from unknown
    show([Line(f"{where}: {printable(form.words)}", "attention")])


def _require_judged(graph: Graph, model: bytes, where: str) -> None:
    """A few samples first, of which TFLite Micro says by name where it differs, or that it does not run them; before
    them what is known to differ from run to run."""
    require_without_faults(model, where)
    if exact_judge() is TFLM and not graph.has_float_nodes:
        judged_by_tflm(model, graph, drawn(graph, _FEW), where=where)


def _verify_float(graph: Graph, model: bytes, where: str) -> None:
    """A model with float32 inputs: node by node where it computes in float, else its outputs, exactly."""
    if codes_behind(graph) is None:
        _verify_nodes(graph, model, drawn(graph, _FLOAT_INPUTS), where)
        return
    inputs = drawn(graph, _RANDOM_INPUTS)
    # Where the judge rounds once node by node too, because some of LiteRT's kernels may differ from their reference by
    # what their rows declare.
    engine = exact_judge()
    if graph.has_float_nodes or engine is None:
        _verify_nodes(graph, model, inputs, where)
        return
    words = f"integer reference on {{wrong}} outputs of {len(inputs[0])} inputs"
    float_outputs_parity(graph, model, inputs, words, foreign_engine(engine, graph, where))
    show([Line(f"{engine.name}: {len(inputs[0]):,} float32 inputs, all exact")])


def _in_whose_place() -> list[Line]:
    """Who judged against single rounding, because one that rounds as the reference is absent; else nothing."""
    engine = judge_here()
    absent = "; ".join(filter(None, (each.absent() for each in itertools.takewhile(engine.__ne__, may_judge()))))
    if not absent or exact_judge() is not None:
        return []
    return [Line(f"{absent}: {engine.kernels or engine.name} judged, against single rounding", "attention")]


def _verify_nodes(graph: Graph, model: bytes, inputs: tuple[np.ndarray, ...], where: str) -> None:
    """In every engine that may judge and has the kernels, the preferred one last; those that are left out are named.

    Raises:
        EngineRefused: every one of them refuses the file.
    """
    refused, judged = [], False
    for engine in reversed(judges_here()):
        try:
            tally = node_parity(graph, model, inputs, apart(engine, where), _places(graph, model, where))
        except EngineRefused as error:
            refused.append((engine, error))
            continue
        judged = True
        said = (
            f"{tally.inputs:,} inputs, {tally.integer_outputs:,} integers exact, {tally.float_outputs:,} float results"
        )
        show([Line(f"{engine.name}: {said} as their layers' functions")])
    for left_out, refusal in refused:
        show([Line(f"{left_out.name}: did not judge: {refusal.words}", "attention")])
    if not judged:
        raise refused[0][1]
    show(_in_whose_place())


def _places(graph: Graph, model: bytes, where: str) -> Mapping[str, int]:
    """Where the file has each tensor of the graph.

    Raises:
        BadModelFile: it has none of some.
    """
    found = places(graph, read_contents(model, where).subgraphs[0].tensors)
    unknown = [name for name in graph.values if name not in found]
    if unknown or graph.shifted:
        raise BadModelFile(
            where=where, expected="floats computed by operators in the form in which an export writes them",
            got="a file with floats in which others stand", remedy="make it an integer model: qtorch compile",
        )  # fmt: skip
    return found


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
