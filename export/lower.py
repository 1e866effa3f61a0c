"""QAT network to Graph: the only reader of torch modules in this package."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import fx

from export.ir import Graph, Node, Value, check
from qtorch.errors import NotFinite
from qtorch.fake_quant import Quantizer
from qtorch.layers import QuantizedOp
from qtorch.qparams import QParams

__all__ = ["lower"]


def lower(network: fx.GraphModule) -> Graph:
    """The integers that a prepared and calibrated network stands for.

    Raises:
        NotFinite: a parameter holds NaN or infinity.
        BadConfiguration: a range was never measured.
        OverflowError: a layer's accumulator could leave int32 for some input.
    """
    values: dict[str, Value] = {}
    nodes: list[Node] = []
    inputs: list[str] = []
    outputs: tuple[str, ...] = ()
    name_of: dict[fx.Node, str] = {}
    for fx_node in network.graph.nodes:
        if fx_node.op == "placeholder":
            name_of[fx_node] = fx_node.name
        elif fx_node.op == "output":
            outputs = (name_of[fx_node.args[0]],)
        else:
            module = network.get_submodule(fx_node.target)
            name = name_of[fx_node] = name_of[fx_node.args[0]] if isinstance(module, Quantizer) else fx_node.target
            shape = (1, *_shape(fx_node)[1:])
            if isinstance(module, Quantizer):
                values[name] = Value(shape, module.qparams())
                inputs.append(name)
            elif isinstance(module, QuantizedOp):
                sources = tuple(name_of[argument] for argument in fx_node.args)
                constants = _constants(name, module)
                values |= constants
                values[name] = Value(shape, module.output.qparams())
                nodes.append(Node(module.row.name, dict(module.attrs), (*sources, *constants), name))
    return check(Graph(values, tuple(nodes), tuple(inputs), outputs))


def _shape(node: fx.Node) -> tuple[int, ...]:
    meta: Any = node.meta["tensor_meta"]
    return tuple(meta.shape)


def _constants(name: str, op: QuantizedOp) -> dict[str, Value]:
    for role, parameter in op.named_parameters(recurse=False):
        if not torch.isfinite(parameter).all():
            raise NotFinite(
                where=f"{role} of layer {name!r}",
                expected="finite values",
                got="NaN or infinity",
                remedy="lower the learning rate or check the data, and train again",
            )
    found = {}
    for role, constant in op.constants().items():
        data = constant.codes.numpy().astype(constant.dtype)
        found[f"{name}.{role}"] = Value(data.shape, QParams.of(constant.grid, constant.dtype, constant.axis), data)
    _require_int32_accumulator(name, found)
    return found


def _require_int32_accumulator(name: str, constants: dict[str, Value]) -> None:
    """The largest accumulator that any int8 input could cause must fit: 255 * sum|w| + |b| per output channel."""
    weight, bias = (constants.get(f"{name}.{role}") for role in ("weight", "bias"))
    if weight is None or weight.data is None:
        return
    worst = 255 * np.abs(weight.data.astype(np.int64)).reshape(weight.shape[0], -1).sum(1)
    if bias is not None and bias.data is not None:
        worst = worst + np.abs(bias.data.astype(np.int64))
    if worst.max() > 2**31 - 1:
        raise OverflowError(f"layer {name!r}: expected accumulators within int32, got up to {worst.max()}")
