"""Whose grid each tensor lies on, as the rows ask for it; a tensor that readers want otherwise is requantized for them.

What must share one grid is put into one set of :class:`qtorch.preparation.sharing.Sharing`. Where types differ, or a
kernel fixed a grid that others can't have, a QUANTIZE is planned in between.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import fx

from qtorch.capture.nodes import ONE_GRID
from qtorch.numbers.qparams import INDICES
from qtorch.ops import ROWS
from qtorch.preparation.assembly import Plan
from qtorch.preparation.layer_settings import LayerSettings
from qtorch.preparation.matching import MatchedCall, refusal
from qtorch.preparation.planning import OpNames
from qtorch.preparation.sharing import SharedGrid, Sharing
from qtorch.preparation.transparency import is_transparent
from qtorch.preparation.unheard_settings import GRID_SETTINGS
from qtorch.row.constraints import Fixed, Free, Indices, NotNegative, SameAs, SymmetricWeight
from qtorch.row.fused_activation import FUSED_ACTIVATIONS, SMALLEST_RELU6_SCALE

__all__ = ["GridAssignment"]


class GridAssignment:
    """The sets of tensors that share a grid, of the planned ops of one network."""

    def __init__(
        self, traced: fx.GraphModule, plans: dict[fx.Node, Plan], settings: LayerSettings, names: OpNames
    ) -> None:
        self.traced, self.plans, self.settings, self.names = traced, plans, settings, names
        self.sharing = Sharing()
        #: What was put onto another grid: the tensor, what its reader wanted, and the result.
        self.requantized: list[tuple[fx.Node, tuple[Any, ...], fx.Node]] = []

    def run(self) -> Sharing:
        """Go through the nodes in the order of execution; plans of what is put in between are added.

        Raises:
            UnsupportedLayer: a kernel has no form of the types that are asked for.
        """
        for node in list(self.traced.graph.nodes):
            self._share(node)
        self._share_said()
        return self.sharing

    def _share_said(self) -> None:
        """One grid for what is said to lie on one, as a state at all steps; but for what a kernel has fixed."""
        first: dict[Any, fx.Node] = {}
        for node in self.traced.graph.nodes:
            said = node.meta.get(ONE_GRID)
            if said is None or node not in self.sharing:
                continue
            other, mine = self.sharing.grid(first.setdefault(said, node)), self.sharing.grid(node)
            if (mine.dtype, mine.fixed, other.fixed) == (other.dtype, None, None):
                self.sharing.join(node, first[said])

    def _share(self, node: fx.Node) -> None:
        """Decide whose grid a node's result lies on; runs in the order of execution."""
        if node.op == "placeholder":
            layer = self.settings.of(node.name, node)
            if node.meta.get("dtype") == torch.int64:
                self.sharing.add(node, SharedGrid(INDICES.dtype, layer, INDICES))
                return
            self.sharing.add(node, SharedGrid(layer.activations, layer))
        elif node in self.plans:
            self._share_op(node, self.plans[node])
        elif is_transparent(self.traced, node):
            self.sharing.join(node, node.args[0])  # type: ignore[arg-type]

    def _share_op(self, node: fx.Node, plan: Plan) -> None:
        sources = plan.call.sources
        if all(self.sharing.grid(source).fixed == INDICES for source in sources.values()):
            self._share_indices(node, plan)
            return
        if plan.row.selects and all(
            source in self.plans and self.plans[source].config.skip for source in sources.values()
        ):
            # What only moves float values has no reason to round them.
            plan.config = replace(plan.config, skip=True)
        follows = plan.row.selects and len(sources) == 1 and not plan.narrow
        dtype = self._read_as(next(iter(sources.values()))) if follows else plan.config.activations
        plan.config = plan.config.with_activations(dtype)
        self._require_type(node, plan)
        for role, source in list(sources.items()):
            if self.sharing.grid(source).dtype != dtype:
                self._requantize(node, plan, role, dtype)
        for role, source in plan.call.sources.items():
            demand = plan.row.constraint(role)
            if isinstance(demand, Free):
                grid = self.sharing.grid(source)
                # A softmax brings its input's differences times beta onto the grid that can't be finer.
                smallest = demand.smallest / min(plan.call.attrs.get("beta", 1.0), 1.0)
                grid.smallest = max(grid.smallest, smallest)
                grid.rectified |= isinstance(demand, NotNegative)
        shared = [role for role in sources if isinstance(plan.row.constraint(role), SameAs)]
        if shared:
            self._share_inputs(node, plan)
        output = plan.row.constraints["output"]
        if isinstance(output, SameAs):
            self.sharing.join(node, next(iter(plan.call.sources.values())))
            return
        if isinstance(output, Indices):
            # The kernel reads codes, and has no reason to read anything else.
            plan.config = replace(plan.config, skip=False)
            self.sharing.add(node, SharedGrid(INDICES.dtype, plan.config, INDICES))
            return
        rectified = plan.row.name in FUSED_ACTIVATIONS or plan.call.attrs.get("activation", "none") != "none"
        fixed = output.qparams(dtype) if isinstance(output, Fixed) else None
        smallest = output.smallest if isinstance(output, Free) else 0.0
        smallest = max(smallest, SMALLEST_RELU6_SCALE if plan.call.attrs.get("activation") == "relu6" else 0.0)
        self.sharing.add(node, SharedGrid(dtype, plan.config, fixed, rectified, smallest))

    def _read_as(self, source: fx.Node) -> str:
        """The type in which an op that only moves its input has it."""
        plan = self.plans.get(source)
        return plan.narrow if plan is not None and plan.narrow else self.sharing.grid(source).dtype

    def _share_indices(self, node: fx.Node, plan: Plan) -> None:
        """What is made of indices alone: the same ones, in another shape, or what is looked up by them."""
        if isinstance(plan.row.constraints["output"], SameAs):
            plan.config = replace(plan.config, skip=False)
            self.sharing.join(node, next(iter(plan.call.sources.values())))
            return
        self._require_type(node, plan)
        self.sharing.add(node, SharedGrid(plan.config.activations, plan.config))

    def _require_type(self, node: fx.Node, plan: Plan) -> None:
        dtype = plan.config.activations
        for demand in (plan.row.constraint(next(iter(plan.call.sources))), plan.row.constraints["output"]):
            known = (
                demand.dtypes if isinstance(demand, Free) else tuple(demand.grids) if isinstance(demand, Fixed) else ()
            )
            if known and dtype not in known:
                raise refusal(
                    self.traced,
                    node,
                    expected=f"activations {' or '.join(known)} for {plan.row.name}, which TFLite Micro has",
                    got=dtype,
                    remedy=f"set layers={{{plan.name!r}: {{'activations': {known[0]!r}}}}} in the configuration",
                )
        weight = next((each for each in plan.row.constraints.values() if isinstance(each, SymmetricWeight)), None)
        if weight is not None and plan.config.weight_dtype not in weight.dtypes:
            raise refusal(
                self.traced,
                node,
                expected=f"weights {' or '.join(weight.dtypes)} for {plan.row.name}, which TFLite Micro has",
                got=plan.config.weight_dtype,
                remedy=f"set layers={{{plan.name!r}: {{'weight_bits': 8}}}} in the configuration",
            )

    def _share_inputs(self, node: fx.Node, plan: Plan) -> None:
        """One grid for all inputs. One that a kernel fixed can't widen, so it is requantized unless all have it."""
        fixed = [self.sharing.grid(source).fixed for source in plan.call.sources.values()]
        if any(grid != fixed[0] for grid in fixed):
            for (role, _), grid in zip(list(plan.call.sources.items()), fixed, strict=True):
                if grid is not None:
                    self._requantize(node, plan, role, plan.config.activations)
        first, *others = plan.call.sources.values()
        for other in others:
            self.sharing.join(other, first)

    def _requantize(self, node: fx.Node, plan: Plan, role: str, dtype: str) -> None:
        """Put a tensor onto another grid before ``node`` reads it; one result for all readers that want the same."""
        source = plan.call.sources[role]
        wanted = self._wanted(source, plan, role, dtype)
        known = next((result for tensor, of, result in self.requantized if tensor is source and of == wanted), None)
        if wanted and known is not None:
            plan.call = replace(plan.call, sources={**plan.call.sources, role: known})
            return
        name = self.names.fresh(f"{source.name}_requantized")
        with self.traced.graph.inserting_before(node):
            inserted = self.traced.graph.create_node("call_module", name, (source,))
        inserted.meta = dict(source.meta)
        # Integers become other integers: that the layer behind computes in float32 is no business of this op.
        config = replace(plan.config.with_activations(dtype), skip=False)
        quantize = MatchedCall(ROWS["quantize"], {}, {"input": source}, {})
        self.plans[inserted] = Plan(quantize, name, config)
        self.sharing.add(inserted, SharedGrid(dtype, config, rectified=self.sharing.grid(source).rectified))
        plan.call = replace(plan.call, sources={**plan.call.sources, role: inserted})
        self.requantized.append((source, wanted, inserted))

    def _wanted(self, source: fx.Node, plan: Plan, role: str, dtype: str) -> tuple[Any, ...]:
        """What decides a requantized tensor's grid; empty where that grid is to be other tensors' too."""
        demand = plan.row.constraint(role)
        if any(isinstance(each, SameAs) for each in (demand, plan.row.constraints["output"])):
            return ()
        settings = tuple(getattr(plan.config, name) for name in sorted(GRID_SETTINGS))
        return dtype, settings, demand, self.sharing.grid(source).rectified
