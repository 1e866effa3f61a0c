"""Networks as graphs of ATen calls whose parameters and buffers are read by name."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import fx, nn
from torch._dynamo import config


def exported(net: nn.Module, *examples: torch.Tensor) -> fx.GraphModule:
    """``net`` in evaluation, over its very parameters and buffers; the batch is of any size."""
    batch: Any = tuple({0: torch.export.Dim.AUTO} for _ in examples)
    # As a capture has it: results that are kept and never found again take a third of the time.
    with warnings.catch_warnings(), config.patch(fake_tensor_cache_enabled=False):
        # Of attributes that hooks assign, as pruning's do.
        warnings.simplefilter("ignore")
        program = torch.export.export(net.eval(), examples, dynamic_shapes=batch, strict=False)
        module: Any = program.module()
    for node in module.graph.find_nodes(op="call_module"):
        # What checks shapes is no call of the network's.
        module.graph.erase_node(node)
    return fx.GraphModule(_over(module, net), module.graph)


def _over(module: nn.Module, net: nn.Module) -> nn.Module:
    """The exported module with ``net``'s own tensors in it."""
    own = {**dict(net.named_parameters(remove_duplicate=False)), **dict(net.named_buffers(remove_duplicate=False))}
    for name, tensor in own.items():
        owner, _, last = name.rpartition(".")
        try:
            holder = module.get_submodule(owner)
        except AttributeError:
            continue
        for table in (holder._parameters, holder._buffers):
            if last in table:
                table[last] = tensor
    return module
