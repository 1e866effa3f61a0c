"""A split in which every class keeps its share of every part."""

from __future__ import annotations

import torch
from torch import Tensor

from qtorch.errors import BadData

__all__ = ["stratified_split"]

#: With fewer of a class, some part would have none of it.
_FEWEST = 5


def stratified_split(labels: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of 60 % for training, 20 % for validation and 20 % for the test, of each class.

    Example:
        >>> train, validation, test = stratified_split(torch.tensor([0] * 10 + [1] * 5), seed=0)
        >>> len(train), len(validation), len(test)
        (9, 3, 3)

    Args:
        labels: int64 ``[N]``, the class of each sample.
        seed: of the draw; independent of the seed of training.

    Returns:
        Three int64 tensors that hold each of ``0 .. N - 1`` once, each ascending.

    Raises:
        BadData: a class has fewer than five samples.
    """
    generator = torch.Generator().manual_seed(seed)
    parts: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for label in labels.unique().tolist():
        members = (labels == label).nonzero()[:, 0]
        count = len(members)
        if count < _FEWEST:
            raise BadData(
                where=f"class {label}",
                expected=f"at least {_FEWEST} samples, so that every part has some",
                got=f"{count}",
                remedy="pass more of it",
            )
        shuffled = members[torch.randperm(count, generator=generator)]
        first, second = round(0.6 * count), round(0.8 * count)
        for part, piece in zip(parts, (shuffled[:first], shuffled[first:second], shuffled[second:]), strict=True):
            part.append(piece)
    train, validation, test = (torch.cat(part).sort().values for part in parts)
    return train, validation, test
