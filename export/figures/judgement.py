"""The verdict on a run's export: by which figure, of which networks it is known, what simpler ones reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from export.figures.figure_names import better_by_name
from export.figures.sample_figures import Composition, constant_output, recognized
from export.figures.stages import StageFigures, float_name, stage_name
from export.figures.verdict import Candidate, Verdict, no_verdict, verdict
from export.lightning_run.real_inputs import RealInputs, in_words
from export.lightning_run.recorded_test import Record
from export.lightning_run.training_pairs import training_pairs
from qtorch.errors import BadConfiguration
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.data import ArrayDataModule
from qtorch.lightning.regression import linear_regression
from qtorch.lightning.task import Task

__all__ = ["judgement", "target_of"]

#: Numbers of an input up to which a straight line is fitted to them.
_FLAT = 64
#: By how much a figure, a float32 mean over batches, may differ from the mean of contributions.
_TOLERANCE = 1e-4
#: What the device is compared with, by stage.
_KINDS: Mapping[str, Literal["float", "quantized"]] = {"float": "float", "qat_float": "float", "ptq_int8": "quantized"}

#: What outputs ``[N, ...]`` contribute to the figure, float64 ``[N]``.
_Contributions = Callable[[Tensor], np.ndarray]


def target_of(record: Record) -> Tensor | None:
    """What the outputs of a test are to be: the one tensor of the batches that can be that, of several the second."""
    if record.outputs is None:
        return None
    found = {i: each for i, each in record.others.items() if constant_output(record.outputs, each) is not None}
    return next(iter(found.values())) if len(found) == 1 else found.get(1)


def judgement(run: Run, test: StageFigures, device: str, inputs: RealInputs) -> Verdict:
    """Ship, or not, or why there is no answer.

    Args:
        run: trained.
        test: its figures.
        device: the stage that is exported.
        inputs: the run's.

    Raises:
        BadConfiguration: the module's ``contributions`` are not what its figures are the means of, or its ``better``
            says something else than higher or lower.
    """
    found = _judgement(run, test, device, inputs)
    return replace(found, remarks=(*inputs.remarks, *found.remarks))


def _judgement(run: Run, test: StageFigures, device: str, inputs: RealInputs) -> Verdict:
    if not test.figures:
        return no_verdict(test.left_out.get("test", "no test figures"))
    name = next(iter(test.columns(run.module) or test.figures[device]))
    records = {stage: record for stage, record in test.records.items() if stage in _KINDS or stage == device}
    figures = {stage: {**test.figures, **test.beside}[stage][name] for stage in records}
    outputs = {stage: record.outputs for stage, record in records.items() if record.outputs is not None}
    if len({record.samples for record in records.values()}) > 1:
        return no_verdict("the test loader gives every network other samples; let it give the same ones each time")
    if len(outputs) < len(records):
        return no_verdict("test_step does not call self.net once a batch with one tensor: samples can't be compared")
    if not all(map(math.isfinite, figures.values())):
        return no_verdict(f"{name} is not finite{_not_finite_in(records[device])}")
    found = _composed(run, name, figures, outputs, records[device])
    if isinstance(found, str):
        return no_verdict(found)
    of, better, target = found
    called = {stage: stage_name(stage, float_name(run)) for stage in records}
    values = {stage: of(output) for stage, output in outputs.items()}
    others = [Candidate(called[stage], kind, values[stage]) for stage, kind in _KINDS.items() if stage in values]
    remarks: list[str] = []
    others += [
        Candidate(each, kind, of(output))
        for each, kind, output in _simple(run, name, records[device], target, inputs, remarks)
    ]
    if not any(each.kind == "constant" for each in others):
        return no_verdict(f"no constant answer is known that {name} could be compared with")
    if called.get("float", "").startswith(("half-trained", "untrained")):
        remarks.append(
            f"no float network was trained for all epochs: {called['float']}, may be far from what floats can reach"
        )
    return verdict(name, better, Candidate(called[device], "device", values[device]), others, remarks)


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
    run: Run, name: str, figures: Mapping[str, float], outputs: Mapping[str, Tensor], record: Record
) -> tuple[_Contributions, Literal["higher", "lower"], Tensor] | str:
    """What samples contribute to a figure, which way it is better, and the target; or why that is not known."""
    said = getattr(run.module, "better", {})
    better = said.get(name) if isinstance(said, Mapping) else said
    if better not in (None, "higher", "lower"):
        raise BadConfiguration(
            where=f"better of {type(run.module).__name__}",
            expected=f"'higher' or 'lower' for {name!r}",
            got=repr(better),
            remedy="correct it",
        )
    asked_for, better = better, better or better_by_name(name)
    own: Any = getattr(run.module, "contributions", None)
    target = target_of(record)
    if target is None and len(record.others) == 1:
        target = next(iter(record.others.values()))
    asked = callable(own) and target is not None and record.inputs is not None
    if asked and name in _asked(run, own, record.inputs, next(iter(outputs.values())), target):
        assert target is not None
        wanted = target
        given = _as_said(run, own, name, record.inputs, wanted)
        for stage, output in outputs.items():
            if not math.isclose(float(given(output).mean()), figures[stage], rel_tol=_TOLERANCE, abs_tol=1e-9):
                raise BadConfiguration(
                    where=f"{type(run.module).__name__}.contributions",
                    expected=f"{len(output)} numbers whose mean is {name}, {figures[stage]:.6g}",
                    got=f"a mean of {float(given(output).mean()):.6g}",
                    remedy="return what each sample adds to the figure, times the number of samples where it is a sum",
                )
        return (given, better, wanted) if better else _undirected(run, name)
    for wanted in record.others.values():
        known = recognized(figures, outputs, wanted)
        if known is not None:
            return _numbers(known, wanted), asked_for or known.better, wanted
    if better is None:
        return _undirected(run, name)
    return (
        f"what each test sample contributes to {name} is not known: it is no mean over samples that outputs and "
        f"targets show, as where a root or a ratio is taken batch by batch; {_contributions_of(run)}"
    )


def _contributions_of(run: Run) -> str:
    return f"give {type(run.module).__name__} a method contributions(x, output, target)"


def _undirected(run: Run, name: str) -> str:
    said = f"better = {{{name!r}: 'higher'}} or better = {{{name!r}: 'lower'}}"
    also = "" if callable(getattr(run.module, "contributions", None)) else f", and {_contributions_of(run)}"
    return f"{name} may be better the higher or the lower; say in {type(run.module).__name__} which, {said}{also}"


def _asked(run: Run, own: Any, *arguments: Tensor | None) -> Mapping[str, Any]:
    """What a module's method says; its errors are its author's."""
    try:
        found = own(*arguments)
        if not isinstance(found, Mapping):
            raise TypeError(f"{type(found).__name__} returned, no dict")
    except Exception as error:
        raise BadConfiguration(
            where=f"{type(run.module).__name__}.contributions",
            expected="a dict of tensors [N] by the figure's name, of x, output and target of all test samples",
            got=in_words(error),
            remedy="correct the method, or leave it out",
        ) from error
    return found


def _as_said(run: Run, own: Any, name: str, x: Tensor | None, target: Tensor) -> _Contributions:
    def of(output: Tensor) -> np.ndarray:
        found = torch.as_tensor(_asked(run, own, x, output, target)[name]).detach()
        if found.shape != (len(output),):
            raise BadConfiguration(
                where=f"{type(run.module).__name__}.contributions",
                expected=f"one number for each of {len(output)} samples under {name!r}",
                got=f"shape {tuple(found.shape)}",
                remedy="return a tensor [N]",
            )
        return found.double().numpy()

    return of


def _numbers(known: Composition, target: Tensor) -> _Contributions:
    return lambda output: known.of(output, target).numpy()


_Simple = tuple[str, Literal["constant", "baseline"], Tensor]


def _simple(
    run: Run, name: str, record: Record, target: Tensor, inputs: RealInputs, remarks: list[str]
) -> Iterator[_Simple]:
    """Outputs of what is simpler than a network: a constant answer first, then what is to be beaten; what is left out
    is said in ``remarks``."""
    module, data = run.module, run.data
    arrays = data.arrays if isinstance(data, ArrayDataModule) else None
    own = module.simple_outputs(name, arrays.train, arrays.test) if isinstance(module, Task) and arrays else {}
    if own:
        for index, (each, output) in enumerate(own.items()):
            yield each, "baseline" if index else "constant", output
        return
    assert record.outputs is not None
    constant = constant_output(record.outputs, target)
    if constant is not None:
        yield constant[0], "constant", constant[1]
    line = _line(run, record, target, inputs)
    if isinstance(line, str):
        remarks.append(f"linear regression is not compared with: {line}")
    elif line is not None:
        yield "linear regression", "baseline", line.reshape(record.outputs.shape)


def _line(run: Run, record: Record, target: Tensor, inputs: RealInputs) -> Tensor | str | None:
    """Least squares, of a regression on few numbers; why it is not known, where one was to be expected."""
    x = record.inputs
    if x is None or not target.is_floating_point() or x[0].numel() > _FLAT or not x.is_floating_point():
        return None
    pairs = _training_pairs(run, record, target, inputs)
    if isinstance(pairs, str):
        return pairs
    if len(pairs[0]) <= x[0].numel() + 1:
        return f"{len(pairs[0])} training samples are too few for it"
    return linear_regression((pairs[0].flatten(1), pairs[1].reshape(len(pairs[1]), -1)), x.flatten(1))


def _training_pairs(run: Run, record: Record, target: Tensor, inputs: RealInputs) -> tuple[Tensor, Tensor] | str:
    """Inputs and targets of training samples, in the form in which the test has them."""
    data, assumed = run.data, record.inputs
    assert assumed is not None
    if isinstance(data, ArrayDataModule):
        pairs: tuple[Tensor, Tensor] = data.arrays.train
        # As they lie there they are what the network gets.
        if inputs.get("train") is pairs[0] and pairs[1].shape[1:] == target.shape[1:]:
            return pairs
    index = next((i for i, each in record.others.items() if each is target), None)
    # A task's own figures are of its arrays, which have no names.
    place = "[1]" if not record.places else "" if index is None else record.places[index]
    return training_pairs(run, inputs, place, tuple(assumed.shape[1:]), target)
