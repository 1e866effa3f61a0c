"""What a refusal advises: the nearest form of a call that can be exported, of :mod:`qtorch.remedies` and of rows.

A form stands in backticks and is what a person can write: a layer, or an expression of the call's own tensor ``x``,
behind statements where it needs some. Layers that such statements make belong into ``__init__``; ``weight`` and
``bias`` are the refused layer's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import torch
from torch import Tensor, fx, nn

from qtorch.capture.nodes import operator_name, value_of
from qtorch.ops import ROWS, of_rows
from qtorch.remedies.asked import Always, Asked, Remedy, none, same
from qtorch.remedies.without_row import WITHOUT_ROW
from qtorch.row.row import Row

__all__ = ["SUPPORTED", "asked", "composed_form", "other_form", "remedy"]

#: Where all that can be exported is listed.
SUPPORTED = "what else there is: the table that `qtorch support` prints"


@of_rows
def _forms(rows: Mapping[str, Row]) -> dict[str, Remedy]:
    """Of every row, and of calls that no row is the nearest form of; what a row says goes first."""
    forms = dict(WITHOUT_ROW)
    for row in rows.values():
        forms |= row.remedies
    return forms


#: What ``torch`` has under a name of ``F`` and returns something else: indices as well.
_OTHER_IN_TORCH = frozenset({"adaptive_max_pool1d"})

_UNKNOWN = "no other form of it is known here: leave it out of the network, or compose it of what can be exported"


def asked(node: fx.Node, module: nn.Module | None, shape: tuple[int, ...]) -> Asked:
    """The call of a traced network.

    Args:
        node: the call.
        module: that it calls; ``None`` for functions and methods.
        shape: of its first tensor, the batch axis included; empty if that is not known.
    """
    name = type(module).__name__ if module is not None else operator_name(node) or _target_name(node)
    kwargs = {key: _as_written(key, value) for key, value in value_of(node.kwargs).items()}
    args = tuple(_as_written(*each) for each in zip_longest(_parameters(node), value_of(node.args)))
    return Asked(name, module, args[: len(node.args)], kwargs, shape)


def _parameters(node: fx.Node) -> list[str]:
    target = node.target
    return [each.name for each in target._schema.arguments] if isinstance(target, torch._ops.OpOverload) else []


def _target_name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


def _as_written(name: str | None, value: object) -> object:
    """Sizes and axes as people write them: in a tuple, but a single axis."""
    if not isinstance(value, list) or not all(isinstance(each, int) for each in value):
        return value
    return value[0] if name == "dim" and len(value) == 1 else tuple(value)


def remedy(ask: Asked, supported: frozenset[str]) -> str:
    """One sentence; ``supported`` has the names of what rows stand for."""
    return f"{_form(ask, supported)}; {SUPPORTED}"


def composed_form(ask: Asked, composed: Sequence[str]) -> tuple[str, str] | None:
    """What is said of something that a call is a part of, whatever its arguments: its name, and the sentence.

    Args:
        ask: the call.
        composed: names of what it is a part of, the nearest first.
    """
    own = _forms().get(_key(_bare(ask.name)))
    for name in composed:
        name, form = name.strip("_"), _forms().get(_key(name.strip("_")))
        if _key(name) == _key(_bare(ask.name)):
            continue
        if isinstance(form, Always) and form is not own:
            return name, f"{form(ask)}; {SUPPORTED}"
        if form is None and _is_loss(name):
            return name, f"{_LOSS}; {SUPPORTED}"
    return None


def other_form(ask: Asked) -> str:
    """The same of a call that a row stands for, but not with these arguments."""
    form = _forms().get(_key(_bare(ask.name)))
    return SUPPORTED if form is None else f"{form(ask)}; {SUPPORTED}"


def _form(ask: Asked, supported: frozenset[str]) -> str:
    bare = _bare(ask.name)
    if bare.endswith("with_indices"):
        return (
            "leave the indices out: call it with return_indices=False; or, where max_unpool2d takes them, pool by "
            "windows side by side (a stride of the kernel's size, no padding), and unpool to the size that was pooled"
        )
    supported_call = _called(bare, ask) if bare in supported and ask.module is None else None
    if supported_call is not None and bare not in _OTHER_IN_TORCH:
        return same(supported_call)
    form = _forms().get(_key(bare))
    if form is not None:
        return form(ask)
    return _LOSS if _is_loss(bare) else _UNKNOWN


_LOSS = none("a loss belongs into the training step, behind the network")


def _is_loss(name: str) -> bool:
    return name.lower().endswith(("loss", "entropy", "entropy_with_logits"))


def _bare(name: str) -> str:
    """Without the underscore of calls in place, or those of Python's own methods."""
    return name.strip("_") if name.startswith("__") else name.rstrip("_")


def _key(bare: str) -> str:
    return bare.replace("_", "").lower()


def _called(name: str, ask: Asked) -> str | None:
    """The call under a name, in the spelling for which a row has a match; ``None`` where that is no common one."""
    matches = [match for row in ROWS.values() for match in row.matches]
    targets = {(match.kind, match.target) for match in matches}
    operator = name in {each for match in matches if match.kind == "aten" for each in match.names}
    arguments = [_written(value) for value in ask.args[1:]]
    arguments += [f"{key}={_written(value)}" for key, value in ask.kwargs.items() if key not in ("input", "inplace")]
    for place, prefix in ((nn.functional, "F"), (torch, "torch")):
        if ("function", getattr(place, name, None)) in targets or (operator and hasattr(place, name)):
            return f"{prefix}.{name}({', '.join(['x', *arguments])})"
    method = ("method", name) in targets or (operator and hasattr(Tensor, name))
    return f"x.{name}({', '.join(arguments)})" if method else None


def _written(value: object) -> str:
    return "y" if isinstance(value, fx.Node) else repr(value)
