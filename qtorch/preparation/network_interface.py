"""Inputs and outputs that a device can have: one sample in, one sample out, tensors that hang on each other."""

from __future__ import annotations

from torch import fx

from qtorch.capture.constant_folding import is_constant
from qtorch.capture.nodes import is_tensor, shape_of
from qtorch.errors import BadConfiguration, UnsupportedLayer
from qtorch.preparation.transparency import source_of

__all__ = ["require_inputs_read", "require_outputs"]


def require_inputs_read(traced: fx.GraphModule) -> None:
    """Refuse a network of which an input changes nothing.

    Raises:
        UnsupportedLayer: names the input.
    """
    for node in traced.graph.find_nodes(op="placeholder"):
        if not node.users:
            raise UnsupportedLayer(
                where=f"input {node.name!r}",
                expected="inputs that the outputs depend on",
                got="one that nothing reads",
                remedy="leave it out of forward's arguments",
            )


def require_outputs(traced: fx.GraphModule, node: fx.Node) -> None:
    """Refuse outputs that a device can't give: what is no tensor, is a constant, or has no batch axis.

    Args:
        traced: the network.
        node: its output.

    Raises:
        UnsupportedLayer: an output that is no tensor, or hangs on no input.
        BadConfiguration: inputs and outputs are not all of one batch.
    """
    for part in node.args[0] if isinstance(node.args[0], tuple | list) else node.args:
        if not isinstance(part, fx.Node) or not is_tensor(part):
            raise UnsupportedLayer(
                where="the network's output",
                expected="one tensor, or a tuple of tensors",
                got=type(part).__name__,
                remedy="return the tensors themselves",
            )
        assert isinstance(part, fx.Node)
        _require_batch(traced, part)
        if is_constant(traced, source_of(traced, part)):
            raise UnsupportedLayer(
                where=f"the network's output {part.name!r}",
                expected="outputs that depend on an input",
                got="a constant",
                remedy="leave it out of what forward returns: it can be read from the network itself",
            )


def _require_batch(traced: fx.GraphModule, output: fx.Node) -> None:
    """One sample in, one sample out: an example without a batch axis would pass for a batch of numbers."""
    inputs = [node for node in traced.graph.nodes if node.op == "placeholder" and is_tensor(node)]
    batches = {shape_of(node)[:1] for node in (*inputs, output)}
    if len(batches) > 1 and not is_constant(traced, source_of(traced, output)):
        raise BadConfiguration(
            where="example_input",
            expected="a batch, of which every input and output has one axis, the first",
            got=f"inputs of shape {[shape_of(node) for node in inputs]}, an output of shape {shape_of(output)}",
            remedy="give the example a leading axis for the batch, as in example.unsqueeze(0)",
        )
