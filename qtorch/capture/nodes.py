"""What is known of a node of a traced network: its shape or plain value, its line of source, whether gradients pass."""

from __future__ import annotations

import re
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from qtorch.capture.untraceable import is_own

__all__ = [
    "ONE_GRID",
    "WITHOUT_PARTS",
    "Recorder",
    "attribute_of",
    "detach_what_is_frozen",
    "draws_numbers",
    "given_arguments",
    "is_tensor",
    "is_zeros",
    "keeps_gradients",
    "mark_without_gradients",
    "operator_name",
    "schema_arguments",
    "shape_of",
    "source_line",
    "value_of",
]

#: Where a node's result is kept: a tensor's shape, or the plain value itself.
_SHAPE, _VALUE = "shape", "value"
#: Of a node's ``meta``: what it shares its grid with all that have the same there for.
ONE_GRID = "one_grid"
#: Of a node's ``meta``: that it computes with complex numbers and has no form in real ones.
WITHOUT_PARTS = "without_parts"
#: Operators whose tensors are zeros.
_ZEROS = frozenset({"new_zeros", "zeros", "zeros_like"})
#: Of a call that stood in a block without gradients.
_NO_GRADIENT = "no_gradient"


class Recorder(fx.Interpreter):
    """Runs the graph once and keeps every result's shape or value."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta[_SHAPE] = tuple(result.shape)
            n.meta["dtype"] = result.dtype
        else:
            # Operators give several tensors as a list.
            parts = tuple(result) if isinstance(result, list) else result
            n.meta[_VALUE] = fx.node.map_aggregate(parts, _plain)
        return result


def _plain(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else value


def mark_without_gradients(node: fx.Node) -> None:
    """Remember of a call that it stands in a block without gradients."""
    node.meta[_NO_GRADIENT] = True


def keeps_gradients(node: fx.Node) -> bool:
    """Whether a call stands in no block without gradients."""
    return _NO_GRADIENT not in node.meta


def detach_what_is_frozen(traced: fx.GraphModule) -> None:
    """Where a block without gradients ends, let none go back into it."""
    graph = traced.graph
    for node in list(graph.nodes):
        if _NO_GRADIENT not in node.meta or node.op in ("placeholder", "get_attr", "output"):
            continue
        if not is_tensor(node):
            # Of several tensors each is looked at by itself.
            for user in node.users:
                user.meta[_NO_GRADIENT] = True
            continue
        readers = {user for user in node.users if _NO_GRADIENT not in user.meta}
        if readers:
            with graph.inserting_after(node):
                detached = graph.call_function(torch.ops.aten.detach.default, (node,))
            detached.meta = {**node.meta}
            detached.stack_trace = node.stack_trace
            node.replace_all_uses_with(detached, delete_user_cb=readers.__contains__)
            traced.recompile()


def is_tensor(node: Any) -> bool:
    """Whether an argument is a node that computes a tensor."""
    return isinstance(node, fx.Node) and _SHAPE in node.meta


def operator_name(node: Any) -> str:
    """Name of the operator of ATen that a node calls, without overload; empty for what is no such call."""
    target = getattr(node, "target", None)
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
        return ""
    return str(target._schema.name.removeprefix("aten::"))


def is_zeros(node: Any) -> bool:
    """Whether a node makes a tensor of zeros."""
    return operator_name(node) in _ZEROS


def given_arguments(node: fx.Node) -> dict[str, Any]:
    """What an operator is called with, by the names of its schema; without what it has by default."""
    target: Any = node.target
    return dict(zip((each.name for each in target._schema.arguments), node.args, strict=False)) | node.kwargs


def schema_arguments(node: fx.Node) -> dict[str, Any]:
    """All arguments of an operator that is called, by their names in its schema and in its order, with defaults."""
    target: Any = node.target
    given = given_arguments(node)
    return {each.name: given.get(each.name, each.default_value) for each in target._schema.arguments}


def draws_numbers(node: fx.Node) -> bool:
    """Whether a call is of an operator that may draw at random."""
    return isinstance(node.target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags


def attribute_of(node: fx.Node) -> Any:
    """The parameter, buffer or other attribute of its module that a node reads."""
    return attrgetter(str(node.target))(node.graph.owning_module)


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Of a tensor, batch axis included; of the first tensor where the node gives several."""
    shape = node.meta[_SHAPE] if _SHAPE in node.meta else node.meta[_VALUE][0]
    return tuple(shape)


def value_of(argument: Any) -> Any:
    """An argument with every node that computes a size replaced by that size."""
    return fx.node.map_aggregate(
        argument, lambda v: v.meta[_VALUE] if isinstance(v, fx.Node) and _VALUE in v.meta else v
    )


_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)\n\s*(?P<code>(?!File ").*)')


def source_line(node: fx.Node) -> str:
    """``file.py:12: x = self.conv(x)`` of the call, or an empty string where it is not known."""
    frames = [m for m in _FRAME.finditer(node.stack_trace or "") if is_own(m["file"]) and m["code"]]
    if not frames:
        return ""
    last = frames[-1]
    return f"{Path(last['file']).name}:{last['line']}: {last['code'].strip()}"


_FUNCTIONAL = Path(torch.nn.functional.__file__)


def composed_calls(node: fx.Node) -> list[str]:
    """Names of what a call is a part of, the nearest first: operator, function and layer of torch."""
    frames = list(_FRAME.finditer(node.stack_trace or ""))
    own = max((place for place, frame in enumerate(frames) if is_own(frame["file"])), default=len(frames))
    functions = [frame["function"] for frame in frames[own + 1 :] if Path(frame["file"]) == _FUNCTIONAL]
    return [name for name in (node.meta.get("composed"), *functions[::-1], node.meta.get("layer_class")) if name]
