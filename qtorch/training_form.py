"""What a network computes in training alone: found by tracing both forms, kept in the form that a device gets.

Layers of torch know themselves whether they train. What a network's own code asks ``self.training`` for (dropout by
function, stochastic depth, noise) would be gone from a trace of the evaluation form. Both forms are traced and laid
side by side; calls that only the training form has, and that end in a tensor that the evaluation form has one step
earlier, become one module that acts in training only.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from qtorch.tracing import source_line

__all__ = ["InTraining", "act_in_training", "keep_training_form"]

#: Functions that hand on their first argument where ``training`` is False.
_DROPPING = re.compile("drop|stochastic_depth")


class InTraining(nn.Module):
    """What happens to a tensor in training, and not on the device.

    Args:
        part: maps the tensor, and others that it needs, to one of the same shape.
    """

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Any, *others: Any) -> Any:
        """``x`` in evaluation; in training what ``part`` makes of it."""
        return self.part(x, *others) if self.training else x


def act_in_training(evaluated: fx.GraphModule, names: Sequence[str]) -> None:
    """Let layers that do nothing in evaluation be what they are in training only."""
    for name in names:
        evaluated.set_submodule(name, InTraining(evaluated.get_submodule(name)))


@dataclass
class _Alignment:
    """Two traces side by side.

    Attributes:
        same: nodes of training by those of evaluation.
        replaced: nodes of the evaluation form, whose value another node's takes the place of in training.
    """

    same: dict[fx.Node, fx.Node] = field(default_factory=dict)
    replaced: dict[tuple[fx.Node, fx.Node], list[fx.Node]] = field(default_factory=dict)
    extra: set[fx.Node] = field(default_factory=set)


def keep_training_form(evaluated: fx.GraphModule, trace_training: Callable[[], fx.GraphModule]) -> str:
    """Put into ``evaluated`` what only ``trained`` does, as modules that act in training; in words what could not be.

    Args:
        evaluated: trace of the evaluation form; changed.
        trace_training: traces the training form, over the same parameters.

    Returns:
        The first call that the forms differ by beyond that; empty where there is none.
    """
    _drop_what_does_nothing(evaluated)
    trained = trace_training()
    found, odd = _aligned(evaluated, trained)
    if not odd and found.extra:
        # Numbers that its own code drew while it was traced would be the same in every step.
        odd = _first_change(trained, trace_training())
    if odd:
        return odd
    for (source, by), readers in found.replaced.items():
        part, outside = _part(found, trained, source, by)
        if part is None:
            return _described(by)
        name = _free_name(evaluated, "in_training")
        evaluated.add_submodule(name, InTraining(part))
        with evaluated.graph.inserting_before(readers[0]):
            inserted = evaluated.graph.call_module(name, (source, *outside))
        inserted.meta, inserted.stack_trace = dict(source.meta), by.stack_trace
        for reader in readers:
            reader.replace_input_with(source, inserted)
    if found.replaced:
        evaluated.graph.lint()
        evaluated.recompile()
    return ""


def _drop_what_does_nothing(evaluated: fx.GraphModule) -> None:
    """Dropout by function, and the like, that was told that it is evaluation."""
    for node in list(evaluated.graph.nodes):
        if node.op == "call_function" and _DROPPING.search(getattr(node.target, "__name__", "")):
            try:
                given = inspect.signature(node.target).bind(*node.args, **node.kwargs)
            except (TypeError, ValueError):
                continue
            given.apply_defaults()
            first = next(iter(given.arguments.values()))
            if given.arguments.get("training") is False and isinstance(first, fx.Node):
                node.replace_all_uses_with(first)
                evaluated.graph.erase_node(node)


def _described(node: fx.Node) -> str:
    line = source_line(node)
    return f"{node.name!r}" + (f" ({line})" if line else "")


def _free_name(module: fx.GraphModule, stem: str) -> str:
    index = 0
    while hasattr(module, f"{stem}_{index}"):
        index += 1
    return f"{stem}_{index}"


def _aligned(evaluated: fx.GraphModule, trained: fx.GraphModule) -> tuple[_Alignment, str]:
    """Both traces side by side, and the first call of evaluation that training has nowhere."""
    found, rest = _Alignment(), iter(trained.graph.nodes)
    for node in evaluated.graph.nodes:
        for other in rest:
            readings = _readings(found, node, other)
            if readings is None:
                found.extra.add(other)
                continue
            found.same[node] = other
            for source, by in readings:
                found.replaced.setdefault((source, by), []).append(node)
            break
        else:
            return found, _described(node)
    return found, ""


def _first_change(trained: fx.GraphModule, again: fx.GraphModule) -> str:
    """The first call of a trace that another trace of the same network has not."""
    found, odd = _aligned(trained, again)
    if odd or found.extra:
        return odd or _described(next(node for node in again.graph.nodes if node in found.extra))
    for node, other in found.same.items():
        if node.op == "get_attr":
            a, b = _attribute(trained, node), _attribute(again, other)
            if isinstance(a, Tensor) and isinstance(b, Tensor) and a is not b and not torch.equal(a, b):
                return _described(next(iter(node.users), node))
    return ""


def _attribute(module: fx.GraphModule, node: fx.Node) -> Any:
    owner, _, name = str(node.target).rpartition(".")
    return getattr(module.get_submodule(owner), name)


def _readings(found: _Alignment, node: fx.Node, other: fx.Node) -> list[tuple[fx.Node, fx.Node]] | None:
    """What ``other`` reads in place of what ``node`` does, if they are the same call but for that."""
    if node.op != other.op or node.target != other.target:
        return None
    replaced = []
    mine, theirs = (list(_leaves((each.args, each.kwargs))) for each in (node, other))
    if len(mine) != len(theirs):
        return None
    for a, b in zip(mine, theirs, strict=True):
        if isinstance(a, fx.Node) and isinstance(b, fx.Node):
            if found.same.get(a) is b:
                continue
            if b not in found.extra or found.same.get(a) not in _ancestors(found, b):
                return None
            replaced.append((a, b))
        elif type(a) is not type(b) or a != b:
            return None
    return replaced


def _leaves(argument: Any) -> Iterator[Any]:
    if isinstance(argument, tuple | list):
        yield type(argument)
        for each in argument:
            yield from _leaves(each)
    elif isinstance(argument, dict):
        for key, each in argument.items():
            yield key
            yield from _leaves(each)
    else:
        yield argument


def _ancestors(found: _Alignment, node: fx.Node) -> set[fx.Node]:
    """What a node is computed from, down to nodes that both forms have."""
    seen: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        for each in waiting.pop().all_input_nodes:
            if each not in seen:
                seen.add(each)
                waiting += [each] if each in found.extra else []
    return seen


def _part(
    found: _Alignment, trained: fx.GraphModule, source: fx.Node, by: fx.Node
) -> tuple[fx.GraphModule | None, list[fx.Node]]:
    """The calls that make ``by`` of ``source``'s counterpart, as a module, and what else of evaluation they read."""
    inside = {node for node in _ancestors(found, by) if node in found.extra} | {by}
    back = {theirs: mine for mine, theirs in found.same.items()}
    outside = [n for n in dict.fromkeys(i for node in inside for i in node.all_input_nodes) if n not in inside]
    others = [n for n in outside if n is not found.same[source]]
    if any(n not in back for n in others):
        return None, []
    graph, copied = fx.Graph(), {}
    for node in (found.same[source], *others):
        copied[node] = graph.placeholder(node.name)
    for node in trained.graph.nodes:
        if node in inside:
            copied[node] = graph.node_copy(node, copied.__getitem__)
    graph.output(copied[by])
    return fx.GraphModule(trained, graph), [back[n] for n in others]
