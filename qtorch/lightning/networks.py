"""The network in a LightningModule: where it is, what it reads, and how it becomes what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.core import saving
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn

from qtorch.config import QuantizationConfig
from qtorch.errors import BadConfiguration
from qtorch.lightning.replacing import replace_network
from qtorch.network.described_ops import require_rows
from qtorch.network.quantized_network import EXTRA_STATE, QuantizedNetwork
from qtorch.network.whole_parameters import SHARDING_REMEDY
from qtorch.packed_state import unpacked
from qtorch.preparation.prepare import prepare

__all__ = [
    "DESCRIPTION",
    "INSTANTIATOR",
    "adopting",
    "described_in",
    "example_of",
    "inputs_of",
    "instantiate",
    "network_of",
    "require_inputs",
    "require_no_contradiction",
    "require_still_prepared",
    "require_whole_networks",
]

#: The entry of a module's state that says what its network is.
DESCRIPTION = f"net.{EXTRA_STATE}"

_SHARDING = (DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy)


def network_of(pl_module: pl.LightningModule) -> nn.Module:
    """The attribute ``net``, which is what gets quantized.

    Raises:
        BadConfiguration: there is none.
    """
    net = getattr(pl_module, "net", None)
    if not isinstance(net, nn.Module):
        raise BadConfiguration(
            where=type(pl_module).__name__,
            expected="the network in attribute 'net', an nn.Module",
            got=type(net).__name__,
            remedy=_remedy(pl_module),
        )
    return net


def _remedy(pl_module: pl.LightningModule) -> str:
    """What to write in the constructor, where no network is called ``net``: layers that are trained stand elsewhere."""
    trained = [name for name, each in pl_module.named_children() if any(True for _ in each.parameters())]
    if len(trained) == 1:
        return f"add self.net = self.{trained[0]} to the module's constructor"
    if trained:
        return f"put {', '.join(trained)} into one nn.Module, and assign it to self.net in the module's constructor"
    return "assign the network to self.net in the module's constructor"


def inputs_of(pl_module: pl.LightningModule, batch: Any) -> Any:
    """What of a batch the network reads: ``pl_module.network_inputs(batch)`` where it says so, else the first part."""
    chosen: Any = getattr(pl_module, "network_inputs", None)
    if chosen is not None:
        return chosen(batch)
    return batch[0] if isinstance(batch, list | tuple) else batch


def adopting(chosen: frozenset[str]) -> Callable[..., None]:
    """A hook for a module that is about to load a state: its network becomes quantized as the saved one was.

    A function that holds no more than names, because averaging callbacks copy the module with its hooks.

    Args:
        chosen: options that somebody asked for, which the state must not contradict.
    """

    def hook(module: Any, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        _adopt(module, state_dict, prefix, chosen)

    return hook


def instantiate(kind: type[pl.LightningModule], arguments: dict[str, Any]) -> pl.LightningModule:
    """A module that is about to load a checkpoint, which Lightning's own ``load_from_checkpoint`` makes by this.

    A checkpoint names this function; Lightning calls none that was not allowed before.
    """
    if "_class_path" in arguments:
        # Here, because it brings the reader of options, which only a command line needs.
        from pytorch_lightning.cli import instantiate_module

        module: pl.LightningModule = instantiate_module(kind, arguments)
    else:
        module = kind(**arguments)
    module.register_load_state_dict_pre_hook(_adopt_all)
    return module


#: How a checkpoint names :func:`instantiate`.
INSTANTIATOR = f"{instantiate.__module__}.{instantiate.__qualname__}"
_allowed = getattr(saving, "_ALLOWED_INSTANTIATORS", None)
if isinstance(_allowed, set):
    _allowed.add(INSTANTIATOR)


def described_in(state_dict: Mapping[str, Any], prefix: str = "") -> Any:
    """What a module's state says of its prepared network; ``None`` where it has none, or it was a float one."""
    return unpacked(state_dict.get(f"{prefix}{DESCRIPTION}"))


def _adopt_all(module: Any, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
    _adopt(module, state_dict, prefix, frozenset())


def _adopt(module: Any, state_dict: dict[str, Any], prefix: str, chosen: frozenset[str]) -> None:
    described, network = described_in(state_dict, prefix), module.net
    if not isinstance(described, dict) or not isinstance(described.get("config"), dict):
        return
    require_rows(described, "the checkpoint")
    saved = QuantizationConfig(**described["config"])
    if not isinstance(network, QuantizedNetwork):
        replace_network(module, prepare(network, example_of(module), saved))
    elif saved != network.origin.config:
        require_no_contradiction(network.origin.config.as_options(), chosen, saved, "the checkpoint")
        replace_network(module, prepare(network.origin.net, example_of(module), saved))


def require_still_prepared(pl_module: pl.LightningModule) -> None:
    """Refuse a module whose network was put in its place after the callback had prepared the one before.

    Raises:
        BadConfiguration: so it was.
    """
    if not isinstance(network_of(pl_module), QuantizedNetwork):
        raise BadConfiguration(
            where=f"{type(pl_module).__name__}.net",
            expected="the network that was prepared when the run began",
            got=f"a {type(pl_module.net).__name__} that was put in its place since",
            remedy="make the network in the module's constructor",
        )


def require_inputs(pl_module: pl.LightningModule, batch: Any, received: tuple[Any, ...]) -> None:
    """See that what a module's ``network_inputs`` gives is what the network reads of a batch, just trained on.

    Args:
        pl_module: has that method.
        batch: as the training step got it.
        received: the arguments of the network's call.

    Raises:
        BadConfiguration: the network was called with tensors of another number or shape.

    Warns:
        UserWarning: with other values.
    """
    taken = inputs_of(pl_module, batch)
    taken = tuple(taken) if isinstance(taken, list | tuple) else (taken,)
    shapes, promised = _shapes(received), _shapes(taken)
    where = type(pl_module).__name__
    remedy = "mend the method network_inputs(batch), or leave it out: then ranges are measured on what reaches self.net"
    if shapes != promised:
        raise BadConfiguration(
            where=where,
            expected=f"to find in a batch what self.net was called with, {shapes}",
            got=f"{promised} from network_inputs",
            remedy=remedy,
        )
    if not all(map(_alike, received, taken)):
        rank_zero_warn(
            f"{where}: self.net is called with other values than network_inputs gives, on which its ranges "
            f"will be measured. Remedy: {remedy}"
        )


def _shapes(tensors: tuple[Any, ...]) -> list[Any]:
    return [tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__ for each in tensors]


def _alike(received: Any, taken: Any) -> bool:
    if not isinstance(received, Tensor):
        return True
    return torch.equal(received.detach().float(), taken.detach().to(received.device).float())


def require_no_contradiction(
    asked: Mapping[str, Any], chosen: frozenset[str], there: QuantizationConfig, whose: str
) -> None:
    """Refuse options that were given and are not those that a network or a checkpoint has.

    Args:
        asked: options by name.
        chosen: names of those that somebody gave.
        there: what there is.
        whose: for the message.

    Raises:
        BadConfiguration: one is another; names it and both values.
    """
    known = there.as_options()
    for name in sorted(chosen):
        if asked[name] != known[name]:
            raise BadConfiguration(
                where=f"qat.{name}",
                expected=f"{known[name]!r}, as {whose} has it",
                got=repr(asked[name]),
                remedy="leave the option out, or train anew with it",
            )


def example_of(pl_module: pl.LightningModule) -> Any:
    """What the network is prepared with: a tensor or array, or its arguments in a tuple, list or dict.

    Raises:
        BadConfiguration: there is none.
    """
    example: Any = pl_module.example_input_array
    if not isinstance(example, Tensor | np.ndarray | tuple | list | Mapping):
        raise BadConfiguration(
            where=f"{type(pl_module).__name__}.example_input_array",
            expected="a tensor, or a tuple of them",
            got=f"{type(example).__name__}",
            remedy="set it in the module's constructor to one example batch",
        )
    return example


def require_whole_networks(trainer: pl.Trainer) -> None:
    """Refuse a run whose processes hold parts of the network.

    Raises:
        BadConfiguration: it is one.
    """
    if isinstance(trainer.strategy, _SHARDING):
        raise BadConfiguration(
            where="trainer.strategy",
            expected="one that leaves the network whole in every process",
            got=type(trainer.strategy).__name__,
            remedy=SHARDING_REMEDY,
        )
