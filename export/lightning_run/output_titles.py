"""What the numbers that a network says are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from export.tflite.metadata import class_names
from qtorch.errors import BadConfiguration
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.classification import Classification
from qtorch.lightning.data import ArrayDataModule

__all__ = ["output_titles"]

#: Attributes of a module, or of its data module, that name outputs.
_NAMED = ("class_names", "output_names")


def output_titles(run: Run, outputs: int | None = None) -> tuple[str, ...]:
    """Names of the outputs; none if they have none.

    Of an ``ArrayDataModule`` those of its interface, without the words that all classes share; of any other module or
    data module its ``class_names`` or ``output_names``.

    Args:
        run: trained.
        outputs: how many numbers the network says.

    Raises:
        BadConfiguration: names that are no text, or more or fewer than outputs.
    """
    if isinstance(run.data, ArrayDataModule):
        titles = [feature.name for feature in run.data.arrays.interface.outputs]
        return class_names(titles) if isinstance(run.module, Classification) else tuple(titles)
    for owner in (run.module, run.data):
        for attribute in _NAMED:
            names: Any = getattr(owner, attribute, None)
            if names is None or callable(names):
                continue
            if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(n, str) for n in names):
                raise BadConfiguration(
                    where=f"{type(owner).__name__}.{attribute}", expected="a list of names", got=repr(names)[:80],
                    remedy="write one text for each output of the network",
                )  # fmt: skip
            if outputs is not None and len(names) != outputs:
                raise BadConfiguration(
                    where=f"{type(owner).__name__}.{attribute}",
                    expected=f"{outputs} names, one for each output of the network",
                    got=f"{len(names)}: {', '.join(names)[:80]}",
                    remedy="name every output, in the order in which the network has them",
                )
            return tuple(names)
    return ()
