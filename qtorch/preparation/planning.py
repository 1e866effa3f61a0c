"""Which ops a network becomes: each call's row, what is folded backwards or forwards, which activations are fused.

Changes the traced graph in place: what was folded or fused into another node is taken out of it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch
from torch import fx

from qtorch.capture.nodes import shape_of
from qtorch.network.batch_norm import BatchNorm
from qtorch.normalization import Normalization
from qtorch.preparation.assembly import Plan
from qtorch.preparation.chains import chained
from qtorch.preparation.forward_folding import fold_forwards, one_pixel
from qtorch.preparation.layer_settings import LayerSettings
from qtorch.preparation.matching import MatchedCall, find_row, refusal
from qtorch.preparation.network_interface import require_outputs
from qtorch.preparation.transparency import is_silent, multiplies_in_training
from qtorch.row.fused_activation import FUSED_ACTIVATIONS
from qtorch.row.row import Row

__all__ = ["OpNames", "Planning"]


class OpNames:
    """Names of the ops to be, each given once."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self.taken = {name for name, _ in traced.named_modules()}
        self.replaced: set[str] = set()
        layers = Counter(str(node.meta.get("layer", "")) for node in traced.graph.nodes if node.op == "call_function")
        self.bare = {name for name, calls in layers.items() if name and calls == 1 and name not in self.taken}
        self.taken |= self.bare

    def of(self, node: fx.Node) -> str:
        """A module's own path at its first call, so that its parameters keep their names; else a new one."""
        name = str(node.target)
        if node.op == "call_module" and name not in self.replaced:
            self.replaced.add(name)
            return name
        layer = str(node.meta.get("layer", ""))
        if layer in self.bare and layer not in self.replaced:
            # The one call that a layer of torch without parameters came to.
            self.replaced.add(layer)
            return layer
        return self.fresh(node.name)

    def fresh(self, stem: str) -> str:
        """A name that no module has, and that begins with ``stem``."""
        while stem in self.taken:
            stem += "_"
        self.taken.add(stem)
        return stem


class Planning:
    """Plans of the ops that the nodes of one traced network become."""

    def __init__(self, traced: fx.GraphModule, settings: LayerSettings, names: OpNames) -> None:
        self.traced, self.settings, self.names = traced, settings, names
        self.plans: dict[fx.Node, Plan] = {}

    def run(self) -> dict[fx.Node, Plan]:
        """Plan every node, in the order of execution.

        Raises:
            UnsupportedLayer: a call that no row stands for.
        """
        default = self.settings.config.layer_default
        for node in list(self.traced.graph.nodes):
            self._plan(node)
        # Only now, because only now its readers are planned.
        for node in list(self.traced.graph.nodes):
            norm = self._normalization(node)
            if norm is not None and node in self.plans and fold_forwards(self.plans, node, norm, default):
                self._merge(node, node.all_input_nodes[0])
        self.traced.graph.eliminate_dead_code()
        return self.plans

    def _plan(self, node: fx.Node) -> None:
        if node.op == "output":
            require_outputs(self.traced, node)
        elif is_silent(self.traced, node):
            return
        elif self._is_batch_norm(node):
            self._fold(node)
        elif self._normalization(node) is not None:
            self._plan_normalization(node)
        else:
            call = find_row(self.traced, node)
            if not self._absorb(node, call.row) and not self._chain(node, call):
                name = self.names.of(node)
                config = self.settings.of(name, node)
                if config.skip and call.row.frozen is not None:
                    raise refusal(
                        self.traced,
                        node,
                        expected="a layer that has a float kernel, to be left in float32",
                        got="a function that a table of int8 codes computes",
                        remedy="do not skip it: its one rounding is that of its result",
                    )
                if call.row.name == "fully_connected" and self.settings.config.fully_connected_per_tensor:
                    config = replace(config, weights="per_tensor")
                self.plans[node] = Plan(call, name, config)

    def _is_batch_norm(self, node: fx.Node) -> bool:
        called = self.traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        return isinstance(called, BatchNorm) and len(shape_of(node)) <= 4

    def _fold(self, node: fx.Node) -> None:
        """Into the layer before, or, where that can't take it, as a depthwise convolution of one pixel."""
        norm = self.traced.get_submodule(str(node.target))
        assert isinstance(norm, BatchNorm)
        if norm.running_var is None:
            raise refusal(
                self.traced,
                node,
                expected="a batch norm with running statistics",
                got="track_running_stats=False",
                remedy="let it track them: the device has no batch to measure",
            )
        producer, dropping = node.args[0], None
        if isinstance(producer, fx.Node) and len(producer.users) == 1 and multiplies_in_training(self.traced, producer):
            dropping, producer = producer, producer.args[0]
        plan = self.plans.get(producer) if isinstance(producer, fx.Node) else None
        if plan is not None and isinstance(producer, fx.Node) and self._takes_norm(plan, producer):
            plan.norm = norm
            self._merge(node, producer)
            if dropping is not None:
                plan.dropout = self.traced.get_submodule(str(dropping.target))
                self._merge(dropping, producer)
            return
        scaling = one_pixel(node, torch.ones(norm.num_features))
        name = self.names.fresh(f"{node.name}_op")
        self.plans[node] = Plan(scaling, name, self.settings.of(str(node.target), node), norm)

    def _normalization(self, node: fx.Node) -> Normalization | None:
        module = self.traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        return module if isinstance(module, Normalization) else None

    def _plan_normalization(self, node: fx.Node) -> None:
        """As one that stands alone, for now."""
        norm, shape = self._normalization(node), shape_of(node)
        assert norm is not None
        if not 2 <= len(shape) <= 4:
            raise refusal(
                self.traced,
                node,
                expected="an input of 2 to 4 axes, the batch's first and the channels' second",
                got=f"shape {shape}",
                remedy="merge or insert axes with reshape",
            )
        offset, span = (each.expand(shape[1]) for each in (norm.offset, norm.span))
        scaling = one_pixel(node, 1 / span, -offset / span)
        name = self.names.fresh(f"{node.name}_op")
        self.plans[node] = Plan(scaling, name, self.settings.of(str(node.target), node))

    def _takes_norm(self, plan: Plan, producer: fx.Node) -> bool:
        has_channels = plan.row.norm_axis is not None
        # A linear layer on sequences has its features last, and a batch norm behind it normalizes another axis.
        features_last = plan.call.attrs.get("keep_num_dims", False)
        free = plan.norm is None and plan.call.attrs.get("activation") == "none" and len(producer.users) == 1
        return has_channels and not features_last and free

    def _absorb(self, node: fx.Node, row: Row) -> bool:
        """Let the op before ``node`` compute it, if that op's kernel can and nobody else reads its output."""
        if row.name not in FUSED_ACTIVATIONS:
            return False
        producer = node.args[0]
        plan = self.plans.get(producer) if isinstance(producer, fx.Node) else None
        if plan is None or row.name not in plan.row.fusable or plan.call.attrs["activation"] != "none":
            return False
        assert isinstance(producer, fx.Node)
        if len(producer.users) != 1:
            return False
        plan.call = replace(plan.call, attrs={**plan.call.attrs, "activation": row.name})
        self._merge(node, producer)
        return True

    def _chain(self, node: fx.Node, call: MatchedCall) -> bool:
        """Let one table compute ``node`` and the ops before it, if it can and the same is asked of all of them."""
        sources = list(call.sources.values())
        plan = self.plans.get(sources[0]) if len(sources) == 1 else None
        if plan is None or len(sources[0].users) != 1 or plan.norm is not None:
            return False
        name = str(node.target) if node.op == "call_module" else node.name
        table = chained(sources[0], plan.call, node, call)
        if table is None or self.settings.config.layer(name) != plan.config:
            return False
        plan.call = table
        self._merge(node, sources[0])
        # What could not be a step of the op before alone can be one of a table.
        if self._chain(sources[0], table):
            del self.plans[sources[0]]
        return True

    def _merge(self, node: fx.Node, producer: fx.Node) -> None:
        node.replace_all_uses_with(producer)
        self.traced.graph.erase_node(node)
