"""A network as a graph of calls: captured, with the shape of every tensor, and plain values for computed sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from qtorch.capture.call_form import CallForm, OutputForm
from qtorch.capture.exporting import export_network, first_repeated
from qtorch.capture.identities import drop_identities
from qtorch.capture.kept_calls import DROPOUTS
from qtorch.capture.lifting import lifted
from qtorch.capture.nodes import Recorder
from qtorch.capture.opened_layers import is_of_several_ranks, is_opened
from qtorch.capture.untraceable import untraceable
from qtorch.capture.writes import write_values, writes_values
from qtorch.errors import BadConfiguration
from qtorch.normalization import Normalization
from qtorch.ops import of_rows
from qtorch.row.row import Row
from qtorch.surroundings import evaluating

__all__ = ["Trace", "Traced", "has_hooks", "is_leaf", "is_row_of_layers", "record_shapes", "trace"]


def is_leaf(net: nn.Module) -> bool:
    """Whether a capture keeps a layer whole rather than looking into it: one that a row stands for, norms, dropout."""
    if "forward" in vars(net) or not _has_own_tensors(net):
        return False
    if getattr(net, "padding_mode", "zeros") != "zeros":
        # A call that pads, and the convolution.
        return False
    if is_opened(net):
        return False
    # What was derived from a norm without another forward asks for sizes, as no user's code does.
    norm = isinstance(net, _BatchNorm) and type(net).forward.__module__.startswith("torch.nn")
    return norm or isinstance(net, Normalization) or type(net) in _layers_of_rows() or type(net) in DROPOUTS


def _has_own_tensors(net: nn.Module) -> bool:
    """Whether all tensors of a layer are parameters and buffers: what pruning leaves is computed in every call."""
    return not any(isinstance(each, Tensor) for each in vars(net).values())


def _is_others(layer: nn.Module) -> bool:
    """Whether a layer that a row stands for is of a class that is not torch's: its code may be whatever it likes."""
    return not isinstance(layer, Normalization) and not type(layer).__module__.startswith("torch.nn")


def is_row_of_layers(net: nn.Module) -> bool:
    """Whether a network is nothing but layers that are kept whole, one behind the other, without hooks."""
    if has_hooks(net):
        return False
    if type(net) is nn.Sequential and "forward" not in vars(net):
        return all(is_row_of_layers(layer) for layer in net)
    return is_leaf(net) and not is_of_several_ranks(net)


def has_hooks(net: nn.Module) -> bool:
    """Whether something is called around a layer, or is shown its gradients."""
    return any((net._forward_hooks, net._forward_pre_hooks, net._backward_hooks, net._backward_pre_hooks))


def _row_of_layers(net: nn.Module, name: str) -> fx.Graph:
    """What export would make of a row of layers, which it takes a hundred times as long for."""
    graph = fx.Graph()
    graph.output(_called_in_a_row(graph, net, "", graph.placeholder(name)))
    return graph


def _called_in_a_row(graph: fx.Graph, net: nn.Module, path: str, value: fx.Node) -> fx.Node:
    if is_leaf(net):
        return graph.call_module(path, (value,))
    for each, layer in net._modules.items():
        assert layer is not None
        value = _called_in_a_row(graph, layer, f"{path}.{each}".lstrip("."), value)
    return value


@of_rows
def _layers_of_rows(rows: Mapping[str, Row]) -> frozenset[Any]:
    """The module classes that rows stand for: those of registered rows may be anybody's."""
    return frozenset(match.target for row in rows.values() for match in row.matches if match.kind == "module")


Traced = TypeVar("Traced", bound=fx.GraphModule)


@dataclass(frozen=True)
class Trace(Generic[Traced]):
    """A network that was captured.

    Attributes:
        graph: its calls.
        outputs: how it returns its outputs, if not as a tensor or a tuple of them.
        identities: names of layers of its own that handed on the very tensor that they got.
        opaque: names of layers of its own that were not looked into.
        own_gradients: whether it calls functions that say themselves what their gradient is.
        writes: parameters and buffers that its code writes, statistics of batch norms apart.
        through_dropout: whether its code writes, by what dropout gave, into what dropout got: not so in training.
        fixed_batch: the batch's size where that became a number in its code; else 0.
        shown: names of layers that are leaves and were looked into, because code writes into what they hand on.
        asked: names of buffers whose values its code took as numbers of Python, which are constants now.
        states: those into which something is written that hangs on the inputs, and the line that does.
        at_rest: parameters that its code writes, though to evaluate nothing changes: clipped ones, clipped once more.
    """

    graph: Traced
    outputs: OutputForm | None
    identities: tuple[str, ...]
    opaque: tuple[str, ...]
    own_gradients: bool
    writes: tuple[str, ...]
    through_dropout: bool = False
    fixed_batch: int = 0
    shown: tuple[str, ...] = ()
    asked: frozenset[str] = frozenset()
    states: Mapping[str, str] = field(default_factory=dict)
    at_rest: tuple[str, ...] = ()


def record_shapes(traced: fx.GraphModule, examples: Sequence[Tensor], batch: int = 0) -> None:
    """Keep, at each node of a graph in evaluation, the shape that it has on ``examples``, or its plain value.

    A batch of one is doubled, so that an axis that is the batch's can be told from one of size 1.

    Args:
        traced: the graph.
        examples: a tensor per input.
        batch: how many samples are taken; 0 for as many as there are.

    Raises:
        BadConfiguration: the network does not run on the examples.
    """
    if batch:
        examples = first_repeated(examples, batch)
    try:
        with torch.no_grad(), evaluating(traced):
            Recorder(traced).run(*_doubled(examples))
    except Exception as error:
        raise BadConfiguration(
            where="example_input",
            expected="tensors that the network accepts, in batches of any size",
            got=f"shapes {[tuple(e.shape) for e in examples]}, on which it fails: {str(error).splitlines()[0]}",
            remedy="pass one example batch in the shape that the network is trained on, and keep the batch size out of "
            "the network's code",
        ) from error


def _doubled(examples: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(first_repeated([e], 2)[0] if e.dim() and len(e) == 1 else e for e in examples)


def trace(
    net: nn.Module,
    form: CallForm,
    examples: Sequence[Tensor],
    kind: type[Traced] = fx.GraphModule,  # type: ignore[assignment]
    opaque: Sequence[str] = (),
    shown: Sequence[str] = (),
) -> Trace[Traced]:
    """``net`` as calls alone, in the mode that its modules are in.

    Args:
        net: any module, that may be changed; the result is over its own parameters, buffers and layers.
        form: how it is called.
        examples: float32 with a leading batch axis, a tensor per input.
        kind: class of the result.
        opaque: names of layers that are not looked into.
        shown: names of layers that an earlier trace in this mode had to show; it is done in one go where they are told.

    Raises:
        UnsupportedLayer: code that can't be captured.
    """
    if is_row_of_layers(net) and len(form.names) == len(form.arguments(form.names).args) == 1:
        return Trace(kind(net, _row_of_layers(net, form.names[0]), kind.__name__), None, (), (), False, ())
    kept = {path for path, module in net.named_modules() if is_leaf(module) or path in opaque}
    layers = {path: net.get_submodule(path) for path in kept}
    if any(isinstance(each, _BatchNorm) and each.training and path not in kept for path, each in net.named_modules()):
        # Its code writes statistics, so that these would be shown in a second go.
        shown = (*shown, *(path for path, layer in layers.items() if isinstance(layer, nn.Flatten | nn.Unflatten)))
    closed = {path for path, layer in layers.items() if path in opaque or _is_others(layer)}
    try:
        shown = tuple(path for path in shown if path not in opaque)
        exported = export_network(net, form, examples, kept.difference(shown), closed.difference(shown))
        if exported.kept.views and any(map(writes_values, exported.graphs)):
            # What such a layer shows may be written to, or be read after a write.
            shown = (*shown, *exported.kept.views)
            exported = export_network(net, form, examples, kept.difference(shown), closed.difference(shown))
        graph = lifted(exported, net, form.names)
    except Exception as error:
        raise untraceable(net, error) from error
    for layer in layers.values():
        # What they do has become calls, or was seen to do nothing.
        layer._forward_pre_hooks.clear()
        layer._forward_hooks.clear()
    traced = kind(net, graph, kind.__name__)
    norms = {path for path, module in net.named_modules() if isinstance(module, _BatchNorm)}
    written = write_values(traced)
    writes = tuple(name for name in written.attributes if name.rpartition(".")[0] not in norms)
    drop_identities(traced)
    return Trace(
        traced, exported.outputs, tuple(dict.fromkeys(exported.identities)), tuple(opaque), exported.own_gradients,
        writes, written.through_dropout, exported.fixed_batch, shown, frozenset(exported.kept.values.asked),
        {name: written.by_inputs[name] for name in writes if name in written.by_inputs}, written.at_rest,
    )  # fmt: skip
