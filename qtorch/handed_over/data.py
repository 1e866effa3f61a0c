"""Data in whatever form they come: tensors, arrays, a tuple of several inputs, batches, a loader, targets or none.

A tuple is a network's several inputs, or inputs and targets: what the network is called with tells the one from the
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, Dataset, TensorDataset

from qtorch.capture.call_form import tensors_in
from qtorch.capture.samples import Samples, joined, length
from qtorch.capture.told_apart import holds_arrays, inputs_taken, parts_of
from qtorch.errors import BadData, BadInput
from qtorch.handed_over.tensors import samples_of, targets_of
from qtorch.handed_over.words import in_words, shown
from qtorch.surroundings import undisturbed_random_numbers

__all__ = ["Data", "data_of"]

#: Samples of a dataset at a time.
_BATCH = 256
#: Numbers of a loader's inputs that are kept, 1 GiB of them: it may have no end.
_MOST = 2**28
_REMEDY = (
    "pass inputs (a tensor or array, a tuple where the network takes several, a dict where it takes one), inputs and "
    "targets in a tuple, a list of batches, or a DataLoader of either"
)


@dataclass(frozen=True)
class Data:
    """What was handed over, in memory of the CPU.

    Attributes:
        inputs: float32 ``[N, ...]``, int64 of indices, or a tuple of a network's several.
        targets: ``[N, ...]``; ``None`` where none came.
        remark: what a reader should know of how they were read; empty where there is nothing.
    """

    inputs: Samples
    targets: Tensor | None
    remark: str = ""


def data_of(where: str, data: Any, net: nn.Module) -> Data:
    """Inputs, and targets where there are some.

    Args:
        where: the argument that they were handed over as.
        data: a tensor, an array or a list of numbers; a tuple of several inputs, or of inputs and targets; inputs in a
            dict or list where the network is called so; an iterable of such batches: a list, a DataLoader, a
            generator; or a Dataset.
        net: whose inputs they are.

    Raises:
        BadData: they can't be read, or are not what a network takes.
        NotFinite: inputs hold NaN or infinity.
    """
    if isinstance(data, TensorDataset):
        data = data.tensors
    elif isinstance(data, Dataset):
        data = DataLoader(data, batch_size=_BATCH)
    if _is_whole(data):
        return _split(where, data, net)
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        raise BadData(where=where, expected="data", got=shown(data), remedy=_REMEDY)
    return _together(where, _batches(where, data, net))


def _is_whole(data: Any) -> bool:
    if isinstance(data, list):
        return not any(holds_arrays(each) for each in data)
    return isinstance(data, Tensor | np.ndarray | tuple | dict)


def _split(where: str, batch: Any, net: nn.Module) -> Data:
    parts = parts_of(net, batch)
    if parts is None:
        takes = inputs_taken(net)
        raise BadData(
            where=where, expected=f"{takes} input{'' if takes == 1 else 's'} of the network, or these and targets",
            got=f"{len(batch)} parts: {shown(batch)}", remedy=_REMEDY,
        )  # fmt: skip
    read = tree_map(_on_cpu, samples_of(where, parts.inputs, net))
    wanted = None if parts.targets is None else _on_cpu(targets_of(f"targets of {where}", parts.targets, read, where))
    return Data(read, wanted, parts.remark and f"{where}: {parts.remark}")


def _on_cpu(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, Tensor) else value


def _batches(where: str, data: Iterable[Any], net: nn.Module) -> Iterator[Data]:
    # What is drawn to shuffle or to augment is nobody else's business.
    with undisturbed_random_numbers():
        try:
            for batch in data:
                yield _split(where, batch, net)
        except BadInput:
            raise
        # A loader of somebody's own fails in whatever way it does.
        except Exception as error:
            raise BadData(
                where=where, expected="batches", got=f"{type(data).__name__}, which ends in {in_words(error)}",
                remedy="correct the loader, or pass tensors",
            ) from error  # fmt: skip


def _together(where: str, batches: Iterator[Data]) -> Data:
    read: list[Data] = []
    numbers, remark = 0, ""
    for batch in batches:
        read.append(batch)
        numbers += sum(each.numel() for each in tensors_in(batch.inputs))
        if numbers >= _MOST:
            count = sum(length(each.inputs) for each in read)
            remark = f"the first {count:,} samples of {where} stand for all of them"
            break
    if not read:
        raise BadData(where=where, expected="at least one batch", got="none", remedy=_REMEDY)
    targets = [each.targets for each in read if each.targets is not None]
    try:
        if targets and len(targets) < len(read):
            raise ValueError(f"{len(targets)} of {len(read)} with targets")
        remarks = "; ".join(filter(None, (remark, read[0].remark)))
        return Data(joined([each.inputs for each in read]), torch.cat(targets) if targets else None, remarks)
    # What PyTorch says of shapes or structures that differ.
    except (RuntimeError, ValueError) as error:
        raise BadData(
            where=where, expected="batches of one form", got=in_words(error),
            remedy="pass samples of one shape; inputs and targets of one batch stand in a tuple, not in a list",
        ) from error  # fmt: skip
