"""What a network computes in training alone: found by tracing both forms, kept in the form that a device gets.

Layers of torch know themselves whether they train. What a network's own code asks ``self.training`` for (dropout by
function, stochastic depth, noise) would be gone from a trace of the evaluation form. Both forms are traced and laid
side by side; calls that only the training form has, and that end in a tensor that the evaluation form has one step
earlier, become one module that acts in training only.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import Tensor, fx, nn

from qtorch.capture.nodes import keeps_gradients, operator_name, source_line
from qtorch.capture.own_gradients import OwnGradient

__all__ = ["InTraining", "TrainingTrace", "act_in_training", "keep_training_form"]


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

    @property
    def of_gradients(self) -> bool:
        """Whether it changes no value, so that it may act in evaluation too, where nobody tells it of training."""
        graph = getattr(self.part, "graph", None)
        calls = [] if graph is None else [node for node in graph.nodes if node.op not in ("placeholder", "output")]
        return bool(calls) and all(
            node.op == "call_module" and isinstance(self.part.get_submodule(str(node.target)), OwnGradient)
            for node in calls
        )


def act_in_training(evaluated: fx.GraphModule, names: Sequence[str]) -> None:
    """Let layers that do nothing in evaluation be what they are in training only."""
    called = {str(node.target) for node in evaluated.graph.find_nodes(op="call_module")}
    # One inside of another is not called.
    for name in called.intersection(names):
        evaluated.set_submodule(name, InTraining(evaluated.get_submodule(name)))


@dataclass
class _Alignment:
    """Two traces side by side.

    Attributes:
        same: nodes of training by those of evaluation.
        replaced: a node of the evaluation form and one of training whose value takes its place; with who reads it, and
            which of the leaves of the reader's arguments it is.
    """

    same: dict[fx.Node, fx.Node] = field(default_factory=dict)
    replaced: dict[tuple[fx.Node, fx.Node], list[tuple[fx.Node, int]]] = field(default_factory=dict)
    extra: set[fx.Node] = field(default_factory=set)


@dataclass(frozen=True)
class TrainingTrace:
    """A trace of a network's training form, on a copy of it that shares nothing.

    Attributes:
        graph: its calls.
        draws: whether the network's own code drew numbers of Python or NumPy, which are constants in the trace.
        writes: buffers and parameters that the network wrote while it was traced, by name.
    """

    graph: fx.GraphModule
    draws: bool
    writes: tuple[str, ...]


def keep_training_form(
    evaluated: fx.GraphModule, trained: TrainingTrace, make_root: Callable[[], nn.Module]
) -> tuple[str, bool]:
    """Put into ``evaluated`` what only the training form does, as modules that act in training.

    Args:
        evaluated: trace of the evaluation form; changed.
        trained: the training form.
        make_root: makes a copy of the network, over its own parameters and buffers, in training.

    Returns:
        The first thing, in words, that the forms differ by beyond that, empty where there is none; and whether they
        differ at all.
    """
    if trained.writes:
        return f"{trained.writes[0]!r}, which is written", True
    if trained.draws:
        return "numbers that its own code draws, by Python or NumPy", True
    graph = trained.graph
    for each in (evaluated, graph):
        # What nothing reads is no part of either form.
        each.graph.eliminate_dead_code(_stays)
    alignment, odd = _aligned(evaluated, graph)
    if odd:
        return odd, True
    _read_other_results(alignment, evaluated)
    root = make_root() if alignment.replaced else None
    for (source, by), readers in alignment.replaced.items():
        assert root is not None
        part, outside = _part(alignment, graph, root, source, by)
        if part is None:
            return _described(by), True
        name = _free_name(evaluated, "in_training")
        evaluated.add_submodule(name, _dropout_of(part) or InTraining(part))
        with evaluated.graph.inserting_before(readers[0][0]):
            inserted = evaluated.graph.call_module(name, (source, *outside))
        inserted.meta, inserted.stack_trace = dict(source.meta), by.stack_trace
        for reader, place in readers:
            reader.args, reader.kwargs = _put((reader.args, reader.kwargs), inserted, place, count())
    if alignment.replaced:
        evaluated.graph.lint()
        evaluated.recompile()
    return "", bool(alignment.extra)


#: Layers that are one operator, with a share that is dropped.
_DROPOUTS = {"dropout": nn.Dropout, "feature_dropout": nn.Dropout2d, "alpha_dropout": nn.AlphaDropout}


def _dropout_of(part: fx.GraphModule) -> nn.Module | None:
    """The layer of torch that a part is, if it is dropout by function and nothing else."""
    calls = [node for node in part.graph.nodes if node.op not in ("placeholder", "output")]
    kind = _DROPOUTS.get(operator_name(calls[0])) if len(calls) == 1 else None
    return None if kind is None or not isinstance(calls[0].args[1], float) else kind(calls[0].args[1])


def _stays(node: fx.Node) -> bool:
    return node.op in ("placeholder", "output")


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
    alignment, rest = _Alignment(), iter(trained.graph.nodes)
    for node in evaluated.graph.nodes:
        for other in rest:
            readings = _readings(alignment, node, other)
            if readings is None or not _same_place(evaluated, trained, node, other):
                alignment.extra.add(other)
                continue
            alignment.same[node] = other
            for place, source, by in readings:
                alignment.replaced.setdefault((source, by), []).append((node, place))
            break
        else:
            return alignment, _described(node)
    return alignment, ""


def _read_other_results(alignment: _Alignment, evaluated: fx.GraphModule) -> None:
    """Let the evaluation form have what only training reads of a call with several results, which both make.

    As of a mean and a spread that one layer gives, of which a device gets the mean.
    """
    mine = {theirs: node for node, theirs in alignment.same.items()}
    made = {by for _, by in alignment.replaced}
    for other in sorted(alignment.extra - made):
        call: Any = other.args[0] if other.target is operator.getitem else None
        if call in mine:
            source = mine[call]
            with evaluated.graph.inserting_after(source):
                read = evaluated.graph.call_function(operator.getitem, (source, other.args[1]))
            read.meta, read.stack_trace = dict(other.meta), other.stack_trace
            alignment.same[read] = other
            alignment.extra.discard(other)


def _same_place(evaluated: fx.GraphModule, trained: fx.GraphModule, node: fx.Node, other: fx.Node) -> bool:
    """Whether two calls are both in a block without gradients or both not, and what they read has the same values."""
    if keeps_gradients(node) is not keeps_gradients(other):
        return False
    if node.op != "get_attr":
        return True
    a, b = _attribute(evaluated, node), _attribute(trained, other)
    return not (isinstance(a, Tensor) and isinstance(b, Tensor)) or (a.shape == b.shape and torch.equal(a, b))


def _attribute(module: fx.GraphModule, node: fx.Node) -> Any:
    owner, _, name = str(node.target).rpartition(".")
    return getattr(module.get_submodule(owner), name)


def _readings(alignment: _Alignment, node: fx.Node, other: fx.Node) -> list[tuple[int, fx.Node, fx.Node]] | None:
    """What ``other`` reads in place of what ``node`` does, if they are the same call but for that."""
    if node.op != other.op or node.target != other.target:
        return None
    replaced = []
    mine, theirs = (list(_leaves((_arguments(each), each.kwargs))) for each in (node, other))
    if len(mine) != len(theirs):
        return None
    for place, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        if isinstance(a, fx.Node) and isinstance(b, fx.Node):
            if alignment.same.get(a) is b:
                continue
            if b not in alignment.extra or alignment.same.get(a) not in _ancestors(alignment, b):
                return None
            replaced.append((place, a, b))
        elif type(a) is not type(b) or a != b:
            return None
    return replaced


#: Recurrent layers, which are told whether they train; what they drop then is captured in either form.
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
_TRAIN = 6


def _arguments(node: fx.Node) -> tuple[Any, ...]:
    """A call's arguments, but for what a recurrent layer is told."""
    if operator_name(node) not in _RECURRENT:
        return node.args
    return (*node.args[:_TRAIN], None, *node.args[_TRAIN + 1 :])


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


def _put(argument: Any, inserted: fx.Node, place: int, places: Iterator[int]) -> Any:
    """An argument with ``inserted`` at one of its leaves, counted as :func:`_leaves` gives them."""
    if isinstance(argument, tuple | list):
        next(places)
        return type(argument)([_put(each, inserted, place, places) for each in argument])
    if isinstance(argument, dict):
        entries = {}
        for key, each in argument.items():
            next(places)
            entries[key] = _put(each, inserted, place, places)
        return entries
    return inserted if next(places) == place else argument


def _ancestors(alignment: _Alignment, node: fx.Node) -> set[fx.Node]:
    """What a node is computed from, down to nodes that both forms have."""
    seen: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        for each in waiting.pop().all_input_nodes:
            if each not in seen:
                seen.add(each)
                waiting += [each] if each in alignment.extra else []
    return seen


def _part(
    alignment: _Alignment, trained: fx.GraphModule, root: nn.Module, source: fx.Node, by: fx.Node
) -> tuple[fx.GraphModule | None, list[fx.Node]]:
    """The calls that make ``by`` of ``source``'s counterpart, as a module, and what else of evaluation they read."""
    inside = {node for node in _ancestors(alignment, by) if node in alignment.extra} | {by}
    back = {theirs: mine for mine, theirs in alignment.same.items()}
    outside = [n for n in dict.fromkeys(i for node in inside for i in node.all_input_nodes) if n not in inside]
    others = [n for n in outside if n is not alignment.same[source]]
    if any(n not in back for n in others):
        return None, []
    graph, copied = fx.Graph(), {}
    for node in (alignment.same[source], *others):
        copied[node] = graph.placeholder(node.name)
    for node in trained.graph.nodes:
        if node in inside:
            copied[node] = graph.node_copy(node, copied.__getitem__)
            if node.op == "get_attr" and not _has(root, str(node.target)):
                # A constant that its code made.
                setattr(root, str(node.target), _attribute(trained, node))
            if node.op == "call_module" and not _has(root, str(node.target)):
                # One that the capture put there.
                root.add_module(str(node.target), trained.get_submodule(str(node.target)))
    graph.output(copied[by])
    return fx.GraphModule(root, graph), [back[n] for n in others]


def _has(root: nn.Module, name: str) -> bool:
    owner, _, last = name.rpartition(".")
    try:
        return hasattr(root.get_submodule(owner), last)
    except AttributeError:
        return False
