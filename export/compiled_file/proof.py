"""The proof that a file's integers are what TFLite Micro makes of it; or the first operator that differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from export.compiled_file.compared_inputs import ComparedInputs
from export.compiled_file.model_in_file import ModelInFile
from export.engines import Engine, InspectableEngine
from export.engines.apart import EngineRefused, apart
from export.graph.ir import Graph
from export.parity.first_difference import first_difference
from export.parity.foreign import fixed_batch_advised
from export.parity.judges import exact_judge, may_judge
from export.parity.outputs import EngineParity, compare_file
from export.parity.shifted_ends import in_other_codes
from qtorch.errors import BadConfiguration, ParityError
from qtorch.progress import stage

__all__ = ["judged_again", "judged_c", "judged_file", "require_judge"]


def require_judge(where: str) -> InspectableEngine:
    """The engine that computes what a device does, in a process of its own.

    Args:
        where: what to call the file in an error.

    Raises:
        BadConfiguration: TFLite Micro does not run here; without it nothing is proven.
    """
    judge = exact_judge()
    if judge is None:
        raise BadConfiguration(
            where="compile",
            expected="TFLite Micro's Python package, against which the C is proven",
            got="; ".join(filter(None, (engine.absent() for engine in may_judge()))) or "none",
            remedy="compile on Linux on x86-64, where pip install qtorch-tflm brings it",
        )
    kept = apart(judge, where)
    assert isinstance(kept, InspectableEngine)
    return kept


def judged_file(model: ModelInFile, inputs: ComparedInputs, judge: InspectableEngine) -> EngineParity:
    """What TFLite Micro makes of the very file, which has to be the integers.

    Args:
        model: in the file.
        inputs: with what the integers make of them.
        judge: see :func:`require_judge`.

    Raises:
        EngineRefused: TFLite Micro refuses the file, or ends on it.
        ParityError: it computes something else; names the first operator that does.
    """
    with stage(judge.name), fixed_batch_advised(model.data, model.where):
        given = in_other_codes(model.graph, model.graph.inputs, inputs.outer)
        got = in_other_codes(model.graph, model.graph.outputs, judge.run(model.data, given))
    agreement = _agreement(model, inputs, judge.version, got, inputs.outer_outputs)
    if agreement.mismatches:
        raise ParityError(
            f"{model.where}: {judge.called or judge.name} {judge.version} differs from the integers on "
            f"{agreement.mismatches} of {agreement.outputs} outputs, by up to {agreement.max_lsb} LSB; "
            f"{_first(model, inputs, judge, _first_sample(got, inputs.outer_outputs))}"
        )
    return agreement


def judged_again(
    model: ModelInFile, written: bytes, final: Graph, inputs: ComparedInputs, judge: InspectableEngine
) -> EngineParity:
    """What TFLite Micro makes of the file as it was written again, which has to be the integers too.

    Args:
        model: in the file as it came.
        written: the whole new file.
        final: what it was written of; its ends are the file's, or those between float ends.
        inputs: with what the integers make of them.
        judge: see :func:`require_judge`.

    Raises:
        ParityError: it computes something else, or the file is not what it was written of.
    """
    compare_file(final, written)
    taken, expected = (
        (inputs.outer, inputs.outer_outputs) if final.inputs == model.graph.inputs else (inputs.codes, inputs.outputs)
    )
    with stage(judge.name):
        agreement = _agreement(model, inputs, judge.version, judge.run(written, taken), expected)
    if agreement.mismatches:
        raise ParityError(
            f"{model.where}, written again: {judge.called or judge.name} {judge.version} differs from the integers on "
            f"{agreement.mismatches} of {agreement.outputs} outputs, by up to {agreement.max_lsb} LSB. Remedy: leave "
            "out --tflite and --firmware tflm; the C is not of that file"
        )
    return agreement


def judged_c(engine: Engine, model: ModelInFile, inputs: ComparedInputs) -> EngineParity:
    """What compiled C makes of the codes, which has to be the integers.

    Raises:
        ParityError: it computes something else.
    """
    with stage(engine.name):
        got = engine.run(b"", inputs.codes)
    agreement = _agreement(model, inputs, engine.version, got, inputs.outputs)
    if agreement.mismatches:
        sample = _first_sample(got, inputs.outputs)
        raise ParityError(
            f"{model.where}: the compiled C ({engine.version}) differs from the integers on {agreement.mismatches} of "
            f"{agreement.outputs} outputs, by up to {agreement.max_lsb} LSB, first at sample {sample}"
        )
    return agreement


def _agreement(
    model: ModelInFile,
    inputs: ComparedInputs,
    version: str,
    got: tuple[np.ndarray, ...],
    expected: tuple[np.ndarray, ...],
) -> EngineParity:
    """The comparison of outputs, of which a run may have several rows."""
    return replace(EngineParity.of(version, got, expected), inputs=inputs.runs(model))


def _first_sample(got: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> int:
    """The first that has a wrong output."""
    wrong = [np.argwhere(one != other) for one, other in zip(got, expected, strict=True)]
    return min(int(places[0][0]) for places in wrong if len(places))


def _first(model: ModelInFile, inputs: ComparedInputs, judge: InspectableEngine, sample: int) -> str:
    """The first operator whose outputs differ on a sample, with what both have there."""
    run = sample // model.graph.values[model.graph.outputs[0]].rows
    try:
        first = first_difference(model.graph, model.data, model.tensors, inputs.outer, run, judge)
    except EngineRefused as refused:
        return f"at sample {sample}; its tensors can't be looked at: {refused.words}"
    if first is None:
        return f"at sample {sample}; no operator differs where each tensor has memory of its own"
    return (
        f"first in {model.operators.get(first.name, first.node.op)}, tensor {first.name!r}, at sample {sample}, index "
        f"{list(first.at)}: {judge.called or judge.name} {first.found}, integers {first.expected} ({first.wrong} of "
        f"{first.elements} differ). Remedy: convert the model with another version of the converter, and report the "
        "operator with its options, as qtorch summary prints them"
    )
