"""The proof that a file's integers are what TFLite Micro makes of it; or the first operator that differs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.compiled_file.compared_inputs import ComparedInputs
from export.compiled_file.model_in_file import ModelInFile
from export.engines import Engine, InspectableEngine
from export.engines.apart import EngineRefused, apart
from export.graph.interpret import interpret_sequence
from export.graph.ir import Graph
from export.parity.foreign import codes_of, stored
from export.parity.judges import exact_judge, may_judge
from export.parity.outputs import EngineParity, compare_file
from export.tflite.equivalents.shifted_codes import SHIFT
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
    with stage(judge.name):
        got = codes_of(model.graph, judge.run(model.data, stored(model.graph, inputs.outer)))
    agreement = EngineParity.of(judge.version, got, inputs.outer_outputs)
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
        agreement = EngineParity.of(judge.version, judge.run(written, taken), expected)
    if agreement.mismatches:
        raise ParityError(
            f"{model.where}, written again: {judge.called or judge.name} {judge.version} differs from the integers on "
            f"{agreement.mismatches} of {agreement.outputs} outputs, by up to {agreement.max_lsb} LSB. Remedy: leave "
            "out --tflite and --firmware tflm; the C is not of that file"
        )
    return agreement


def judged_c(engine: Engine, inputs: ComparedInputs, where: str) -> EngineParity:
    """What compiled C makes of the codes, which has to be the integers.

    Raises:
        ParityError: it computes something else.
    """
    with stage(engine.name):
        got = engine.run(b"", inputs.codes)
    agreement = EngineParity.of(engine.version, got, inputs.outputs)
    if agreement.mismatches:
        sample = _first_sample(got, inputs.outputs)
        raise ParityError(
            f"{where}: the compiled C ({engine.version}) differs from the integers on {agreement.mismatches} of "
            f"{agreement.outputs} outputs, by up to {agreement.max_lsb} LSB, first at sample {sample}"
        )
    return agreement


def _first_sample(got: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> int:
    """The first that has a wrong output."""
    wrong = [np.argwhere(one != other) for one, other in zip(got, expected, strict=True)]
    return min(int(places[0][0]) for places in wrong if len(places))


def _first(model: ModelInFile, inputs: ComparedInputs, judge: InspectableEngine, sample: int) -> str:
    """The first operator whose outputs differ on a sample, with what both have there."""
    graph = model.graph
    run = sample // graph.values[graph.outputs[0]].rows
    # What states are at a run is what all runs before it made of them.
    begin = 0 if graph.states else run
    rows = [graph.values[name].rows for name in graph.inputs]
    chosen = tuple(array[begin * n : (run + 1) * n] for array, n in zip(inputs.outer, rows, strict=True))
    computed = interpret_sequence(graph, chosen, every=True)
    ours = {name: array[(run - begin) * (len(array) // (run + 1 - begin)) :] for name, array in computed.items()}
    try:
        count = 1 + max(model.tensors.values())
        (*_, theirs) = judge.tensors(model.data, stored(graph, chosen), count)
    except EngineRefused as refused:
        return f"at sample {sample}; its tensors can't be looked at: {refused.words}"
    for node in graph.nodes:
        for name in node.outputs:
            if name not in model.tensors:
                continue
            # uint8 codes are int8 codes and 128.
            there = theirs[model.tensors[name]]
            there = (there ^ np.uint8(SHIFT)).view(np.int8) if there.dtype == np.uint8 else there
            if there.size != ours[name].size:
                continue
            wrong = np.argwhere(there.reshape(ours[name].shape) != ours[name])
            if len(wrong):
                at = tuple(map(int, wrong[0]))
                return (
                    f"first in {model.operators.get(name, node.op)}, tensor {name!r}, at sample {sample}, index "
                    f"{list(at)}: {judge.called or judge.name} {there.reshape(ours[name].shape)[at]}, integers "
                    f"{ours[name][at]} ({len(wrong)} of {there.size} differ). Remedy: convert the model with another "
                    "version of the converter, and report the operator with its options, as qtorch summary prints them"
                )
    return f"at sample {sample}; no operator differs where each tensor has memory of its own"
