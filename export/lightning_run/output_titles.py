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
        names = [feature.name for feature in run.data.arrays.interface.outputs]
        return class_names(names) if isinstance(run.module, Classification) else tuple(names)
    for owner in (run.module, run.data):
        for attribute in _NAMED:
            given: Any = getattr(owner, attribute, None)
            if given is None or callable(given):
                continue
            if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(n, str) for n in given):
                raise BadConfiguration(
                    where=f"{type(owner).__name__}.{attribute}", expected="a list of names", got=repr(given)[:80],
                    remedy="write one text for each output of the network",
                )  # fmt: skip
            if outputs is not None and len(given) != outputs:
                raise BadConfiguration(
                    where=f"{type(owner).__name__}.{attribute}",
                    expected=f"{outputs} names, one for each output of the network",
                    got=f"{len(given)}: {', '.join(given)[:80]}",
                    remedy="name every output, in the order in which the network has them",
                )
            return tuple(given)
    return ()
