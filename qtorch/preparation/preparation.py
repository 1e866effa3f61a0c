"""One network on its way to being quantized: each call's row, what is folded and fused, whose grid a tensor lies on."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from qtorch.capture.tracing import is_tensor, shape_of
from qtorch.capture.training_form import InTraining
from qtorch.config import LayerConfig, QuantizationConfig
from qtorch.errors import BadConfiguration, UnsupportedLayer
from qtorch.network.batch_norm import BatchNorm
from qtorch.network.quantized_op import QuantizedOp
from qtorch.normalization import Normalization
from qtorch.ops import ROWS
from qtorch.preparation.aliasing import require_no_aliasing, require_no_numbers
from qtorch.preparation.assembly import Assembly, Plan
from qtorch.preparation.forward_folding import fold_forwards, one_pixel
from qtorch.preparation.matching import Found, find_row, refusal
from qtorch.preparation.sharing import SharedGrid, Sharing
from qtorch.preparation.start_states import write_out_zeros
from qtorch.preparation.unheard_settings import GRID_SETTINGS, WEIGHT_SETTINGS
from qtorch.row.constraints import Fixed, Free, NotNegative, SameAs, SymmetricWeight
from qtorch.row.fused_activation import FUSED_ACTIVATIONS, SMALLEST_RELU6_SCALE
from qtorch.row.row import Row

__all__ = ["Preparation", "is_transparent"]

#: What training uses and the device does not see.
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_TRANSPARENT_MODULES = (nn.Identity, *_DROPOUTS, InTraining)
_TRANSPARENT_CALLS = (F.dropout, F.dropout1d, F.dropout2d, F.alpha_dropout, torch.clone, torch.detach)
_TRANSPARENT_METHODS = ("contiguous", "clone", "detach", "float")


def is_transparent(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node passes its input's grid on: dropout, identity, one tensor out of several."""
    if node.op == "call_module":
        return isinstance(traced.get_submodule(str(node.target)), _TRANSPARENT_MODULES)
    return is_tensor(node) and (node.target in (*_TRANSPARENT_CALLS, *_TRANSPARENT_METHODS) or _picks_tensor(node))


def _picks_tensor(node: fx.Node) -> bool:
    return node.target is operator.getitem and isinstance(node.args[0], fx.Node) and not is_tensor(node.args[0])


def _keep_real_between_skipped(network: fx.GraphModule) -> None:
    """What only layers left in float32 read is not rounded between them."""
    for node in network.graph.nodes:
        op = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(op, QuantizedOp) and op.config.skip:
            readers = [_operation(network, user) for user in _users(network, node)]
            op.rounds_output = not all(isinstance(r, QuantizedOp) and r.config.skip for r in readers)


def _users(network: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """Who reads a node, behind what passes its values on."""
    found = []
    for user in node.users:
        found += _users(network, user) if user.op != "output" and is_transparent(network, user) else [user]
    return found


def _operation(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


class Preparation:
    """One run over one traced network, which it changes in place."""

    def __init__(self, traced: fx.GraphModule, config: QuantizationConfig) -> None:
        self.traced, self.config = traced, config
        self.plans: dict[fx.Node, Plan] = {}
        self.sharing = Sharing()
        self.taken = {name for name, _ in traced.named_modules()}
        self.replaced: set[str] = set()
        #: What the configuration was asked for: the node that goes by a name.
        self.named: dict[str, fx.Node] = {}
        #: By layer, the settings that have an effect on it.
        self.heard: dict[str, frozenset[str]] = {}
        #: What was put onto another grid: the tensor, what its reader wanted, and the result.
        self.requantized: list[tuple[fx.Node, tuple[Any, ...], fx.Node]] = []

    def run(self) -> None:
        require_no_aliasing(self.traced)
        for node in self.traced.graph.find_nodes(op="call_function", target=torch._assert):
            # It held for the example, whose size is the only one.
            self.traced.graph.erase_node(node)
        # What nothing reads needs no row: checks of sizes, what hooks only look at.
        self.traced.graph.eliminate_dead_code()
        require_no_numbers(self.traced)
        write_out_zeros(self.traced)
        default = self.config.layer_default
        for node in list(self.traced.graph.nodes):
            self._plan(node)
        # Only now, because only now its readers are planned.
        for node in list(self.traced.graph.nodes):
            norm = self._normalization(node)
            if norm is not None and node in self.plans and fold_forwards(self.plans, node, norm, default):
                self._merge(node, node.all_input_nodes[0])
        self.traced.graph.eliminate_dead_code()
        for node in list(self.traced.graph.nodes):
            self._require_used(node)
            self._share(node)
        self._require_layers()
        self.heard = {name: self._heard(node) for name, node in self.named.items()}
        Assembly(self.traced, self.plans, self.sharing).run()
        _keep_real_between_skipped(self.traced)

    def _plan(self, node: fx.Node) -> None:
        if node.op == "output":
            self._require_tensors(node)
        elif self._is_silent(node):
            return
        elif self._is_batch_norm(node):
            self._fold(node)
        elif self._normalization(node) is not None:
            self._plan_normalization(node)
        else:
            found = find_row(self.traced, node)
            if not self._absorb(node, found.row):
                name = self._name(node)
                self.plans[node] = Plan(found, name, self._layer(name, node))

    def _layer(self, name: str, node: fx.Node) -> LayerConfig:
        self.named[name] = node
        return self.config.layer(name)

    def _heard(self, node: fx.Node) -> frozenset[str]:
        """Which settings have an effect on what ``node`` has become."""
        plan = self.plans.get(node)
        if node not in self.sharing:
            return frozenset()
        owns = self.sharing.root(node) is node and self.sharing.grid(node).fixed is None
        found = GRID_SETTINGS if owns else frozenset()
        if plan is None:
            return found | {"activations"}
        if isinstance(plan.row.constraints.get("weight"), SymmetricWeight):
            found |= WEIGHT_SETTINGS
        if not isinstance(plan.row.constraints["output"], SameAs):
            # The widest margin counts where several tensors share a grid.
            found |= {"margin"}
        follows = plan.row.selects and len(plan.found.sources) == 1
        return found | {"skip"} | (frozenset() if follows else {"activations"})

    def _require_layers(self) -> None:
        """A name that no layer has would be a wish that nobody hears; a pattern may be one for many networks."""
        for name in self.config.layers:
            if name not in self.named and not any(sign in name for sign in "*?["):
                raise BadConfiguration(
                    where=f"layers[{name!r}]",
                    expected=f"one of {', '.join(self.named)}, or a pattern",
                    got="another name",
                    remedy="correct it; what is folded or fused goes by the name of the layer before it",
                )

    def _require_used(self, node: fx.Node) -> None:
        if node.op == "placeholder" and not node.users:
            raise UnsupportedLayer(
                where=f"input {node.name!r}",
                expected="inputs that the outputs depend on",
                got="one that nothing reads",
                remedy="leave it out of forward's arguments",
            )

    def _is_silent(self, node: fx.Node) -> bool:
        """What the device does not compute: inputs, constants, sizes, dropout."""
        computes = is_tensor(node) or _computes_tensors(node)
        return node.op in ("get_attr", "placeholder") or not computes or is_transparent(self.traced, node)

    def _require_tensors(self, node: fx.Node) -> None:
        for part in node.args[0] if isinstance(node.args[0], tuple | list) else node.args:
            if not isinstance(part, fx.Node) or not is_tensor(part):
                raise UnsupportedLayer(
                    where="the network's output",
                    expected="one tensor, or a tuple of tensors",
                    got=type(part).__name__,
                    remedy="return the tensors themselves",
                )
            assert isinstance(part, fx.Node)
            self._require_batch(part)
            if self._source(part).op == "get_attr":
                raise UnsupportedLayer(
                    where=f"the network's output {part.name!r}",
                    expected="outputs that depend on an input",
                    got="a constant",
                    remedy="leave it out of what forward returns: it can be read from the network itself",
                )

    def _require_batch(self, output: fx.Node) -> None:
        """One sample in, one sample out: an example without a batch axis would pass for a batch of numbers."""
        inputs = [node for node in self.traced.graph.nodes if node.op == "placeholder" and is_tensor(node)]
        batches = {shape_of(node)[:1] for node in (*inputs, output)}
        if len(batches) > 1 and self._source(output).op != "get_attr":
            raise BadConfiguration(
                where="example_input",
                expected="a batch, of which every input and output has one axis, the first",
                got=f"inputs of shape {[shape_of(node) for node in inputs]}, an output of shape {shape_of(output)}",
                remedy="give the example a leading axis for the batch, as in example.unsqueeze(0)",
            )

    def _source(self, node: fx.Node) -> fx.Node:
        """Where a tensor comes from, before dropout and the like."""
        while self._is_silent(node) and node.args and isinstance(node.args[0], fx.Node):
            node = node.args[0]
        return node

    def _name(self, node: fx.Node) -> str:
        """A module's own path at its first call, so that its parameters keep their names; else a new one."""
        name = str(node.target)
        if node.op == "call_module" and name not in self.replaced:
            self.replaced.add(name)
            return name
        return self._fresh(node.name)

    def _fresh(self, stem: str) -> str:
        while stem in self.taken:
            stem += "_"
        self.taken.add(stem)
        return stem

    def _is_batch_norm(self, node: fx.Node) -> bool:
        return node.op == "call_module" and isinstance(self.traced.get_submodule(str(node.target)), BatchNorm)

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
        producer = node.args[0]
        plan = self.plans.get(producer) if isinstance(producer, fx.Node) else None
        if plan is not None and isinstance(producer, fx.Node) and self._takes_norm(plan, producer):
            plan.norm = norm
            self._merge(node, producer)
            return
        found = one_pixel(node, torch.ones(norm.num_features))
        name = self._fresh(f"{node.name}_op")
        self.plans[node] = Plan(found, name, self._layer(str(node.target), node), norm)

    def _normalization(self, node: fx.Node) -> Normalization | None:
        module = _operation(self.traced, node)
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
        found = one_pixel(node, 1 / span, -offset / span)
        name = self._fresh(f"{node.name}_op")
        self.plans[node] = Plan(found, name, self._layer(str(node.target), node))

    def _takes_norm(self, plan: Plan, producer: fx.Node) -> bool:
        has_channels = plan.row.norm_axis is not None
        # A linear layer on sequences has its features last, and a batch norm behind it normalizes another axis.
        features_last = plan.found.attrs.get("keep_num_dims", False)
        free = plan.norm is None and plan.found.attrs.get("activation") == "none" and len(producer.users) == 1
        return has_channels and not features_last and free

    def _absorb(self, node: fx.Node, row: Row) -> bool:
        """Let the op before ``node`` compute it, if that op's kernel can and nobody else reads its output."""
        if row.name not in FUSED_ACTIVATIONS:
            return False
        producer = node.args[0]
        plan = self.plans.get(producer) if isinstance(producer, fx.Node) else None
        if plan is None or row.name not in plan.row.fusable or plan.found.attrs["activation"] != "none":
            return False
        assert isinstance(producer, fx.Node)
        if len(producer.users) != 1:
            return False
        plan.found = replace(plan.found, attrs={**plan.found.attrs, "activation": row.name})
        self._merge(node, producer)
        return True

    def _merge(self, node: fx.Node, producer: fx.Node) -> None:
        node.replace_all_uses_with(producer)
        self.traced.graph.erase_node(node)

    def _share(self, node: fx.Node) -> None:
        """Decide whose grid a node's result lies on; runs in the order of execution."""
        if node.op == "placeholder":
            layer = self._layer(node.name, node)
            self.sharing.add(node, SharedGrid(layer.activations, layer))
        elif node in self.plans:
            self._share_op(node, self.plans[node])
        elif is_transparent(self.traced, node):
            self.sharing.join(node, node.args[0])  # type: ignore[arg-type]

    def _share_op(self, node: fx.Node, plan: Plan) -> None:
        sources = plan.found.sources
        if plan.row.selects and all(
            source in self.plans and self.plans[source].config.skip for source in sources.values()
        ):
            # What only moves float values has no reason to round them.
            plan.config = replace(plan.config, skip=True)
        first = next(iter(sources.values()))
        follows = plan.row.selects and len(sources) == 1
        dtype = self.sharing.grid(first).dtype if follows else plan.config.activations
        plan.config = plan.config.with_activations(dtype)
        self._require_type(node, plan)
        for role, source in list(sources.items()):
            if self.sharing.grid(source).dtype != dtype:
                self._requantize(node, plan, role, dtype)
        for role, source in plan.found.sources.items():
            demand = plan.row.constraint(role)
            if isinstance(demand, Free):
                grid = self.sharing.grid(source)
                grid.smallest = max(grid.smallest, demand.smallest)
                grid.rectified |= isinstance(demand, NotNegative)
        shared = [role for role in sources if isinstance(plan.row.constraint(role), SameAs)]
        if shared:
            self._share_inputs(node, plan)
        output = plan.row.constraints["output"]
        if isinstance(output, SameAs):
            self.sharing.join(node, next(iter(plan.found.sources.values())))
            return
        rectified = plan.row.name in FUSED_ACTIVATIONS or plan.found.attrs.get("activation", "none") != "none"
        fixed = output.qparams(dtype) if isinstance(output, Fixed) else None
        smallest = SMALLEST_RELU6_SCALE if plan.found.attrs.get("activation") == "relu6" else 0.0
        self.sharing.add(node, SharedGrid(dtype, plan.config, fixed, rectified, smallest))

    def _require_type(self, node: fx.Node, plan: Plan) -> None:
        dtype = plan.config.activations
        for demand in (plan.row.constraint(next(iter(plan.found.sources))), plan.row.constraints["output"]):
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
        weight = plan.row.constraints.get("weight")
        if isinstance(weight, SymmetricWeight) and plan.config.weight_dtype not in weight.dtypes:
            raise refusal(
                self.traced,
                node,
                expected=f"weights {' or '.join(weight.dtypes)} for {plan.row.name}, which TFLite Micro has",
                got=plan.config.weight_dtype,
                remedy=f"set layers={{{plan.name!r}: {{'weight_bits': 8}}}} in the configuration",
            )

    def _share_inputs(self, node: fx.Node, plan: Plan) -> None:
        """One grid for all inputs. One that a kernel fixed can't widen, so it is requantized unless all have it."""
        fixed = [self.sharing.grid(source).fixed for source in plan.found.sources.values()]
        if any(grid != fixed[0] for grid in fixed):
            for (role, _), grid in zip(list(plan.found.sources.items()), fixed, strict=True):
                if grid is not None:
                    self._requantize(node, plan, role, plan.config.activations)
        first, *others = plan.found.sources.values()
        for other in others:
            self.sharing.join(other, first)

    def _requantize(self, node: fx.Node, plan: Plan, role: str, dtype: str) -> None:
        """Put a tensor onto another grid before ``node`` reads it; one result for all readers that want the same."""
        source = plan.found.sources[role]
        wanted = self._wanted(source, plan, role, dtype)
        made = next((result for tensor, of, result in self.requantized if tensor is source and of == wanted), None)
        if wanted and made is not None:
            plan.found = replace(plan.found, sources={**plan.found.sources, role: made})
            return
        name = self._fresh(f"{source.name}_requantized")
        with self.traced.graph.inserting_before(node):
            inserted = self.traced.graph.create_node("call_module", name, (source,))
        inserted.meta = dict(source.meta)
        # Integers become other integers: that the layer behind computes in float32 is no business of this op.
        config = replace(plan.config.with_activations(dtype), skip=False)
        found = Found(ROWS["quantize"], {}, {"input": source}, {})
        self.plans[inserted] = Plan(found, name, config)
        self.sharing.add(inserted, SharedGrid(dtype, config, rectified=self.sharing.grid(source).rectified))
        plan.found = replace(plan.found, sources={**plan.found.sources, role: inserted})
        self.requantized.append((source, wanted, inserted))

    def _wanted(self, source: fx.Node, plan: Plan, role: str, dtype: str) -> tuple[Any, ...]:
        """What decides a requantized tensor's grid; empty where that grid is to be other tensors' too."""
        demand = plan.row.constraint(role)
        if any(isinstance(each, SameAs) for each in (demand, plan.row.constraints["output"])):
            return ()
        settings = tuple(getattr(plan.config, name) for name in sorted(GRID_SETTINGS))
        return dtype, settings, demand, self.sharing.grid(source).rectified


def _computes_tensors(node: fx.Node) -> bool:
    """A call that gives a tuple of tensors, which the recorder kept as a tuple of shapes."""
    value: Any = node.meta.get("value")
    return isinstance(value, tuple) and bool(value) and all(isinstance(part, tuple) for part in value)
