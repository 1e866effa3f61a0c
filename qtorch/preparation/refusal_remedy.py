"""What a refusal advises: the nearest form of a call that can be exported, of :mod:`qtorch.remedies` and of rows.

A form stands in backticks and is what a person can write: a layer, or an expression of the call's own tensor ``x``,
behind statements where it needs some. Layers that such statements make belong into ``__init__``; ``weight`` and
``bias`` are the refused layer's own.
"""

from __future__ import annotations

from torch import fx, nn
from torch.nn.utils import parametrize

from qtorch.capture.nodes import value_of
from qtorch.ops import ROWS
from qtorch.remedies.asked import Asked, Remedy, none
from qtorch.remedies.without_row import WITHOUT_ROW

__all__ = ["SUPPORTED", "asked", "remedy"]

#: Where all that can be exported is listed.
SUPPORTED = "what else there is: README.md, 'What can be exported', which `python -m export support` prints"

#: Of every row, and of calls that no row is the nearest form of; what a row says goes first.
_FORMS: dict[str, Remedy] = dict(WITHOUT_ROW)
for _row in ROWS.values():
    _FORMS |= _row.remedies

_UNKNOWN = "no other form of it is known here: leave it out of the network, or compose it of what can be exported"


def asked(node: fx.Node, module: nn.Module | None, shape: tuple[int, ...]) -> Asked:
    """The call of a traced network.

    Args:
        node: the call.
        module: that it calls; ``None`` for functions and methods.
        shape: of its first tensor, the batch axis included; empty if that is not known.
    """
    name = type(module).__name__ if module is not None else str(getattr(node.target, "__name__", node.target))
    return Asked(name, module, value_of(node.args), value_of(node.kwargs), shape)


def remedy(ask: Asked, supported: frozenset[str]) -> str:
    """One sentence; ``supported`` has the names of what rows stand for."""
    return f"{_form(ask, supported)}; {SUPPORTED}"


def _form(ask: Asked, supported: frozenset[str]) -> str:
    if ask.module is not None and parametrize.is_parametrized(ask.module):
        return _unparametrized(ask.module)
    if isinstance(ask.module, nn.modules.lazy.LazyModuleMixin):
        return "run the network on an example before it is prepared, which makes an ordinary layer of it"
    bare = ask.name.rstrip("_") if not ask.name.startswith("__") else ask.name.strip("_")
    if bare.endswith("with_indices"):
        return "leave the indices out: call it with return_indices=False"
    form = _FORMS.get(bare.replace("_", "").lower())
    if form is not None:
        return form(ask)
    if bare != ask.name and bare in supported:
        return f"call it without the underscore, `{_called(bare)}`, which computes the same"
    if bare.lower().endswith(("loss", "entropy", "entropy_with_logits")):
        return none("a loss belongs into the training step, behind the network")
    return _UNKNOWN


def _called(name: str) -> str:
    place = "F" if hasattr(nn.functional, name) else "torch"
    return f"{place}.{name}(x)"


def _unparametrized(layer: nn.Module) -> str:
    parametrizations = layer.parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    calls = "; ".join(
        f"torch.nn.utils.parametrize.remove_parametrizations(layer, {name!r})" for name in parametrizations
    )
    return (
        f"make permanent what it computes from its parameters, before the network is prepared: `{calls}` for that layer"
    )
