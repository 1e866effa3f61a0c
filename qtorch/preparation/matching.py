"""From a node of a traced network to the row that stands for it: which tensors go in, with which attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from qtorch.capture.constant_expression import ConstantExpression
from qtorch.capture.constant_folding import expression_of, without_batch
from qtorch.capture.nodes import (
    WITHOUT_PARTS,
    composed_calls,
    is_tensor,
    operator_name,
    schema_arguments,
    shape_of,
    source_line,
    value_of,
)
from qtorch.errors import UnsupportedLayer
from qtorch.numbers.qparams import INDICES
from qtorch.ops import of_rows
from qtorch.preparation.refusal_remedy import asked, composed_form, other_form, remedy
from qtorch.remedies.asked import Asked
from qtorch.row.constraints import Indices
from qtorch.row.row import Call, Match, Refused, Row

__all__ = ["MatchedCall", "constant_of", "find_row", "refusal", "supported_names"]


@dataclass(frozen=True)
class MatchedCall:
    """A call in the network, with the row that stands for it.

    Attributes:
        row: the op.
        attrs: its attributes.
        sources: nodes of the tensors that come in at run time, by role.
        constants: parameters, buffers, numbers and what is computed from them, by role.
    """

    row: Row
    attrs: dict[str, Any]
    sources: dict[str, fx.Node]
    constants: Mapping[str, Tensor | ConstantExpression]


@of_rows
def _matches(rows: Mapping[str, Row]) -> dict[tuple[str, Any], list[tuple[Row, Match]]]:
    matches: dict[tuple[str, Any], list[tuple[Row, Match]]] = {}
    for row in sorted(rows.values(), key=lambda row: row.gives_way):
        for match in row.matches:
            matches.setdefault((match.kind, match.target), []).append((row, match))
    return matches


def supported_names() -> list[str]:
    """What can be exported, as a person writes it."""
    return sorted({name for matches in _matches().values() for _, match in matches for name in match.names})


#: What stands in the place of a line whose file is not there: the next frame.
_NO_SOURCE = ': File "'


def refusal(traced: fx.GraphModule, node: fx.Node, *, expected: str, got: str, remedy: str) -> UnsupportedLayer:
    """The error for a call that can't be exported, with its name and its line of source."""
    name = (
        str(node.target)
        if node.op == "call_module"
        else node.meta.get("layer") or node.meta.get("composed") or node.name
    )
    line = source_line(node)
    if _NO_SOURCE in line:
        line = ""
    return UnsupportedLayer(
        where=f"layer {name!r}" + (f" ({line})" if line else ""), expected=expected, got=got, remedy=remedy
    )


def find_row(traced: fx.GraphModule, node: fx.Node) -> MatchedCall:
    """The first row that stands for ``node``.

    Raises:
        UnsupportedLayer: none does, or not with these arguments.
    """
    module = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
    key, matches = _key(node, module), _matches()
    if key not in matches:
        _require_parts(traced, node)
        ask = _asked(node, module)
        whole, said = composed_form(ask, composed_calls(node)) or ("", remedy(ask, frozenset(supported_names())))
        got = f"{whole}, which comes to {ask.name}" if whole else ask.name
        raise refusal(traced, node, expected="a call that a row stands for", got=got, remedy=said)
    dtype = node.meta.get("dtype", torch.float32)
    if dtype != torch.float32 and not (dtype == torch.int64 and any(map(_gives_indices, matches[key]))):
        raise refusal(traced, node, expected="float32 tensors", got=str(dtype), remedy="compute in float32")
    for row, match in matches[key]:
        _require_batch_axis(traced, node, key[1], match)
        tensors, arguments = _bind(traced, node, row, match, module)
        shapes = {role: _shape(value) for role, value in tensors.items()}
        try:
            attrs = match.attrs(Call(module, arguments, shapes, shape_of(node)))
        except Refused as why:
            ask = _asked(node, module)
            whole, said = composed_form(ask, composed_calls(node)) or ("", why.remedy or other_form(ask))
            if whole:
                raise refusal(
                    traced,
                    node,
                    expected="a call that a row stands for",
                    got=f"{whole}, which comes to {row.name} with {why.got}",
                    remedy=said,
                ) from why
            raise refusal(traced, node, expected=why.expected, got=why.got, remedy=said) from why
        if attrs is not None:
            return _matched_call(traced, node, row, attrs, tensors)
    ask = _asked(node, module)
    raise refusal(traced, node, expected="a form that some row stands for", got=ask.name, remedy=other_form(ask))


def _require_parts(traced: fx.GraphModule, node: fx.Node) -> None:
    """Refuse, in the place of complex numbers, the call that could not be written as calls of their parts."""
    least = next((each for each in traced.graph.nodes if WITHOUT_PARTS in each.meta), None)
    if least is not None and node.meta.get("dtype", torch.float32).is_complex:
        raise refusal(
            traced,
            least,
            expected="calls of complex numbers that are calls of their real and imaginary parts",
            got=_asked(least, None).name,
            remedy="call it for z.real and z.imag, and make one of both by torch.complex, where that is what is meant; "
            "phases, angle(), have no form",
        )


def _gives_indices(match: tuple[Row, Match]) -> bool:
    """Whether a row says where something stands, or only gives what it is given, of which indices are a type."""
    row, _ = match
    return isinstance(row.constraints["output"], Indices) or _takes_indices(row, row.roles[0])


def _takes_indices(row: Row, role: str) -> bool:
    demand = row.constraint(role)
    return isinstance(demand, Indices) or INDICES.dtype in getattr(demand, "dtypes", ())


def _require_types(traced: fx.GraphModule, node: fx.Node, row: Row, sources: Mapping[str, fx.Node]) -> None:
    """Refuse indices where the device has numbers, and numbers where it has indices."""
    for role, source in sources.items():
        dtype, demand = source.meta.get("dtype", torch.float32), row.constraint(role)
        if dtype == torch.float32 and not isinstance(demand, Indices):
            continue
        if dtype == torch.int64 and _takes_indices(row, role):
            continue
        raise refusal(
            traced,
            node,
            expected=f"{row.name} of {'indices, int64' if isinstance(demand, Indices) else 'float32 numbers'}",
            got=f"{role} of {dtype}",
            remedy="indices come in as an input or go out as an output, and nothing is computed of them",
        )


def _asked(node: fx.Node, module: nn.Module | None) -> Asked:
    sources = [each for each in node.args if isinstance(each, fx.Node) and is_tensor(each)]
    return asked(node, module, shape_of(sources[0]) if sources else ())


def _key(node: fx.Node, module: nn.Module | None) -> tuple[str, Any]:
    if module is not None:
        return ("module", type(module))
    if isinstance(node.target, torch._ops.OpOverload):
        return ("aten", operator_name(node))
    return ("function" if node.op == "call_function" else "method", node.target)


def _bind(
    traced: fx.GraphModule, node: fx.Node, row: Row, match: Match, module: nn.Module | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors by role (nodes, constants or numbers) and the other arguments by name."""
    if match.kind == "aten":
        arguments = schema_arguments(node)
        names = tuple(arguments)
    else:
        names = match.parameters
        arguments = _written_arguments(traced, node, names)
    leading = [arguments.pop(name, None) for name in names[: match.tensors]]
    if row.variadic:
        leading = list(leading[0])
    tensors = dict(zip(row.input_roles(len(leading)), leading, strict=True))
    if module is not None:
        tensors |= _own_tensors(row, module)
    others = {name: value_of(value) for name, value in arguments.items()}
    return {r: _constant(traced, node, t) for r, t in tensors.items() if t is not None}, others


def _written_arguments(traced: fx.GraphModule, node: fx.Node, names: tuple[str, ...]) -> dict[str, Any]:
    """Arguments of a module, function or method, as far as they were given."""
    arguments: dict[str, Any] = dict(zip((n for n in names if not n.startswith("*")), node.args, strict=False))
    if names and names[-1].startswith("*"):
        surplus = node.args[len(names) - 1 :]
        packed = surplus[0] if len(surplus) == 1 and isinstance(surplus[0], tuple | list) else surplus
        arguments[names[-1][1:]] = tuple(packed)
    arguments |= node.kwargs
    _require_known(traced, node, names, arguments)
    return arguments


def _own_tensors(row: Row, module: nn.Module) -> dict[str, Tensor]:
    """Parameters of a layer, and what stands in their place as a buffer."""
    tensors: dict[str, Tensor] = dict(module.named_parameters(recurse=False))
    tensors |= {role: tensor for role, tensor in module.named_buffers(recurse=False) if role in row.roles}
    return tensors


#: Arguments that change nothing here: what is written in place is a value by now.
_HARMLESS = frozenset({"inplace", "_stacklevel"})


def _require_known(traced: fx.GraphModule, node: fx.Node, names: tuple[str, ...], arguments: Mapping[str, Any]) -> None:
    """Refuse an argument that the match does not read, unless it is the default or of no consequence."""
    if names and names[-1].startswith("*"):
        return
    known = {*names, *_HARMLESS, *(name for name in arguments if arguments[name] is None)}
    known |= {"dtype"} if arguments.get("dtype") is torch.float32 else set()
    strange = sorted(set(arguments) - known) + [f"{len(node.args)} positional ones"] * (len(node.args) > len(names))
    if strange:
        raise refusal(
            traced,
            node,
            expected=f"no arguments but {', '.join(names)}",
            got=", ".join(strange),
            remedy="leave the others out, or write the call in its usual form",
        )


def _constant(traced: fx.GraphModule, node: fx.Node, value: Any) -> Any:
    """A node that reads a parameter or buffer as that tensor; another node as it is; a number as a tensor."""
    value = value_of(value)
    if isinstance(value, fx.Node):
        read = without_batch(traced, value)
        constant = expression_of(traced, read) or constant_of(traced, read)
        return value if constant is None else constant
    if not isinstance(value, Tensor | int | float):
        raise refusal(
            traced,
            node,
            expected="a tensor or a number",
            got=f"{type(value).__name__} {value}",
            remedy="name the tensors themselves, for example x.chunk(2, 1)[0] for what x.chunk(2, 1)[:1] has",
        )
    return value if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float32)


def constant_of(traced: fx.GraphModule, node: fx.Node) -> Tensor | None:
    """The parameter or buffer that a node reads, if it does."""
    if node.op != "get_attr":
        return None
    owner, _, name = str(node.target).rpartition(".")
    value = getattr(traced.get_submodule(owner), name)
    return value if isinstance(value, Tensor) else None


def _shape(value: Any) -> tuple[int, ...]:
    return shape_of(value) if isinstance(value, fx.Node) else tuple(value.shape)


def _matched_call(
    traced: fx.GraphModule, node: fx.Node, row: Row, attrs: Mapping[str, Any], tensors: Mapping[str, Any]
) -> MatchedCall:
    sources = {role: t for role, t in tensors.items() if is_tensor(t)}
    constants = {role: t for role, t in tensors.items() if role not in sources}
    runtime = row.input_roles(len(tensors)) if row.variadic else row.roles[: row.runtime]
    computed = [role for role in sources if role not in runtime]
    if not sources:
        raise refusal(
            traced,
            node,
            expected=f"{row.name} of what is computed from the network's inputs",
            got="parameters, buffers and numbers alone, of which the result is the same for every input",
            remedy="compute it once, before the network is prepared, and make the result the parameter that is used: "
            "for a mask, with torch.no_grad(): self.weight.mul_(mask)",
        )
    if computed:
        raise refusal(
            traced,
            node,
            expected=f"{row.name} with {', '.join(runtime)} computed at run time, the rest parameters or buffers",
            got=f"{', '.join(computed)} computed from the network's inputs",
            remedy="no form of it can be exported: weights stand in the file; x * y multiplies what is computed",
        )
    _require_types(traced, node, row, sources)
    most = 4 if row.channels_last else row.most_axes
    axes = max(len(shape_of(n)) for n in (node, *sources.values()))
    if axes > most:
        raise refusal(
            traced,
            node,
            expected=f"tensors of at most {most} axes for {row.name}, which TFLite Micro has",
            got=f"{axes}",
            remedy="merge axes with reshape or flatten",
        )
    ranks = {len(shape_of(source)) for source in sources.values()}
    constant_ranks = {constants[role].dim() for role in constants if role in runtime}
    if len(ranks) > 1 or max(constant_ranks, default=0) > max(ranks):
        raise refusal(
            traced,
            node,
            expected="tensors of one rank, so that their batch axes are the same",
            got=f"shapes {[shape_of(source) for source in sources.values()]}",
            remedy="insert the missing axes with unsqueeze",
        )
    return MatchedCall(row, dict(attrs), sources, constants)


def _require_batch_axis(traced: fx.GraphModule, node: fx.Node, target: Any, match: Match) -> None:
    """Without a batch axis PyTorch takes the first for the channels, and a row takes it for the batch."""
    shape = shape_of(node)
    if match.rank is not None and len(shape) != match.rank:
        raise refusal(
            traced,
            node,
            expected=f"{match.rank} axes, the first of them the batch's",
            got=f"a result of shape {shape}, from a tensor in which {getattr(target, '__name__', target)} sees no "
            "batch",
            remedy="take the layer for one axis more or less, or insert the missing axis with unsqueeze",
        )
