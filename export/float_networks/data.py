"""Inputs and targets that a command line names: a file of numbers, or a class or function of somebody's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Dataset, IterableDataset

from export.float_networks.data_file import data_in, is_data_file
from export.float_networks.named import called_with, named
from qtorch.capture.call_form import signature_of, tensors_in
from qtorch.capture.samples import Samples, joined
from qtorch.errors import BadConfiguration, BadData, BadInput

__all__ = ["Pair", "Parts", "data_of", "parts_of"]

#: Of data that come in batches, as many samples as measure ranges well.
_ENOUGH = 2048
_INPUTS, _TARGETS = ("inputs", "x", "input", "data"), ("targets", "y", "target", "labels", "label")


@dataclass(frozen=True)
class Pair:
    """Inputs of a network, and their targets where there are some.

    Attributes:
        inputs: as they lie in the file, or as they were given.
        targets: whole numbers or floats, a row for each sample.
        remarks: what was assumed, a sentence each.
    """

    inputs: Samples
    targets: Tensor | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parts:
    """What one name gives.

    Attributes:
        pair: that it was named for.
        test: the test part of a LightningDataModule that has one with targets.
    """

    pair: Pair
    test: Pair | None = None


def data_of(option: str, path: str, arguments: Mapping[str, Any], net: nn.Module) -> Pair:
    """What an option names; see :func:`parts_of`."""
    return parts_of(option, path, arguments, net).pair


def parts_of(option: str, path: str, arguments: Mapping[str, Any], net: nn.Module, *, tested: bool = False) -> Parts:
    """What an option names, and what there is beside it to test on.

    Args:
        option: ``--data``, of which calibration inputs are taken, or ``--test``.
        path: of a file; or ``my_package.MyData``, a LightningDataModule or Dataset; or ``my_package:function`` that
            returns arrays, a pair of inputs and targets, a Dataset or a DataLoader.
        arguments: of the class or function.
        net: whose inputs they are: of a network of several, two arrays are inputs, else inputs and targets.
        tested: the test part is asked for too.

    Raises:
        BadData: there is no such file, or it holds no numbers.
        BadConfiguration: there is no such class, or it can't be made of the arguments.
    """
    if is_data_file(path):
        if arguments:
            raise BadConfiguration(
                where=f"{option}.{next(iter(arguments))}", expected="a class or function that takes arguments",
                got=f"the file {path}", remedy="leave it out",
            )  # fmt: skip
        return Parts(_remarked(_pair(path, data_in(Path(path)), net)))
    thing = named(option, path)
    made = called_with(option, thing, arguments) if callable(thing) else thing
    try:
        pair = _remarked(_pair(path, _in_memory(made, test=option == "--test"), net))
        return Parts(pair, _test_part(path, made, net) if tested else None)
    except BadInput:
        raise
    # Data of somebody's own fail in whatever way they do.
    except Exception as error:
        raise BadData(
            where=f"{option} {path}", expected="batches, samples or arrays",
            got=f"{type(error).__name__}: {' '.join(str(error).split())}",
            remedy="correct what it names, or pass a file of numbers: .npy, .npz, .pt or .csv",
        ) from error  # fmt: skip


def _remarked(pair: Pair) -> Pair:
    """Pixels of a byte are seldom what a network was trained on."""
    arrays = [each for each in tree_leaves(pair.inputs) if isinstance(each, np.ndarray | Tensor)]
    whole = sorted({_type(each) for each in arrays if "int" in _type(each)})
    return replace(
        pair, remarks=tuple(f"inputs of type {each} are taken as the numbers that they are" for each in whole)
    )


def _test_part(path: str, made: Any, net: nn.Module) -> Pair | None:
    """Of the module that gave the calibration data, so that a split that it draws is the same."""
    if not isinstance(made, pl.LightningDataModule) or type(made).test_dataloader is _NO_TEST:
        return None
    pair = _remarked(_pair(path, _in_memory(made, test=True), net))
    return None if pair.targets is None else pair


#: That of a module which says nothing of its test data.
_NO_TEST = pl.LightningDataModule.test_dataloader


def _in_memory(made: Any, *, test: bool) -> Any:
    """Arrays, as they are or gathered from what gives them a batch or a sample at a time."""
    if isinstance(made, pl.LightningDataModule):
        made.prepare_data()
        made.setup("test" if test else "fit")
        made = made.test_dataloader() if test else made.train_dataloader()
    if isinstance(made, Dataset) and not isinstance(made, IterableDataset):
        # The same samples each time, in the order in which they lie.
        made = DataLoader(made, batch_size=256)
    elif isinstance(made, IterableDataset):
        made = DataLoader(made, batch_size=None)
    if isinstance(made, DataLoader):
        return _gathered(made, None if test else _ENOUGH)
    return made


def _gathered(loader: Any, enough: int | None) -> Any:
    """Batches of a loader, one after another, until there are enough samples."""
    parts, count = [], 0
    for batch in loader:
        parts.append(tuple(batch) if isinstance(batch, list) else batch)
        count += len(tensors_in(parts[-1])[0])
        if enough is not None and count >= enough:
            break
    if not parts:
        raise BadData(where="data", expected="at least one batch", got="none", remedy="see that the loader has samples")
    return joined(parts)


def _pair(path: str, content: Any, net: nn.Module) -> Pair:
    """Inputs and targets, told from each other by their names, or by how many inputs the network has."""
    parameters = [each for each in signature_of(net).parameters.values() if each.kind is not each.VAR_KEYWORD]
    required = [each.name for each in parameters if each.default is each.empty and each.kind is not each.VAR_POSITIONAL]
    if isinstance(content, Mapping):
        return _pair_by_name(path, content, required)
    if isinstance(content, tuple | list) and not _is_numbers(content):
        parts = tuple(content)
        if len(parts) == 1:
            return Pair(parts[0])
        if len(parts) == len(required):
            return Pair(parts)
        if len(parts) == 2:
            return Pair(parts[0], _target(path, parts[1]))
        if len(parts) == len(required) + 1:
            return Pair(parts[:-1], _target(path, parts[-1]))
        raise BadData(
            where=path, expected=f"{len(required)} inputs ({', '.join(required)}), and targets behind them or none",
            got=f"{len(parts)} arrays", remedy="give as many as the network's forward takes",
        )  # fmt: skip
    return Pair(content)


def _type(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")


def _is_numbers(content: Sequence[Any]) -> bool:
    return bool(content) and isinstance(content[0], int | float)


def _pair_by_name(path: str, content: Mapping[Any, Any], required: Sequence[str]) -> Pair:
    targets = next((content[name] for name in _TARGETS if name in content and name not in required), None)
    target = None if targets is None else _target(path, targets)
    if len(required) > 1 and all(name in content for name in required):
        return Pair(tuple(content[name] for name in required), target)
    names = [*(name for name in (*required[:1], *_INPUTS) if name in content)]
    if not names and len(content) == 1:
        names = list(content)
    if not names or len(required) > 1:
        expected = "entries " + ", ".join(required) if len(required) > 1 else f"an entry {' or '.join(_INPUTS[:2])}"
        raise BadData(
            where=path, expected=f"{expected}, and {' or '.join(_TARGETS[:2])} for targets",
            got=f"entries {', '.join(sorted(map(str, content))) or 'none'}", remedy="rename them",
        )  # fmt: skip
    return Pair(content[names[0]], target)


def _target(path: str, targets: Any) -> Tensor:
    if isinstance(targets, np.ndarray) and targets.dtype.kind in "biuf":
        whole = targets.dtype.kind in "biu"
        return torch.from_numpy(np.ascontiguousarray(targets, dtype=np.int64 if whole else np.float32))
    if isinstance(targets, Tensor):
        return targets.detach().cpu()
    raise BadData(
        where=path, expected="targets as one array of numbers", got=_shown(targets),
        remedy="give an array with a row for each sample",
    )  # fmt: skip


def _shown(value: Any) -> str:
    return f"an array of {_type(value)}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
