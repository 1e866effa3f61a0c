"""The split that keeps every class's share."""

from __future__ import annotations

import pytest
import torch

from qtorch.data.stratified import stratified_split
from qtorch.errors import BadData


def test_every_index_stands_in_one_part_and_every_class_keeps_its_share() -> None:
    labels = torch.tensor([7] * 50 + [2] * 10 + [7] * 50 + [3] * 5)
    parts = stratified_split(labels, 0)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(115))
    assert [torch.bincount(labels[part])[[2, 3, 7]].tolist() for part in parts] == [[6, 3, 60], [2, 1, 20], [2, 1, 20]]
    assert all(torch.equal(part, part.sort().values) for part in parts)


def test_the_seed_decides() -> None:
    labels = torch.arange(100) % 4
    first, again, other = (stratified_split(labels, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, torch.arange(60)), "the order of a file says nothing about the part"


def test_too_few_of_a_class() -> None:
    with pytest.raises(BadData, match=r"class 1: expected at least 5 samples.*got 4"):
        stratified_split(torch.tensor([0] * 9 + [1] * 4), 0)
