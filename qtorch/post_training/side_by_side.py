"""A quantized network beside the float network it was prepared from, layer by layer on the same data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from qtorch.capture.capture import CapturedNetwork
from qtorch.capture.constant_expression import ConstantExpression
from qtorch.errors import BadConfiguration, NotFinite
from qtorch.network.calibration import Batch, quantizers, set_mode
from qtorch.network.mode import Mode
from qtorch.network.quantized_op import QuantizedOp
from qtorch.progress import stage
from qtorch.surroundings import evaluating

__all__ = ["Layer", "own_constant", "run_side_by_side"]


@dataclass(frozen=True)
class Layer:
    """An op with weights at its turn: all before it has been computed, it itself in float alone.

    Attributes:
        name: in the network.
        op: of the quantized network, for the visitor to change.
        original: the same op of the float network.
        inputs: real numbers, float32, one tensor per batch, as the quantized network computes them.
        original_inputs: as the float network does.
    """

    name: str
    op: QuantizedOp
    original: QuantizedOp
    inputs: tuple[Tensor, ...]
    original_inputs: tuple[Tensor, ...]


@torch.no_grad()
def run_side_by_side(
    qat: CapturedNetwork,
    batches: Iterable[Batch],
    visit: Callable[[Layer], None],
    original: fx.GraphModule | None = None,
    words: str = "going through the layers",
) -> None:
    """Run both networks node by node on all batches, and show ``visit`` every op with weights in order of execution.

    What ``visit`` does to an op, the rest of the quantized network sees. Only what is still to be read is kept, of
    every batch. The quantized network computes the device's integers, in evaluation, and is put back into its mode.

    Args:
        qat: from :func:`qtorch.prepare`, calibrated.
        batches: of float32 inputs.
        visit: called once per call of an op with weights.
        original: a copy of ``qat`` made before anything changed its weights or biases; ``qat`` as it is now if
            ``None``.
        words: what ``visit`` does, for whoever waits for it.

    Raises:
        BadConfiguration: ``qat`` was not calibrated, or there was no batch, or ``original`` is another network.
        NotFinite: a batch holds NaN or infinity.
    """
    taken = [qat.inputs_of(batch) for batch in batches]
    _require_batches(taken)
    reference = copy.deepcopy(qat if original is None else original)
    nodes, others = list(qat.graph.nodes), list(reference.graph.nodes)
    if [node.name for node in nodes] != [node.name for node in others]:
        raise BadConfiguration(
            where="original",
            expected="a copy of the quantized network",
            got="one with other layers",
            remedy="pass copy.deepcopy(qat), made before its weights were changed",
        )
    mode = next(iter(quantizers(qat).values())).mode
    sides = _Side(qat, taken), _Side(reference, taken)
    set_mode(reference, Mode.FLOAT)
    set_mode(qat, Mode.QUANTIZED)
    try:
        visited = sum(_visited(qat, node) is not None for node in nodes)
        with evaluating(qat), evaluating(reference), stage(words, visited) as progress:
            for node, other in zip(nodes, others, strict=True):
                sides[1].compute(other)
                op = _visited(qat, node)
                if op is not None:
                    twin = reference.get_submodule(str(other.target))
                    assert isinstance(twin, QuantizedOp)
                    with stage(f"layer {node.target}"):
                        inputs = tuple(_real(op, x) for x in sides[0].read(node))
                        visit(Layer(str(node.target), op, twin, inputs, sides[1].read(other)))
                    progress.advance()
                sides[0].compute(node)
                for side, done in zip(sides, (node, other), strict=True):
                    side.forget(done)
    finally:
        set_mode(qat, mode)


def _visited(qat: CapturedNetwork, node: fx.Node) -> QuantizedOp | None:
    """The op with weights that a node calls."""
    op = qat.get_submodule(str(node.target)) if node.op == "call_module" else None
    return op if isinstance(op, QuantizedOp) and op.has_weight else None


def _real(op: QuantizedOp, x: Tensor) -> Tensor:
    """What goes into an op with weights, in steps unless layers left in float32 hand it on, as real numbers."""
    return x if "input" in op.takes_reals else op.sources["input"].real(x)


def own_constant(qat: CapturedNetwork, op: QuantizedOp, role: str) -> tuple[Tensor | ConstantExpression | None, str]:
    """An op's constant, if it can be changed for this op alone; else ``None``, and why not."""
    constant = op.constants.held().get(role)
    if constant is None:
        return None, f"it has no {role}"
    others = [each.constants for each in qat.modules() if isinstance(each, QuantizedOp) and each is not op]
    shared = any(constants.held().get(role) is constant or constants.computed.reads(constant) for constants in others)
    return (None, f"its {role} is another call's too") if shared else (constant, "")


def _require_batches(batches: list[Any]) -> None:
    if not batches:
        raise BadConfiguration(
            where="batches", expected="at least one batch", got="none", remedy="pass batches of training inputs"
        )
    for number, batch in enumerate(batches):
        bad = sum(int((~torch.isfinite(tensor)).sum()) for tensor in batch)
        if bad:
            raise NotFinite(
                where=f"batch {number}", expected="finite inputs", got=f"{bad} NaN or infinite", remedy="clean the data"
            )


class _Side:
    """One network and what its nodes gave on each batch."""

    def __init__(self, network: fx.GraphModule, batches: list[Any]) -> None:
        self.interpreter = fx.Interpreter(network)
        inputs = [node for node in network.graph.nodes if node.op == "placeholder"]
        self.known: list[dict[fx.Node, Any]] = [dict(zip(inputs, batch, strict=True)) for batch in batches]
        last = {source: node for node in network.graph.nodes for source in node.all_input_nodes}
        self.last_reads: dict[fx.Node, list[fx.Node]] = {}
        for source, node in last.items():
            self.last_reads.setdefault(node, []).append(source)

    def compute(self, node: fx.Node) -> None:
        """A node on every batch."""
        if node.op in ("placeholder", "output"):
            return
        for known in self.known:
            self.interpreter.env = known
            known[node] = self.interpreter.run_node(node)

    def read(self, node: fx.Node) -> tuple[Tensor, ...]:
        """What goes into an op with weights, which has one input, on every batch."""
        return tuple(known[node.all_input_nodes[0]] for known in self.known)

    def forget(self, node: fx.Node) -> None:
        """What nobody reads behind ``node``."""
        for source in self.last_reads.get(node, []):
            for known in self.known:
                del known[source]
