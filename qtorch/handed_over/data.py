"""Data in whatever form they come: tensors, arrays, a tuple of several inputs, batches, a loader, targets or none.

A tuple is a network's several inputs, or inputs and targets: what the network is called with tells the one from the
other.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, Dataset, TensorDataset

from qtorch.capture.call_form import arguments_of, signature_of, tensors_in
from qtorch.capture.samples import Samples, joined, length
from qtorch.errors import BadData, BadInput
from qtorch.handed_over.as_called import is_call
from qtorch.handed_over.tensors import samples_of, targets_of
from qtorch.handed_over.words import in_words, shown
from qtorch.network.quantized_network import QuantizedNetwork
from qtorch.surroundings import undisturbed_random_numbers

__all__ = ["Data", "data_of", "inputs_taken"]

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


def inputs_taken(net: nn.Module) -> int | None:
    """How many inputs a call of a network needs; ``None`` where it takes any number."""
    if isinstance(net, QuantizedNetwork):
        return len(net.origin.shapes)
    kinds = inspect.Parameter
    parameters = signature_of(net).parameters.values()
    if any(each.kind is kinds.VAR_POSITIONAL for each in parameters):
        return None
    own = [each for each in parameters if each.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    return max(1, sum(each.default is kinds.empty for each in own))


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
        return not any(_holds_arrays(each) for each in data)
    return isinstance(data, Tensor | np.ndarray | tuple | dict)


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_arrays, value.values()))
    return isinstance(value, Tensor | np.ndarray) or (
        isinstance(value, list | tuple) and any(map(_holds_arrays, value))
    )


def _split(where: str, batch: Any, net: nn.Module) -> Data:
    inputs, targets = _told_apart(where, batch, net)
    read = tree_map(_on_cpu, samples_of(where, inputs, net))
    wanted = None if targets is None else _on_cpu(targets_of(f"targets of {where}", targets, read, where))
    return Data(read, wanted)


def _on_cpu(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, Tensor) else value


def _told_apart(where: str, batch: Any, net: nn.Module) -> tuple[Any, Any]:
    """Inputs and targets: a prepared network knows what it is called with, a float one how many arguments it takes."""
    if not isinstance(batch, tuple | list) or (isinstance(batch, list) and not any(map(_holds_arrays, batch))):
        return batch, None
    parts, takes = tuple(batch), inputs_taken(net)
    front = parts[0] if len(parts) == 2 else parts[:-1]
    if isinstance(net, QuantizedNetwork):
        if is_call(net, parts):
            return (parts[0] if len(parts) == 1 else parts), None
        if len(parts) > 1 and is_call(net, front):
            return front, parts[-1]
    elif isinstance(front, dict) and arguments_of(signature_of(net), front).kwargs:
        return front, parts[-1]
    nested = bool(parts) and isinstance(parts[0], tuple | list) and _holds_arrays(parts[0])
    if len(parts) == 2 and (takes == 1 or nested):
        return tuple(parts[0]) if nested and takes != 1 else parts[0], parts[1]
    if takes is None or len(parts) == takes:
        return (parts[0] if len(parts) == 1 and not nested else parts), None
    if len(parts) == takes + 1:
        return parts[:-1], parts[-1]
    if len(parts) == 1:
        return parts[0], None
    raise BadData(
        where=where, expected=f"{takes} input{'' if takes == 1 else 's'} of the network, or these and targets",
        got=f"{len(parts)} parts: {shown(batch)}", remedy=_REMEDY,
    )  # fmt: skip


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
        return Data(joined([each.inputs for each in read]), torch.cat(targets) if targets else None, remark)
    # What PyTorch says of shapes or structures that differ.
    except (RuntimeError, ValueError) as error:
        raise BadData(
            where=where, expected="batches of one form", got=in_words(error),
            remedy="pass samples of one shape; inputs and targets of one batch stand in a tuple, not in a list",
        ) from error  # fmt: skip
