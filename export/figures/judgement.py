"""The verdict on an export: by which figure, of which networks it is known, what simpler ones reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from export.figures.evaluation import Evaluation
from export.figures.figure_names import better_by_name
from export.figures.record import Record, target_of
from export.figures.sample_figures import Composition, constant_output, recognized
from export.figures.stage_names import STAGES, stage_name
from export.figures.stages import StageFigures
from export.figures.subject import Subject
from export.figures.verdict import Candidate, Verdict, no_verdict, verdict
from qtorch.baselines import linear_regression
from qtorch.errors import BadConfiguration
from qtorch.handed_over.words import in_words
from qtorch.network.training_check import said_of_training

__all__ = ["as_good_as_its_weights", "judgement"]

#: Numbers of an input up to which a straight line is fitted to them.
_FLAT = 64
#: By how much a figure, a float32 mean over batches, may differ from the mean of contributions.
_TOLERANCE = 1e-4
#: What the device is compared with, by stage.
_KINDS: Mapping[str, Literal["float", "quantized"]] = {"float": "float", "qat_float": "float", "ptq_int8": "quantized"}

#: What to do where quantization by nothing but calibration is better, by stage of the device.
_WITHOUT_TRAINING = "export that one, by post_training"
_INSTEAD = {"post_training_int8": "quantize it by calibration on the training data alone"}

_NONE_FROM_BEFORE = (
    "no float network from before quantized training was handed over (float_network=copy.deepcopy(net), made before "
    "qtorch.prepare), so nothing says what quantized training cost"
)

#: What a module says that samples contribute; see :class:`export.figures.evaluation.Evaluation`.
_Method = Callable[[Any, Tensor, Tensor], Any]
#: What outputs ``[N, ...]`` contribute to the figure, float64 ``[N]``.
_Contributions = Callable[[Tensor], np.ndarray]


def judgement(subject: Subject, test: StageFigures, device: str) -> Verdict:
    """Ship, or not, or why there is no answer.

    Args:
        subject: of the export.
        test: its figures.
        device: the stage that is exported.

    Raises:
        BadConfiguration: the module's ``contributions`` are not what its figures are the means of, or its ``better``
            says something else than higher or lower.
    """
    judged = _judgement(subject, test, device)
    of_training = said_of_training(subject.networks.trained) if device == "qat_int8" else []
    return replace(judged, remarks=(*subject.inputs.remarks, *of_training, *judged.remarks))


def as_good_as_its_weights(judged: Verdict, float_name: str) -> bool:
    """Whether figures show that a device is as good as its own weights in float; not so where nothing shows it.

    Args:
        judged: the verdict on the device.
        float_name: what a person calls the float network, see :class:`export.figures.subject.Networks`: of a network
            that was quantized without training these are its weights.
    """
    beside = {each.against: each for each in judged.comparisons}
    own = beside.get(STAGES["qat_float"], beside.get(stage_name("float", float_name)))
    return own is not None and own.outcome == "met" and own.low <= 0


def _judgement(subject: Subject, test: StageFigures, device: str) -> Verdict:
    if not test.figures:
        return no_verdict(test.left_out.get("test", "no test figures"))
    name = next(iter(test.columns or test.figures[device]))
    records = {stage: record for stage, record in test.records.items() if stage in _KINDS or stage == device}
    figures = {stage: {**test.figures, **test.beside}[stage][name] for stage in records}
    outputs = {stage: record.outputs for stage, record in records.items() if record.outputs is not None}
    if len({record.samples for record in records.values()}) > 1:
        return no_verdict("the test loader gives every network other samples; let it give the same ones each time")
    if len(outputs) < len(records):
        return no_verdict(
            "test_step does not call self.net with one tensor, the same each time, in every batch: samples can't be "
            "compared; let it take all figures from the output of one call"
        )
    if not all(map(math.isfinite, figures.values())):
        return no_verdict(f"{name} is not finite{_not_finite_in(records[device])}")
    composed = _composed(subject.evaluation, name, figures, outputs, records[device])
    if isinstance(composed, str):
        return no_verdict(composed)
    of, better, target = composed
    called = {stage: stage_name(stage, subject.networks.float_name) for stage in records}
    values = {stage: of(output) for stage, output in outputs.items()}
    others = [Candidate(called[stage], kind, values[stage]) for stage, kind in _KINDS.items() if stage in values]
    remarks: list[str] = []
    others += [
        Candidate(each, kind, of(output))
        for each, kind, output in _simple(subject.evaluation, name, records[device], target, remarks)
    ]
    if not any(each.kind == "constant" for each in others):
        return no_verdict(f"no constant answer is known that {name} could be compared with")
    if called.get("float", "").startswith(("half-trained", "untrained")):
        remarks.append(
            f"no float network was trained for all epochs: {called['float']}, may be far from what floats can reach"
        )
    if called.get("float") == STAGES["qat_float"]:
        remarks.append(_NONE_FROM_BEFORE)
    candidate = Candidate(called[device], "device", values[device])
    return verdict(name, better, candidate, others, remarks, _INSTEAD.get(device, _WITHOUT_TRAINING))


def _not_finite_in(record: Record) -> str:
    """Where in the test set there is a value that is none, if that is why."""
    read = {} if record.inputs is None else {"an input": record.inputs}
    for what, values in (*read.items(), *(("a target", each) for each in record.others.values())):
        rows = values.reshape(len(values), -1)
        bad = (~rows.isfinite()).any(1).nonzero().flatten().tolist() if values.is_floating_point() else []
        if bad:
            first = bad[0]
            value = float(rows[first][~rows[first].isfinite()][0])
            more = f" and in {len(bad) - 1} more" if len(bad) > 1 else ""
            return f": {what} of test sample {first}{more} is {value}, counted from 0; correct or leave out the sample"
    return ""


def _composed(
    evaluation: Evaluation, name: str, figures: Mapping[str, float], outputs: Mapping[str, Tensor], record: Record
) -> tuple[_Contributions, Literal["higher", "lower"], Tensor] | str:
    """What samples contribute to a figure, which way it is better, and the target; or why that is not known."""
    better = evaluation.direction(name)
    if better not in (None, "higher", "lower"):
        raise BadConfiguration(
            where=f"better of {evaluation.owner}",
            expected=f"'higher' or 'lower' for {name!r}",
            got=repr(better),
            remedy="correct it",
        )
    asked_for, better = better, better or better_by_name(name)
    own = evaluation.contributions
    target = target_of(record)
    if target is None and len(record.others) == 1:
        target = next(iter(record.others.values()))
    x = record.inputs
    if (
        own is not None
        and target is not None
        and (x is not None or evaluation.handed_over)
        and name in _asked(evaluation.owner, own, x, next(iter(outputs.values())), target)
    ):
        said = _as_said(evaluation.owner, own, name, x, target)
        for stage, output in outputs.items():
            if not math.isclose(float(said(output).mean()), figures[stage], rel_tol=_TOLERANCE, abs_tol=1e-9):
                raise BadConfiguration(
                    where=f"{evaluation.owner}.contributions",
                    expected=f"{len(output)} numbers whose mean is {name}, {figures[stage]:.6g}",
                    got=f"a mean of {float(said(output).mean()):.6g}",
                    remedy="return what each sample adds to the figure, times the number of samples where it is a sum",
                )
        return (said, better, target) if better else _undirected(evaluation, name)
    for wanted in record.others.values():
        known = recognized(figures, outputs, wanted)
        if known is not None:
            return _numbers(known, wanted), asked_for or known.better, wanted
    if better is None:
        return _undirected(evaluation, name)
    return (
        f"what each test sample contributes to {name} is not known: it is no mean over samples that outputs and "
        f"targets show, as where a root or a ratio is taken batch by batch; {_contributions_of(evaluation, name)}"
    )


def _contributions_of(evaluation: Evaluation, name: str) -> str:
    if evaluation.handed_over:
        return f"if it is such a mean, let figures return a tensor [N] under {name!r}, what each sample adds"
    return f"give {evaluation.owner} a method contributions(x, output, target)"


def _undirected(evaluation: Evaluation, name: str) -> str:
    said = f"better = {{{name!r}: 'higher'}} or better = {{{name!r}: 'lower'}}"
    if evaluation.handed_over:
        return f"{name} may be better the higher or the lower; pass {said}"
    also = "" if evaluation.contributions is not None else f", and {_contributions_of(evaluation, name)}"
    return f"{name} may be better the higher or the lower; say in {evaluation.owner} which, {said}{also}"


def _asked(owner: str, own: _Method, x: Tensor | None, output: Tensor, target: Tensor) -> Mapping[str, Any]:
    """What a module's method says; its errors are its author's."""
    try:
        contributed = own(x, output, target)
        if not isinstance(contributed, Mapping):
            raise TypeError(f"{type(contributed).__name__} returned, no dict")
    except Exception as error:
        raise BadConfiguration(
            where=f"{owner}.contributions",
            expected="a dict of tensors [N] by the figure's name, of x, output and target of all test samples",
            got=in_words(error),
            remedy="correct the method, or leave it out",
        ) from error
    return contributed


def _as_said(owner: str, own: _Method, name: str, x: Tensor | None, target: Tensor) -> _Contributions:
    def of(output: Tensor) -> np.ndarray:
        contributed = torch.as_tensor(_asked(owner, own, x, output, target)[name]).detach()
        if contributed.shape != (len(output),):
            raise BadConfiguration(
                where=f"{owner}.contributions",
                expected=f"one number for each of {len(output)} samples under {name!r}",
                got=f"shape {tuple(contributed.shape)}",
                remedy="return a tensor [N]",
            )
        return contributed.double().numpy()

    return of


def _numbers(known: Composition, target: Tensor) -> _Contributions:
    return lambda output: known.of(output, target).numpy()


_Simple = tuple[str, Literal["constant", "baseline"], Tensor]


def _simple(evaluation: Evaluation, name: str, record: Record, target: Tensor, remarks: list[str]) -> Iterator[_Simple]:
    """Outputs of what is simpler than a network: a constant answer first, then what is to be beaten; what is left out
    is said in ``remarks``."""
    own = evaluation.simple_outputs(name)
    if own:
        for index, (each, output) in enumerate(own.items()):
            yield each, "baseline" if index else "constant", output
        return
    assert record.outputs is not None
    constant = constant_output(record.outputs, target)
    if constant is not None:
        yield constant[0], "constant", constant[1]
    line = _line(evaluation, record, target)
    if isinstance(line, str):
        remarks.append(f"linear regression is not compared with: {line}")
    elif line is not None:
        yield "linear regression", "baseline", line.reshape(record.outputs.shape)


def _line(evaluation: Evaluation, record: Record, target: Tensor) -> Tensor | str | None:
    """Least squares, of a regression on few numbers; why it is not known, where one was to be expected."""
    x = record.inputs
    if x is None or not target.is_floating_point() or x[0].numel() > _FLAT or not x.is_floating_point():
        return None
    pairs = evaluation.training_pairs(record, target)
    if isinstance(pairs, str):
        return pairs
    if len(pairs[0]) <= x[0].numel() + 1:
        return f"{len(pairs[0])} training samples are too few for it"
    return linear_regression((pairs[0].flatten(1), pairs[1].reshape(len(pairs[1]), -1)), x.flatten(1))
