"""Puts planned ops into a traced network, each tensor's quantizer at the op that first computes onto its grid."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx, nn

from qtorch.capture.constant_expression import ConstantExpression
from qtorch.config import LayerConfig
from qtorch.network.batch_norm import BatchNorm
from qtorch.network.folded_normalization import FoldedNormalization
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer
from qtorch.preparation.conversions import left_real, put_conversions
from qtorch.preparation.matching import MatchedCall
from qtorch.preparation.sharing import Sharing
from qtorch.preparation.transparency import readers
from qtorch.row.constraints import Indices
from qtorch.row.row import Row

__all__ = ["Assembly", "Plan"]


@dataclass
class Plan:
    """An op to be: the call at a node, and what of the nodes behind it was folded into it.

    ``narrow`` is the type in which others read its result, where it was given a wider one than its layer asked for.
    """

    call: MatchedCall
    name: str
    config: LayerConfig
    norm: BatchNorm | None = None
    dropout: nn.Module | None = None
    front: FoldedNormalization | None = None
    narrow: str = ""

    @property
    def row(self) -> Row:
        """The op's row."""
        return self.call.row


class Assembly:
    """Puts the planned ops into the network, each tensor's quantizer at the op that first computes onto its grid."""

    def __init__(self, traced: fx.GraphModule, plans: dict[fx.Node, Plan], sharing: Sharing) -> None:
        self.traced, self.plans, self.sharing = traced, plans, sharing
        self.quantizer_of: dict[fx.Node, Quantizer] = {}
        self.path_of: dict[fx.Node, str] = {}
        self.built: dict[fx.Node, fx.Node] = {}

    def run(self) -> None:
        """Replace every planned node, in the order of execution."""
        graph = self.traced.graph
        for node in list(graph.nodes):
            if node.op == "placeholder":
                self._quantize_input(node)
            elif node in self.plans:
                self._build(node, self.plans[node])
        graph.eliminate_dead_code()
        self._drop_unused_modules()
        for expression in self._expressions():
            expression.hold(self.traced)
        _keep_float_between_skipped(self.traced)
        put_conversions(self.traced)
        graph.lint()
        self.traced.recompile()

    def _quantizer(self, node: fx.Node) -> Quantizer | None:
        return self.quantizer_of.get(self.sharing.root(node))

    def _new_quantizer(self, node: fx.Node) -> Quantizer:
        grid = self.sharing.grid(node)
        quantizer = Quantizer(
            grid.config, rectified=grid.rectified, dtype=grid.dtype, fixed=grid.fixed, smallest=grid.smallest
        )
        self.quantizer_of[self.sharing.root(node)] = quantizer
        return quantizer

    def _quantize_input(self, node: fx.Node) -> None:
        root = self.sharing.root(node)
        if self._quantizer(node) is None:
            self.path_of[root] = f"{node.name}_quantizer"
            self.traced.add_module(self.path_of[root], self._new_quantizer(node))
        with self.traced.graph.inserting_after(node):
            inserted = self.traced.graph.call_module(self.path_of[root], (node,))
        inserted.meta = dict(node.meta)
        node.replace_all_uses_with(inserted, delete_user_cb=lambda user: user is not inserted)
        self.built[node] = inserted

    def _build(self, node: fx.Node, plan: Plan) -> None:
        sources = {role: self._quantizer(source) for role, source in plan.call.sources.items()}
        output, owned = self._quantizer(node), False
        if output is None:
            output, owned = self._new_quantizer(node), True
        op = QuantizedOp(
            plan.row,
            plan.call.attrs,
            plan.call.constants,
            {role: quantizer for role, quantizer in sources.items() if quantizer is not None},
            plan.config,
            output,
            plan.norm,
            plan.front,
            plan.dropout,
        )
        if owned:
            op.quantizer = output
        for role, quantizer in sources.items():
            if quantizer is not None and quantizer.of_indices and isinstance(plan.row.constraint(role), Indices):
                rows = plan.call.constants["table"].shape[0]
                quantizer.rows = min(rows, quantizer.rows or rows)
        self.traced.add_submodule(plan.name, op)
        with self.traced.graph.inserting_after(node):
            sources_now = tuple(self.built.get(source, source) for source in plan.call.sources.values())
            built = self.traced.graph.call_module(plan.name, sources_now)
        built.meta = dict(node.meta)
        node.replace_all_uses_with(built)
        self.traced.graph.erase_node(node)
        self.built[node] = built

    def _expressions(self) -> list[ConstantExpression]:
        ops = [module for module in self.traced.modules() if isinstance(module, QuantizedOp)]
        return [each for op in ops for each in op.constants.computed.expressions.values()]

    def _drop_unused_modules(self) -> None:
        """Modules that nothing calls and that hold no parameters: activations that were absorbed."""
        called = {str(node.target) for node in self.traced.graph.nodes if node.op == "call_module"}
        calling = [self.traced.get_submodule(name) for name in called]
        calling += [module for expression in self._expressions() for module in expression.called()]
        used = {part for module in calling for part in module.modules()}
        for name, module in list(self.traced.named_modules()):
            holds = next(module.parameters(), next(module.buffers(), next(module.children(), None)))
            if name and module not in used and holds is None:
                self.traced.delete_submodule(name)


def _keep_float_between_skipped(network: fx.GraphModule) -> None:
    """What only layers left in float32 read is not rounded between them."""
    for node in network.graph.nodes:
        op = _called_module(network, node)
        if not isinstance(op, QuantizedOp) or not op.config.skip:
            continue
        reading = [_called_module(network, reader) for reader in readers(network, node)]
        op.rounds_output = not all(isinstance(each, QuantizedOp) and each.config.skip for each in reading)
        op.takes_reals = frozenset(
            role for role, source in zip(op.sources, node.args, strict=True) if left_real(network, source)
        )


def _called_module(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None
