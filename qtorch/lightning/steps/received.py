"""What a network is called with when its LightningModule makes a step: ranges are measured on that, not on batches."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from qtorch.capture.call_form import signature_of
from qtorch.errors import BadConfiguration, BadInput
from qtorch.lightning.networks import inputs_of, network_of
from qtorch.lightning.replacing import network_replaced
from qtorch.lightning.steps.undone import undone
from qtorch.network.calibration import set_mode
from qtorch.network.mode import Mode
from qtorch.network.quantized_network import QuantizedNetwork

__all__ = ["NotCalled", "Received", "as_batch", "received_in"]

#: What a person does where a step can't be followed.
_REMEDY = "give the module a method network_inputs(batch) that returns what self.net is called with"

#: What Lightning calls before the first batch of each step.
_BEFORE = {
    "training_step": "on_train_epoch_start",
    "validation_step": "on_validation_epoch_start",
    "test_step": "on_test_epoch_start",
}


class NotCalled(BadConfiguration):
    """A module has a step that leaves its network alone."""


class Received:
    """Runs a module's step as far as its network, batch by batch, and gives what the network was called with.

    A step is run as it is, whatever it takes out of a batch and makes of it; behind it the module is as before, nothing
    is logged and no weight has changed. It is ended at the network, so that no loss is computed; of the first batch it
    is run to its end, to see whether it calls the network again. A module that says itself what of a batch its network
    reads, by a method ``network_inputs(batch)``, is asked instead.

    Args:
        pl_module: its ``net`` was prepared.
        steps: names of steps; the first one that the module has is run.

    Attributes:
        batches: how many were looked at.
        first_part: why the first part of a batch stands for what the network is called with; empty where it does not.
    """

    def __init__(self, pl_module: pl.LightningModule, steps: Sequence[str]) -> None:
        self.pl_module, self.network = pl_module, network_of(pl_module)
        self.step = next((name for name in steps if is_overridden(name, pl_module)), None)
        self.batches = 0
        #: Whether a step goes on behind the network's first call, because there are others.
        self._going_on = True
        self.first_part = ""
        #: The network as a step that goes on computes it.
        self._in_float: nn.Module | None = None

    def __call__(self, batch: Any, batch_idx: int = 0, dataloader_idx: int = 0) -> list[Any]:
        """The network's arguments, a tensor or a tuple of arguments for each of its calls; none if the step has none.

        Args:
            batch: on the device of the module.
            batch_idx: its number.
            dataloader_idx: number of its loader.

        Raises:
            BadConfiguration: the step fails before it reaches the network, and the first part of the batch is nothing
                that the network takes.
        """
        self.batches += 1
        if getattr(self.pl_module, "network_inputs", None) is not None:
            return [inputs_of(self.pl_module, batch)]
        if self.step is None:
            return self._first_part(batch, f"{type(self.pl_module).__name__} has no step that calls its network")
        entry = _Entry(self.network, self._float_network() if self._going_on else None)
        try:
            with undone(self.pl_module, self.network), network_replaced(self.pl_module, entry):
                self._run(batch, batch_idx, dataloader_idx)
        except _Reached:
            pass
        except BadConfiguration as error:
            if entry.calls:
                raise
            raise NotCalled(
                where=f"{self.step} of {type(self.pl_module).__name__}",
                expected="calls of self.net",
                got=f"none: {error.where}, {error.got}",
                remedy=f"call self.net(x) itself, not parts of it or a copy; or {_REMEDY}",
            ) from error
        except BadInput:
            raise
        # A step of somebody's own fails in whatever way it does; behind the network that is none of our business.
        except Exception as error:
            if not entry.calls:
                said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                return self._first_part(batch, f"{self.step} ends before it calls self.net, in {said}")
        finally:
            # What stands in the network's place would keep it alive.
            entry.release()
        if self._going_on and entry.calls:
            self._going_on = len(entry.calls) > 1
        return [as_batch(self.network, *call) for call in entry.calls]

    def _float_network(self) -> nn.Module:
        if self._in_float is None:
            self._in_float = _in_float(self.network)
        return self._in_float

    def _run(self, batch: Any, batch_idx: int, dataloader_idx: int) -> None:
        assert self.step is not None
        step = getattr(self.pl_module, self.step)
        # Where a step keeps something from batch to batch, that is where it is made.
        begin = _BEFORE.get(self.step)
        if begin is not None and is_overridden(begin, self.pl_module):
            with suppress(Exception):
                getattr(self.pl_module, begin)()
        takes = inspect.signature(step).parameters
        anything = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in takes.values())
        arguments = [batch]
        if len(takes) > 1 or anything:
            arguments.append(batch_idx)
        if "dataloader_idx" in takes:
            arguments.append(dataloader_idx)
        step(*arguments)

    def _first_part(self, batch: Any, why: str) -> list[Any]:
        """What there was in the place of a step: with a word about it, and only if it fits."""
        taken = inputs_of(self.pl_module, batch)
        shapes = [tuple(each.shape[1:]) if isinstance(each, Tensor) else type(each).__name__ for each in _flat(taken)]
        wanted = [tuple(each.shape[1:]) for each in _flat(self.pl_module.example_input_array)]
        where = type(self.pl_module).__name__
        if shapes != wanted:
            raise BadConfiguration(
                where=where,
                expected=f"a step that calls self.net, or batches whose first part has the network's shapes, {wanted}",
                got=f"{shapes}, and {why}",
                remedy=_REMEDY,
            )
        if not self.first_part:
            self.first_part = why
            rank_zero_warn(
                f"{where}: the first part of each batch stands for what self.net is called with, because {why}. "
                f"Remedy: {_REMEDY}"
            )
        return [taken]


class _Reached(BaseException):
    """Ends a step at its network; no ``except Exception`` in it holds that up."""


class _Entry(nn.Module):
    """Stands in the place of a network, keeps what it is called with, and is else whatever that is.

    Args:
        network: that is called.
        computing: what computes for it, and lets the caller go on; ``None``: its first call is the end.
    """

    calls: list[tuple[tuple[Any, ...], dict[str, Any]]]

    def __init__(self, network: nn.Module, computing: nn.Module | None) -> None:
        super().__init__()
        self.calls = []
        # Not as children: modes, devices and states are the network's own business.
        self.__dict__["_networks"] = [network]
        self.__dict__["_computing"] = computing

    def release(self) -> None:
        """Forget the network."""
        self.__dict__["_networks"].clear()

    def __getattr__(self, name: str) -> Any:
        networks = self.__dict__.get("_networks")
        return getattr(networks[0], name) if networks else super().__getattr__(name)

    def __getitem__(self, index: Any) -> Any:
        return self.__dict__["_networks"][0][index]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network makes of it; or nothing, ever."""
        computing: Any = self.__dict__["_computing"]
        if computing is None:
            self.calls.append((args, kwargs))
            raise _Reached
        self.calls.append(tree_map(_own, (args, kwargs)))
        return computing(*args, **kwargs)


def _own(value: Any) -> Any:
    """A copy, which a step that goes on does not change."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def _in_float(network: nn.Module) -> nn.Module:
    """A copy of its own that neither measures nor is measured."""
    copied = copy.deepcopy(network).eval()
    vars(copied).pop("forward", None)
    for each in copied.modules():
        each._forward_pre_hooks.clear()
        each._forward_hooks.clear()
    if isinstance(copied, QuantizedNetwork):
        set_mode(copied, Mode.FLOAT)
    return copied


def as_batch(network: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A call's arguments as :func:`qtorch.calibrate` takes them: a tensor, or a tuple of all in the order of forward.

    Args:
        network: called with them, whose signature has their order.
        args: by position.
        kwargs: by name.
    """
    if kwargs:
        signature = signature_of(network)
        bound = signature.bind(*args, **kwargs)
        if bound.kwargs:
            return {**dict(zip(signature.parameters, bound.args, strict=False)), **bound.kwargs}
        args = bound.args
    return args[0] if len(args) == 1 and isinstance(args[0], Tensor) else args


def _flat(inputs: Any) -> list[Any]:
    leaves: list[Any] = tree_leaves(inputs)
    return leaves


def received_in(received: Received, batches: Iterator[tuple[Any, int, int]]) -> Iterator[Any]:
    """What the network is called with, of one batch after another.

    Raises:
        NotCalled: no step of them all called the network.
    """
    calls = 0
    for batch in batches:
        for each in received(*batch):
            calls += 1
            yield each
    if received.batches and not calls:
        raise NotCalled(
            where=f"{received.step} of {type(received.pl_module).__name__}",
            expected="calls of self.net",
            got=f"none in {received.batches} batches",
            remedy=f"call self.net(x) itself, not parts of it or a copy; or {_REMEDY}",
        )
