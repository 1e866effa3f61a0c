"""A float network out of a file that anybody's training left."""

from __future__ import annotations

import inspect
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import nn
from torch.serialization import get_unsafe_globals_in_checkpoint

from export.float_file.read import float_file
from export.float_networks.file_kind import file_kind
from export.float_networks.named import called_with, named
from export.float_networks.weights import is_state, load_weights
from qtorch.errors import BadCheckpoint, BadConfiguration
from qtorch.lightning.checkpointing.description import load_plain
from qtorch.lightning.checkpointing.entry import KEY
from qtorch.network.calibration import quantizers
from qtorch.preparation.prepare import unwrapped

__all__ = ["FloatNetwork", "float_network"]

#: What loops call the entry of the weights, or of the network, beside what else they save.
_ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
#: Of the classes in a pickle, as many as a line holds.
_SHOWN = 6
_LIGHTNING = "pytorch-lightning_version"
_HYPERPARAMETERS = "hyper_parameters"


@dataclass(frozen=True)
class FloatNetwork:
    """A network in float, and what was assumed of its file.

    Attributes:
        net: in evaluation, on the CPU.
        remarks: a sentence each.
    """

    net: nn.Module
    remarks: tuple[str, ...] = field(default=())


def float_network(path: Path, model: str | None, arguments: Mapping[str, Any]) -> FloatNetwork:
    """The float network of a file: of Lightning, of ``torch.save``, of SafeTensors, or a .tflite file of floats.

    A pickled network is a program: its classes are imported and called, so trust it.

    Args:
        path: of the file.
        model: the network's class, its LightningModule, or a function that makes it, by name; ``None`` where the file
            holds the whole network.
        arguments: of ``model``; those of a Lightning checkpoint's hyperparameters where they are not here.

    Raises:
        BadCheckpoint: no such file, or none with a float network; weights of another network.
        BadConfiguration: there is no such class, or it can't be made of the arguments.
    """
    kind = file_kind(path)
    if kind == "tflite":
        return _converted(path, model)
    content = _safetensors(path) if kind == "safetensors" else _torch_content(path)
    if isinstance(content, nn.Module):
        return _whole(content, path, model)
    if not isinstance(content, Mapping):
        raise _no_network(path, f"a {type(content).__name__}")
    if KEY in content:
        raise BadCheckpoint(
            where=str(path), expected="a float network that was not trained with qtorch",
            got="a checkpoint of its own training, which knows its network and its data",
            remedy=f"qtorch export {path} --out DIR --export.post_training",
        )  # fmt: skip
    entry = None if is_state(content) else next((name for name in _ENTRIES if _is_network(content.get(name))), None)
    if entry is None and not is_state(content):
        raise _no_network(path, f"entries {', '.join(sorted(map(str, content)))[:200] or 'none'}")
    inside = content if entry is None else content[entry]
    if isinstance(inside, nn.Module):
        return _whole(inside, path, model)
    lightning = _LIGHTNING in content
    saved = content.get(_HYPERPARAMETERS) if lightning else None
    return _with_weights(path, inside, model, arguments, dict(saved) if isinstance(saved, Mapping) else {}, lightning)


def _converted(path: Path, model: str | None) -> FloatNetwork:
    """What a .tflite file holds in floats."""
    if model is not None:
        raise _whole_in_file(model)
    read = float_file(path.read_bytes(), str(path))
    return FloatNetwork(read.net, (read.remark,))


def _is_network(value: Any) -> bool:
    return isinstance(value, nn.Module) or is_state(value)


def _no_network(path: Path, got: str) -> BadCheckpoint:
    return BadCheckpoint(
        where=str(path),
        expected=f"a network, its weights by name, or an entry {' or '.join(_ENTRIES[:3])} with either",
        got=got,
        remedy="write it with torch.save(net.state_dict(), ...)",
    )


def _safetensors(path: Path) -> Any:
    if find_spec("safetensors") is None:
        raise BadConfiguration(
            where=str(path), expected="the package safetensors, which reads it", got="none installed",
            remedy="pip install safetensors",
        )  # fmt: skip
    from safetensors.torch import load_file

    try:
        return load_file(path)
    # Its reader of foreign bytes fails in ways of its own.
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> BadCheckpoint:
    return BadCheckpoint(
        where=str(path), expected="a file as it was written",
        got=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}",
        remedy="copy it again; classes that it names have to be importable here",
    )  # fmt: skip


def _torch_content(path: Path) -> Any:
    """What ``torch.save`` wrote: plain values without running any code of it, else whatever it builds."""
    archive = zipfile.is_zipfile(path)
    try:
        return load_plain(path, str(path)) if archive else torch.load(path, map_location="cpu", weights_only=True)
    except (BadCheckpoint, pickle.UnpicklingError):
        # Of files of the older form nothing is known before they are opened.
        names = get_unsafe_globals_in_checkpoint(path) if archive else []
    except Exception as error:
        raise _unreadable(path, error) from error
    rank_zero_info(f"{path}: opening it runs code that it names{': ' * bool(names)}{', '.join(names[:_SHOWN])}")
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    # What it builds is somebody's own, and fails in whatever way it does.
    except Exception as error:
        raise _unreadable(path, error) from error


def _whole(module: nn.Module, path: Path, model: str | None) -> FloatNetwork:
    """A pickled network, or the one in a pickled LightningModule."""
    if model is not None:
        raise _whole_in_file(model)
    return FloatNetwork(_network_in(module, str(path)), (f"a whole {type(module).__name__} is in the file",))


def _whole_in_file(model: str) -> BadConfiguration:
    return BadConfiguration(
        where="--model", expected="none: the file holds the whole network", got=repr(model),
        remedy="leave --model out",
    )  # fmt: skip


def _network_in(module: nn.Module, where: str) -> nn.Module:
    """What is quantized: of a LightningModule its ``net``, or itself where it has a ``forward``."""
    if isinstance(module, pl.LightningModule):
        net = getattr(module, "net", None)
        if not isinstance(net, nn.Module) and not is_overridden("forward", module, pl.LightningModule):
            raise BadConfiguration(
                where=type(module).__name__, expected="the network in attribute 'net', or a forward", got="neither",
                remedy="pass the weights of the network alone: torch.save(module.NAME.state_dict(), 'net.pt')",
            )  # fmt: skip
        module = net if isinstance(net, nn.Module) else module
    module = unwrapped(module)
    if quantizers(module):
        raise BadCheckpoint(
            where=where, expected="a float network", got=f"a {type(module).__name__} that is prepared already",
            remedy="export it from the program that trained it: export.export_network(network, DIR, calibration=x)",
        )  # fmt: skip
    return module.cpu().eval()


def _with_weights(
    path: Path, weights: Mapping[str, Any], model: str | None, arguments: Mapping[str, Any],
    saved: Mapping[str, Any], lightning: bool,
) -> FloatNetwork:  # fmt: skip
    named_in_file = saved.get("_class_path")
    chosen = model or (named_in_file if isinstance(named_in_file, str) else None)
    if chosen is None:
        what = "the LightningModule that was trained" if lightning else "the network's class, or what makes it"
        raise BadConfiguration(
            where="--model", expected=f"{what}: {path} holds weights alone", got="none",
            remedy="add --model my_package.MyNet, and its arguments as in --model.width 8",
        )  # fmt: skip
    make = named("--model", chosen)
    if not callable(make):
        raise BadConfiguration(
            where="--model", expected="a class, or a function that makes a network",
            got=f"{chosen}, which is a {type(make).__name__}", remedy="name the class",
        )  # fmt: skip
    module = called_with("--model", make, {**_taken(make, saved), **arguments})
    if not isinstance(module, nn.Module):
        raise BadConfiguration(
            where="--model", expected="an nn.Module", got=f"{chosen} gives a {type(module).__name__}",
            remedy="name the network's class, or a function that returns it",
        )  # fmt: skip
    remarks = load_weights(module, weights, str(path))
    return FloatNetwork(_network_in(module, str(path)), remarks)


def _taken(make: Any, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Of saved hyperparameters those that a constructor takes; the others are of other things."""
    parameters = inspect.signature(make).parameters.values()
    open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters)
    names = {each.name for each in parameters}
    return {name: value for name, value in saved.items() if name in names or (open_ended and not name.startswith("_"))}
