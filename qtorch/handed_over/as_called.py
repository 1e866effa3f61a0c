"""A prepared network's call in the form of its example.

Tensors in a row are a call of a prepared network, whatever form its example had; of the float network they are none.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.utils._pytree import tree_structure

from qtorch.capture.call_form import arguments_of
from qtorch.capture.samples import Samples
from qtorch.errors import BadInput
from qtorch.network.quantized_network import QuantizedNetwork

__all__ = ["as_called"]


def _tensors_of(net: QuantizedNetwork, samples: Samples) -> tuple[Any, ...]:
    """The tensors of a call; none of what is no call."""
    call = arguments_of(net.form.signature, samples)
    try:
        return net.form.tensors(call.args, call.kwargs)
    except BadInput:
        return ()


def as_called(net: nn.Module, samples: Samples) -> Samples:
    """Samples in the form of the example that a network was prepared with.

    Those of a float network, and what is no call, as they came.
    """
    tensors = _tensors_of(net, samples) if isinstance(net, QuantizedNetwork) else ()
    if not tensors or not isinstance(net, QuantizedNetwork):
        return samples
    signature = net.form.signature
    call = arguments_of(signature, samples)
    usual = net.form.arguments(tensors)
    if tree_structure((call.args, call.kwargs)) == tree_structure((usual.args, usual.kwargs)):
        return samples
    if not usual.kwargs:
        return usual.args
    named = {**dict(zip(signature.parameters, usual.args, strict=False)), **usual.kwargs}
    return named if arguments_of(signature, named).kwargs == named else samples
