"""Inputs and targets of a batch, told apart by one rule, for calibration, for quantization and for an export.

A prepared network knows what it is called with: a batch that is such a call has no targets, and of one that is such a
call with a part more behind it that part is the target, also where ``forward`` has a place for it that the example left
at its default. A float network is taken to need the arguments that have no default, and no more.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from qtorch.capture.call_form import Arguments, CallForm, arguments_of, binds, signature_of
from qtorch.errors import BadData

__all__ = ["Parts", "called_with", "holds_arrays", "inputs_taken", "parts_of", "parts_of_call"]


@dataclass(frozen=True)
class Parts:
    """What a batch is made of.

    Attributes:
        inputs: as a network is called with them.
        targets: what stands behind them; ``None`` where nothing does.
        remark: what was taken for what, where it could have been meant otherwise; empty elsewhere.
    """

    inputs: Any
    targets: Any = None
    remark: str = ""


def called_with(form: CallForm, batch: Any) -> tuple[Any, ...]:
    """The tensors of a call that is as the example was, or has them in a row.

    Raises:
        BadData: it is no such call.
    """
    call = arguments_of(form.signature, batch)
    if isinstance(batch, tuple | list) and len(batch) == len(form.names) > len(call.args):
        call = Arguments(tuple(batch), {})
    return form.tensors(call.args, call.kwargs)


def parts_of_call(form: CallForm, batch: Any) -> Parts | None:
    """A prepared network's batch; ``None`` where it is no call of it, with or without a target behind."""
    if _is_call(form, batch):
        return Parts(batch)
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        return None
    for front in (batch[0] if len(batch) == 2 else tuple(batch[:-1]), tuple(batch[:-1])):
        if _is_call(form, front):
            return Parts(front, batch[-1], _remark(form.signature, batch))
    return None


def _is_call(form: CallForm, batch: Any) -> bool:
    try:
        return bool(called_with(form, batch))
    except BadData:
        return False


def parts_of(net: nn.Module, batch: Any) -> Parts | None:
    """A batch of a network that may be in float; ``None`` where it has too many parts or too few."""
    if not isinstance(batch, tuple | list) or (isinstance(batch, list) and not any(map(holds_arrays, batch))):
        return Parts(batch)
    form, parts, takes = getattr(net, "form", None), tuple(batch), inputs_taken(net)
    if isinstance(form, CallForm):
        found = parts_of_call(form, parts)
        if found is not None:
            return Parts(parts[0]) if found.targets is None and len(parts) == 1 else found
    elif len(parts) == 2 and isinstance(parts[0], dict) and arguments_of(signature_of(net), parts[0]).kwargs:
        return Parts(*parts)
    nested = bool(parts) and isinstance(parts[0], tuple | list) and holds_arrays(parts[0])
    if len(parts) == 2 and (takes == 1 or nested):
        front = tuple(parts[0]) if nested and takes != 1 else parts[0]
        return Parts(front, parts[1], "" if nested else _remark(signature_of(net), parts))
    if takes is None or len(parts) == takes:
        return Parts(parts[0] if len(parts) == 1 and not nested else parts)
    if len(parts) == takes + 1:
        return Parts(parts[:-1], parts[-1], _remark(signature_of(net), parts))
    return Parts(parts[0]) if len(parts) == 1 else None


def _remark(signature: inspect.Signature, batch: Any) -> str:
    """Where ``forward`` has a place for what is taken for a target."""
    named = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    place = len(batch) - 1
    if not binds(signature, *batch) or place >= len(named) or named[place].default is inspect.Parameter.empty:
        return ""
    name, last = named[place].name, batch[-1]
    shape = f" of shape {tuple(last.shape)}" if isinstance(last, Tensor | np.ndarray) else ""
    return (
        f"the last of {len(batch)} parts of the data, a {type(last).__name__}{shape}, is taken for targets, and "
        f"forward's {name} for {named[place].default!r}, its default. If it is an input, prepare the network with an "
        f"example that has it"
    )


def inputs_taken(net: nn.Module) -> int | None:
    """How many inputs a call of a network needs; ``None`` where it takes any number."""
    form = getattr(net, "form", None)
    if isinstance(form, CallForm):
        return len(form.names)
    kinds = inspect.Parameter
    parameters = signature_of(net).parameters.values()
    if any(each.kind is kinds.VAR_POSITIONAL for each in parameters):
        return None
    own = [each for each in parameters if each.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    return max(1, sum(each.default is kinds.empty for each in own))


def holds_arrays(value: Any) -> bool:
    """Whether tensors or NumPy arrays are among what nests."""
    if isinstance(value, dict):
        return any(map(holds_arrays, value.values()))
    return isinstance(value, Tensor | np.ndarray) or (isinstance(value, list | tuple) and any(map(holds_arrays, value)))
