"""Which task outputs and targets are of, where nobody says how they are to be measured."""

from __future__ import annotations

import torch
from torch import Tensor

from export.figures.handed_over import Shapes
from qtorch.errors import BadData, NotFinite
from qtorch.task_figures import CLASSIFICATION, REGRESSION, TaskFigures

__all__ = ["InferredTask", "inferred_task", "targets_alike"]

#: A task, and the targets in its form: classes int64 ``[N]``, or float32 of the outputs' shape.
InferredTask = tuple[TaskFigures, Tensor]


def inferred_task(where: str, targets: Tensor, outputs: Shapes) -> InferredTask | str:
    """Classification, regression, or why it is neither.

    Whole numbers ``[N]`` or ``[N, 1]`` beside outputs ``[N, C]``, C at least 2, are classes, and so
    are whole numbers ``[N, C]`` with one 1 in each row; numbers of the outputs'
    shape are what the outputs are to be.

    Args:
        where: the argument that targets were handed over as.
        targets: ``[N, ...]``.
        outputs: of the network, for one sample.

    Raises:
        BadData: classes that the network has no output for.
        NotFinite: a target is NaN or infinite.
    """
    if targets.is_floating_point() and not bool(targets.isfinite().all()):
        first = int((~targets.isfinite()).reshape(len(targets), -1).any(1).nonzero()[0])
        raise NotFinite(
            where=where, expected="finite numbers", got=f"{float(targets[first].flatten()[0]):g} as that of sample "
            f"{first}, counted from 0", remedy="correct or leave out the samples that have them",
        )  # fmt: skip
    if len(targets) < 2:
        return f"{len(targets)} sample is too few to measure on"
    if len(outputs) != 1:
        return f"the network has {len(outputs)} outputs, and targets are of one"
    (shape,) = outputs
    own = tuple(targets.shape[1:])
    whole = not targets.is_floating_point() or bool((targets == targets.round()).all())
    if len(shape) == 1 and shape[0] >= 2 and own in ((), (1,)):
        if not whole:
            return f"one fraction for each sample, beside {shape[0]} outputs, is no class"
        return CLASSIFICATION, _classes(where, targets, shape[0])
    if own == shape and len(shape) == 1 and shape[0] >= 2 and _is_one_hot(targets):
        return CLASSIFICATION, targets.argmax(1)
    if own == shape or (own in ((), (1,)) and shape in ((), (1,))):
        single = shape in ((), (1,))
        if (single or not targets.is_floating_point()) and bool(((targets == 0) | (targets == 1)).all()):
            beside = "a single output" if single else "as many outputs"
            return f"0 and 1 beside {beside} may be classes, and where one ends and the other begins is not known"
        return REGRESSION, targets.reshape(len(targets), *shape).float()
    classes = "classes [N], or " if len(shape) == 1 and shape[0] >= 2 else ""
    return (
        f"figures go without saying of {classes}numbers of the outputs' shape, {_rows(shape)}, and targets are "
        f"{_rows(own)}"
    )


def _rows(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(('N', *map(str, shape)))}]"


def _is_one_hot(targets: Tensor) -> bool:
    """Whether whole numbers have one 1 in each row, and else 0."""
    return not targets.is_floating_point() and bool(
        ((targets == 0) | (targets == 1)).all() and (targets.sum(1) == 1).all()
    )


def _classes(where: str, targets: Tensor, count: int) -> Tensor:
    classes = targets.reshape(-1).to(torch.int64)
    low, high = int(classes.min()), int(classes.max())
    if low < 0 or high >= count:
        raise BadData(
            where=where, expected=f"classes from 0 to {count - 1}, as the network has {count} outputs",
            got=f"whole numbers from {low} to {high}",
            remedy="count classes from 0, or give the network an output for each; write what are no classes as floats",
        )  # fmt: skip
    return classes


def targets_alike(task: TaskFigures, targets: Tensor, wanted: Tensor) -> Tensor | None:
    """Training targets in the form of the test's; ``None`` where they have none.

    Args:
        task: that was inferred of the test.
        targets: ``[N, ...]``, as they were handed over.
        wanted: the test's, in the task's form.
    """
    if targets[0].numel() != wanted[0].numel():
        return None
    return targets.reshape(len(targets), *wanted.shape[1:]).to(wanted.dtype)
