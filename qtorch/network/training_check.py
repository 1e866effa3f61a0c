"""Whether what is trained is what will be exported: optimizers that hold the network's parameters, and move them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from qtorch.errors import BadConfiguration
from qtorch.network.calibration import Saturation, batch_normalized, quantizers, saturation
from qtorch.network.mode import Mode
from qtorch.network.quantized_network import is_calibration
from qtorch.network.stuck_outputs import TO_HOLD_WHAT_GREW

__all__ = [
    "by_the_batch",
    "checked_training",
    "follow",
    "held_parameters",
    "outgrown",
    "require_held",
    "require_moved",
    "said_of_training",
    "snapshot",
]

_TO_BE_RID_OF_NAN = "look for NaN in the data and the loss, and train again from weights that hold none"


def held_parameters(net: nn.Module, optimizers: Iterable[Optimizer]) -> dict[str, Tensor]:
    """The parameters of ``net`` that some optimizer will move, by name."""
    held = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    return {name: p for name, p in net.named_parameters() if p.requires_grad and id(p) in held}


def follow(net: nn.Module, optimizers: Iterable[Optimizer]) -> list[str]:
    """Hand the learned scales of ``net`` to the optimizers that hold its weights, and those that were made before.

    Returns:
        the names of the parameters that no optimizer had; each is now in the group of its layer's own parameters, or,
        as that of an input, in the first group that has any parameter of the network.
    """
    optimizers = list(optimizers)
    held = held_parameters(net, optimizers)
    groups = {id(p): group for each in optimizers for group in each.param_groups for p in group["params"]}
    new = [name for name, p in net.named_parameters() if is_calibration(name) and p.requires_grad and name not in held]
    for name in new if held else ():
        layer = name.split(".")
        beside = next(
            (other for n in range(len(layer) - 1, 0, -1) for other in held if other.split(".")[:n] == layer[:n]),
            next(iter(held)),
        )
        groups[id(held[beside])]["params"].append(net.get_parameter(name))
    return new if held else []


def require_held(net: nn.Module, optimizers: Iterable[Optimizer], where: str) -> None:
    """Refuse optimizers that hold nothing of ``net``.

    Raises:
        BadConfiguration: so it is, and ``net`` has something to train.
    """
    optimizers = list(optimizers)
    trainable = [name for name, p in net.named_parameters() if p.requires_grad]
    if trainable and not held_parameters(net, optimizers):
        raise BadConfiguration(
            where=where,
            expected="parameters of the network that will be exported",
            got=("" if optimizers else "no optimizer, so ")
            + f"none of its {len(trainable)} ({', '.join(trainable[:3])}{', ...' if len(trainable) > 3 else ''})",
            remedy=("" if optimizers else "hand over what trains it, as in checked_training(network, optimizer); ")
            + "make the optimizer from the parameters of the network that was prepared, or of the one it was "
            "prepared from: they are the same",
        )


def snapshot(net: nn.Module, optimizers: Iterable[Optimizer]) -> dict[str, Tensor]:
    """Copies of the parameters of ``net`` that the optimizers hold, for :func:`require_moved`."""
    return {name: p.detach().clone() for name, p in held_parameters(net, optimizers).items()}


def require_moved(net: nn.Module, before: dict[str, Tensor], where: str) -> None:
    """Refuse training that left every parameter as it was.

    Args:
        net: what was trained.
        before: from :func:`snapshot`.
        where: for the message.

    Raises:
        BadConfiguration: none has moved.
    """
    now = dict(net.named_parameters())
    if before and all(torch.equal(now[name].detach().to(old.device), old) for name, old in before.items()):
        raise BadConfiguration(
            where=where,
            expected="training that moves the weights of the network that will be exported",
            got=f"all {len(before)} parameters as they were",
            remedy="let the loss depend on this very network, call backward and the optimizer's step, and give a "
            "learning rate above 0",
        )


def by_the_batch(normalized: Sequence[str]) -> str:
    """What quantized training was in which batch norms normalized by the batch to its end, and the remedy.

    Args:
        normalized: names of their layers; see :func:`~qtorch.network.calibration.batch_normalized`.
    """
    named = ", ".join(normalized[:3]) + (", ..." if len(normalized) > 3 else "")
    return (
        f"the batch norms of layers {named} normalized by the batch to the end of quantized training: no value in it "
        "was the device's. Remedy: freeze them for its last part, by qtorch.freeze_batch_norm(network)"
    )


def said_of_training(net: nn.Module) -> list[str]:
    """What a network, trained and about to be exported, says of its training that nobody would want; with remedies.

    Args:
        net: prepared and calibrated; not one that was quantized without training.
    """
    said, ranges = [], quantizers(net)
    normalized = batch_normalized(net)
    if normalized:
        said.append(by_the_batch(normalized))
    if all(each.mode is Mode.FLOAT for each in ranges.values()):
        said.append(
            "the network is in Mode.FLOAT, as one is that was not trained with quantization. Remedy: train it in "
            "qtorch.Mode.QUANTIZED, and leave it there; or quantize the float network without training, by "
            "qtorch.quantize"
        )
        return said
    learned = [name for name, each in ranges.items() if each.learned != "measured"]
    if learned and not any(ranges[name].has_learned for name in learned):
        named = ", ".join(learned[:3]) + (", ..." if len(learned) > 3 else "")
        said.append(
            f"none of the {len(learned)} scales that are to be learned ({named}) is another than was measured. Remedy: "
            "make the optimizer behind qtorch.prepare, of the prepared network's parameters, or train within "
            "qtorch.checked_training, which hands them to it; if it had them, its steps were too small for them"
        )
    return said


def outgrown(saturated: Sequence[Saturation], remedy: str) -> str:
    """The words of a warning: which range most values leave, or are NaN in, of how many, and what to do.

    Args:
        saturated: at least one, outgrown.
        remedy: where none is NaN.
    """
    worst = max(saturated, key=lambda each: (each.not_numbers, each.share))
    many = f"; the worst of {len(saturated)}" if len(saturated) > 1 else ""
    return f"saturated range: {worst}{many}. Remedy: {_TO_BE_RID_OF_NAN if worst.not_numbers else remedy}"


@contextmanager
def checked_training(net: nn.Module, *optimizers: Optimizer) -> Iterator[None]:
    """A block that trains ``net``, in a loop of one's own: refused if what it trains is something else.

    Scales that are learned are handed to the optimizers, which may have been made before the network was prepared.
    At the end the last batch is looked at for activations that are NaN or have outgrown their ranges, as those of a
    network do that was calibrated before it was trained, or trained on for long; and it is said where batch norms have
    normalized by the batch to the end.

    Example:
        >>> with checked_training(qat, optimizer):
        ...     for epoch in range(10):
        ...         qtorch.freeze_batch_norm(qat, epoch >= 8)
        ...         for x, y in batches:
        ...             optimizer.zero_grad()
        ...             loss(qat(x), y).backward()
        ...             optimizer.step()

    Raises:
        BadConfiguration: the optimizers hold no parameter of ``net``; or, at the end, none has moved.

    Warns:
        UserWarning: of the range that the last batch has outgrown most, with how many others it has; and of batch norms
            that normalized by the batch in quantized training and were not frozen for its last part.
    """
    follow(net, optimizers)
    require_held(net, optimizers, "the optimizer")
    before = snapshot(net, optimizers)
    last: list[tuple[Any, ...]] = []

    def remember(module: nn.Module, arguments: tuple[Any, ...], outputs: Any) -> None:
        last[:] = [arguments]

    # After it, because hooks in the middle of a call keep a network from looking at all of its parameters at once.
    hook = net.register_forward_hook(remember)
    try:
        yield
    finally:
        hook.remove()
    ranges = quantizers(net).values()
    saturated = saturation(net, last) if last and all(each.calibrated for each in ranges) else ()
    if outgrew := [each for each in saturated if each.outgrown]:
        warnings.warn(outgrown(outgrew, TO_HOLD_WHAT_GREW), UserWarning, stacklevel=3)
    normalized = batch_normalized(net)
    if normalized:
        warnings.warn(by_the_batch(normalized), UserWarning, stacklevel=3)
    if not saturated:
        require_moved(net, before, "training")
