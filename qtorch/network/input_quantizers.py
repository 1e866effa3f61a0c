"""The quantizers of a prepared network's inputs, in their order."""

from __future__ import annotations

from torch import fx, nn

from qtorch.network.quantizer import Quantizer

__all__ = ["input_quantizers"]


def input_quantizers(network: nn.Module) -> list[Quantizer]:
    """The one that each input goes through first.

    Args:
        network: prepared, where every input is read by its quantizer alone.
    """
    assert isinstance(network, fx.GraphModule)
    found = []
    for node in network.graph.find_nodes(op="placeholder"):
        (reader,) = node.users
        quantizer = network.get_submodule(str(reader.target))
        assert isinstance(quantizer, Quantizer)
        found.append(quantizer)
    return found
