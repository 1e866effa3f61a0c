"""A network as a graph of calls: traced, with the shape of every tensor, and plain values for computed sizes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn

from qtorch.errors import BadConfiguration, UnsupportedLayer
from qtorch.normalization import Normalization

__all__ = ["is_leaf", "is_tensor", "shape_of", "source_line", "trace", "value_of"]

#: Where a node's result is kept: a tensor's shape, or the plain value itself.
_SHAPE, _VALUE = "shape", "value"


class _Tracer(fx.Tracer):
    """Keeps where each call stands in the source; stops at torch's own modules and at :class:`Normalization`."""

    record_stack_traces = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Normalization) or super().is_leaf_module(m, module_qualified_name)


def is_leaf(net: nn.Module) -> bool:
    """Whether a tracer sees a layer in ``net`` rather than a network to look into."""
    return _Tracer().is_leaf_module(net, "")


Traced = TypeVar("Traced", bound=fx.GraphModule)


def trace(
    net: nn.Module,
    examples: tuple[Tensor, ...],
    kind: type[Traced] = fx.GraphModule,  # type: ignore[assignment]
) -> Traced:
    """``net`` traced in evaluation mode on ``examples``, float32 with a leading batch axis.

    A batch of one is doubled, so that an axis that is the batch's can be told from one of size 1.

    Args:
        net: any module; its own parameters, buffers and layers are the traced one's.
        examples: a tensor per input.
        kind: class of the result.

    Raises:
        UnsupportedLayer: control flow that depends on data.
        BadConfiguration: the network does not run on the examples.
    """
    traced = _trace(net, kind)
    examples = tuple(e.repeat(2, *[1] * (e.dim() - 1)) if e.dim() and len(e) == 1 else e for e in examples)
    was_training = [(module, module.training) for module in traced.modules()]
    traced.eval()
    try:
        with torch.no_grad():
            _Recorder(traced).run(*examples)
    except Exception as error:
        raise BadConfiguration(
            where="example_input",
            expected="tensors that the network accepts, in batches of any size",
            got=f"shapes {[tuple(e.shape) for e in examples]}, on which it fails: {str(error).splitlines()[0]}",
            remedy="pass one example batch in the shape that the network is trained on, and keep the batch size out of "
            "the network's code",
        ) from error
    for module, training in was_training:
        module.training = training
    return traced


def _trace(net: nn.Module, kind: type[Traced]) -> Traced:
    try:
        tracer = _Tracer()
        graph = tracer.trace(net)
        return kind(tracer.root, graph, kind.__name__)
    except (fx.proxy.TraceError, TypeError) as error:
        raise UnsupportedLayer(
            where=type(net).__name__,
            expected="a network whose layers do not depend on the values in a tensor",
            got=str(error).splitlines()[0],
            remedy="move data-dependent control flow out of forward",
        ) from error


class _Recorder(fx.Interpreter):
    """Runs the graph once and keeps every result's shape or value."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta[_SHAPE] = tuple(result.shape)
            n.meta["dtype"] = result.dtype
        else:
            n.meta[_VALUE] = fx.node.map_aggregate(result, _plain)
        return result


def _plain(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else value


def is_tensor(node: Any) -> bool:
    """Whether an argument is a node that computes a tensor."""
    return isinstance(node, fx.Node) and _SHAPE in node.meta


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Of a tensor, batch axis included; of the first tensor where the node gives several."""
    found = node.meta[_SHAPE] if _SHAPE in node.meta else node.meta[_VALUE][0]
    return tuple(found)


def value_of(argument: Any) -> Any:
    """An argument with every node that computes a size replaced by that size."""
    return fx.node.map_aggregate(
        argument, lambda v: v.meta[_VALUE] if isinstance(v, fx.Node) and _VALUE in v.meta else v
    )


_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)\n\s*(?P<code>.*)')


def source_line(node: fx.Node) -> str:
    """``file.py:12: x = self.conv(x)`` of the call, or an empty string where it is not known."""
    torch_folder = str(Path(torch.__file__).parent)
    frames = [m for m in _FRAME.finditer(node.stack_trace or "") if not m["file"].startswith(torch_folder)]
    if not frames:
        return ""
    last = frames[-1]
    return f"{Path(last['file']).name}:{last['line']}: {last['code'].strip()}"
