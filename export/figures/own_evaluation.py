"""What tests networks of somebody's own loop: a function that was handed over, or figures that go without saying."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from export.figures.evaluation import Evaluation, Measure, OutputFigures, tested_on_rows
from export.figures.figures_by_name import figures_by_name, samples_by_figure
from export.figures.handed_over import Shapes
from export.figures.inferred_task import InferredTask, inferred_task, targets_alike
from export.figures.record import Record
from qtorch.capture.samples import Samples, length
from qtorch.errors import BadConfiguration
from qtorch.handed_over.tensors import targets_of
from qtorch.task_figures import TaskFigures, line_figures

__all__ = ["TestedBy", "tested_by"]

_Figures = Callable[[Any, Any, Tensor], Mapping[str, float]]


@dataclass(frozen=True)
class TestedBy:
    """How networks are tested.

    Attributes:
        evaluation: tests them.
        task: that was inferred; ``None`` where a function was handed over, or nothing is known.
        pairs: training and test part of the data, inputs and targets in the task's form; ``None`` where there is no
            task, or no training targets.
    """

    #: Not one of pytest's classes.
    __test__ = False

    evaluation: Evaluation
    task: TaskFigures | None = None
    pairs: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None


def tested_by(
    name: str, inputs: Samples, targets: Tensor | None, test_inputs: Samples | None, test_targets: Any,
    figures: _Figures | None, ways: Mapping[str, Any], outputs: Shapes,
) -> TestedBy:  # fmt: skip
    """What tests the networks of a subject.

    Args:
        name: of the task.
        inputs: of training.
        targets: of training; ``None`` where there are none.
        test_inputs: as they were made into tensors; ``None`` where there are none.
        test_targets: as they were handed over.
        figures: a function of somebody's own; ``None``: what goes without saying.
        ways: which figures are better the higher, and which the lower.
        outputs: of the network, for one sample.

    Raises:
        BadConfiguration: there is a function, and not what it needs; or not as many targets as inputs.
        BadData: targets are no numbers, or classes that the network does not have.
    """
    inferred: InferredTask | str = "no test_figures"
    if figures is None and test_inputs is not None and test_targets is not None:
        wanted = targets_of("test_targets", test_targets, test_inputs, "test_inputs")
        inferred = inferred_task("test_targets", wanted, outputs)
    if not isinstance(inferred, str):
        return _inferred(name, inputs, targets, test_inputs, *inferred, ways)
    evaluation = Evaluation(
        measure=_measure(name, test_inputs, test_targets, figures, ways, inferred),
        owner=name,
        source=f"test_figures of {name}",
        remedy=_RETURN_THEM,
        better=ways,
        training_pairs=lambda record, target: _pairs(inputs, targets, record, target),
        handed_over=True,
    )
    if figures is not None:
        by_sample = partial(samples_by_figure, figures, test_inputs)
        evaluation = replace(evaluation, contributions=lambda _, output, target: by_sample(output, target))
    return TestedBy(evaluation)


def _inferred(
    name: str, inputs: Samples, targets: Tensor | None, x: Samples, task: TaskFigures, wanted: Tensor,
    ways: Mapping[str, Any],
) -> TestedBy:  # fmt: skip
    alike = None if targets is None else targets_alike(task, targets, wanted)
    evaluation = Evaluation(
        measure=tested_on_rows(x, wanted, lambda _, output, target: task.metrics(output, target)),
        owner=name,
        source=f"figures of {name}",
        remedy=_RETURN_THEM,
        columns=task.columns,
        better={**task.better, **ways},
        contributions=lambda _, output, target: task.contributions(output, target),
        training_pairs=lambda record, target: _pairs(inputs, alike, record, target),
    )
    if not isinstance(x, Tensor) or not isinstance(inputs, Tensor):
        return TestedBy(evaluation, task)
    evaluation = replace(evaluation, of_outputs=OutputFigures(x, lambda output: task.metrics(output, wanted)))
    if alike is None:
        return TestedBy(evaluation, task)
    train, test = (inputs, alike), (x, wanted)
    if task.kind == "regression" and x.ndim == wanted.ndim == 2 and x.shape[1] < len(inputs):
        evaluation = replace(evaluation, baselines=lambda: line_figures(train, test))
    return TestedBy(evaluation, task, (train, test))


#: Of a call, and of a command.
_HAND_OVER = "hand over inputs and targets that were not trained on: test=(inputs, targets), or --test DATA"
_RETURN_THEM = (
    "pass a function of inputs, outputs and targets that returns figures by name, each a number, or a tensor [N] of "
    "what samples add, whose mean it is, as in {'mse': (outputs - targets).square().mean(1)}"
)


def _measure(
    name: str,
    x: Samples | None,
    targets: Any,
    figures: Callable[[Any, Any, Tensor], Mapping[str, float]] | None,
    better: Mapping[str, Any],
    inferred: str,
) -> Measure | BadConfiguration:
    """What tests a network; the error where nothing is there to do that.

    Raises:
        BadConfiguration: there is a function, and not what it needs; or not as many targets as inputs.
        BadData: targets are no numbers.
    """
    # Where figures are to be made of both, it is said below that both are needed.
    known = x if figures is None else None
    wanted = None if targets is None else targets_of("test_targets", targets, known, "test_inputs")
    if figures is None and (x is None or wanted is None):
        lacking = "no test data" if x is None else "no targets of the test data"
        return BadConfiguration(
            where=name, expected="inputs and targets, for test_figures", got=lacking, remedy=_HAND_OVER
        )
    if figures is None:
        return BadConfiguration(where=name, expected="test_figures", got=inferred, remedy=_RETURN_THEM)
    if not callable(figures):
        raise BadConfiguration(
            where="test_figures", expected="a function", got=type(figures).__name__, remedy=_RETURN_THEM
        )
    if x is None or wanted is None or length(x) != len(wanted):
        counts = ((0 if x is None else length(x), "inputs"), (0 if wanted is None else len(wanted), "targets"))
        raise BadConfiguration(
            where="test_inputs" if x is None else "test_targets",
            expected="test_inputs and a target for each of them, to make test_figures of",
            got=" and ".join(f"{count} {what}" for count, what in counts),
            remedy="pass both, or leave test_figures out",
        )
    return tested_on_rows(x, wanted, figures_by_name(figures, f"test_figures of {name}", better, _RETURN_THEM))


def _pairs(x: Samples, targets: Tensor | None, record: Record, target: Tensor) -> tuple[Tensor, Tensor] | str:
    """Training samples, if they are what the test is made of."""
    if targets is None:
        return "no training targets were handed over"
    read = record.inputs
    alike = isinstance(x, Tensor) and read is not None and x.shape[1:] == read.shape[1:] and len(x) == len(targets)
    if not alike or targets.shape[1:] != target.shape[1:]:
        return "training inputs and targets have other shapes than those of the test"
    return x, targets
