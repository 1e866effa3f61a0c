"""Float network to QAT network: trace, match rows, fuse activations, and give every tensor a quantizer.

The result is a ``torch.fx.GraphModule`` of :class:`Quantizer` (one per network input) and :class:`QuantizedOp` nodes.
Parameters keep their names, so a float network's state dict loads into it with ``strict=False``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from qtorch.config import QuantizationConfig
from qtorch.errors import BadConfiguration, BadInput, NotFinite, UnsupportedLayer
from qtorch.fake_quant import Mode, Quantizer
from qtorch.layers import QuantizedOp
from qtorch.ops import ROWS
from qtorch.row import Match, Row

__all__ = ["Saturation", "calibrate", "prepare", "quantizers", "saturation", "set_mode"]

_MATCHES: dict[tuple[str, Any], tuple[Row, Match]] = {
    (match.kind, match.target): (row, match) for row in ROWS.values() for match in row.matches
}


class _Tracer(fx.Tracer):
    """Stops at every torch module, so that an unsupported one is named instead of taken apart."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return ("module", type(m)) in _MATCHES or super().is_leaf_module(m, module_qualified_name)


def prepare(
    net: nn.Module, example_input: Tensor | tuple[Tensor, ...], config: QuantizationConfig | None = None
) -> fx.GraphModule:
    """A copy of ``net`` that can be calibrated, trained with quantization, and exported. ``net`` is left as it was.

    Example:
        >>> net = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 1))
        >>> qat = prepare(net, torch.zeros(1, 1))
        >>> calibrate(qat, [torch.rand(100, 1)])
        >>> set_mode(qat, Mode.FAKE)      # now train it like any module

    Args:
        net: a plain module; its layers and functions must stand in a row.
        example_input: float32 tensor, or one per input, with a leading batch axis.
        config: how to quantize.

    Raises:
        UnsupportedLayer: a layer, function or control flow that no row stands for; names it and the supported list.
        NotFinite: a parameter holds NaN or infinity.
        BadConfiguration: the network does not run on the example.
    """
    config = config or QuantizationConfig()
    examples = example_input if isinstance(example_input, tuple) else (example_input,)
    net = copy.deepcopy(net)
    if ("module", type(net)) in _MATCHES:
        # A tracer looks into its root; a lone layer must be seen as a layer.
        net = nn.Sequential(net)
    _require_finite_parameters(net)
    traced = _trace(net)
    _propagate_shapes(traced, examples)
    graph, quantizer_of = traced.graph, dict[fx.Node, Quantizer]()
    for node in list(graph.nodes):
        if node.op == "placeholder":
            with graph.inserting_after(node):
                name = f"{node.name}_quantizer"
                traced.add_module(name, Quantizer(config.margin))
                inserted = graph.call_module(name, (node,))
            inserted.meta = dict(node.meta)
            node.replace_all_uses_with(inserted, delete_user_cb=lambda user, kept=inserted: user is not kept)
            quantizer_of[inserted] = traced.get_submodule(name)  # type: ignore[assignment]
        elif node.op == "output":
            _require_single_tensor_output(node)
        elif node.op != "get_attr":
            _quantize_node(traced, node, quantizer_of, config)
    graph.eliminate_dead_code()
    traced.recompile()
    traced.delete_all_unused_submodules()
    traced.train(net.training)
    return traced


def _require_finite_parameters(net: nn.Module) -> None:
    for name, parameter in net.named_parameters():
        bad = int((~torch.isfinite(parameter)).sum())
        if bad:
            raise NotFinite(
                where=f"parameter {name!r}",
                expected="finite values",
                got=f"{bad} of {parameter.numel()} NaN or infinite",
                remedy="lower the learning rate or check the data, and train the float network again",
            )


def _trace(net: nn.Module) -> fx.GraphModule:
    try:
        return fx.GraphModule(net, _Tracer().trace(net))
    except (fx.proxy.TraceError, TypeError) as error:
        raise UnsupportedLayer(
            where=type(net).__name__,
            expected="a network whose layers do not depend on the values in a tensor",
            got=str(error).splitlines()[0],
            remedy="move data-dependent control flow out of forward",
        ) from error


def _propagate_shapes(traced: fx.GraphModule, examples: tuple[Tensor, ...]) -> None:
    was_training = traced.training
    traced.eval()
    try:
        with torch.no_grad():
            ShapeProp(traced).propagate(*examples)
    except Exception as error:
        raise BadConfiguration(
            where="example_input",
            expected="tensors that the network accepts",
            got=f"shapes {[tuple(e.shape) for e in examples]}, on which it fails: {str(error).splitlines()[0]}",
            remedy="pass one example batch in the shape that the network is trained on",
        ) from error
    traced.train(was_training)


def _require_single_tensor_output(node: fx.Node) -> None:
    if not isinstance(node.args[0], fx.Node):
        raise UnsupportedLayer(
            where="the network's output",
            expected="one tensor",
            got=f"{type(node.args[0]).__name__}",
            remedy="return a single tensor",
        )


@dataclass(frozen=True)
class _Found:
    row: Row
    attrs: dict[str, Any]
    constants: dict[str, nn.Parameter]


def _find_row(traced: fx.GraphModule, node: fx.Node) -> _Found:
    module: nn.Module | None = None
    key: tuple[str, Any]
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        key, described = ("module", type(module)), type(module).__name__
    else:
        key = ("function" if node.op == "call_function" else "method", node.target)
        described = getattr(node.target, "__name__", str(node.target))
    found = _MATCHES.get(key)
    if found is None:
        supported = sorted({getattr(target, "__name__", str(target)) for _, target in _MATCHES})
        raise UnsupportedLayer(
            where=f"layer {node.target if module is not None else node.name!r}",
            expected=f"one of {', '.join(supported)}",
            got=f"{described}",
            remedy="replace it by a supported layer",
        )
    row, match = found
    constants = {} if module is None else dict(module.named_parameters(recurse=False))
    return _Found(row, match.attrs(module), constants)


def _quantize_node(
    traced: fx.GraphModule, node: fx.Node, quantizer_of: dict[fx.Node, Quantizer], config: QuantizationConfig
) -> None:
    found = _find_row(traced, node)
    sources = [arg for arg in node.args if isinstance(arg, fx.Node)][: found.row.activations]
    producer = sources[0]
    if _absorb_activation(traced, node, producer, found.row):
        return
    name = str(node.target) if node.op == "call_module" and not _is_shared(traced, node) else _fresh(traced, node)
    op = QuantizedOp(found.row, found.attrs, found.constants, tuple(quantizer_of[s] for s in sources), config)
    op.output.rectified = found.row.name == "relu"
    traced.add_submodule(name, op)
    with traced.graph.inserting_after(node):
        replacement = traced.graph.call_module(name, tuple(sources))
    replacement.meta = dict(node.meta)
    node.replace_all_uses_with(replacement)
    traced.graph.erase_node(node)
    quantizer_of[replacement] = op.output


def _absorb_activation(traced: fx.GraphModule, node: fx.Node, producer: fx.Node, row: Row) -> bool:
    """Let the op before ``node`` compute it, if that op's kernel can and nobody else reads its output."""
    op = traced.get_submodule(str(producer.target)) if producer.op == "call_module" else None
    if not isinstance(op, QuantizedOp) or row.name not in op.row.fusable or len(producer.users) != 1:
        return False
    if op.attrs["activation"] != "none":
        return False
    op.attrs["activation"] = row.name
    op.output.rectified = True
    node.replace_all_uses_with(producer)
    traced.graph.erase_node(node)
    return True


def _is_shared(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a module is called more than once, or was already replaced for an earlier call."""
    calls = sum(other.op == "call_module" and other.target == node.target for other in traced.graph.nodes)
    return calls > 1


def _fresh(traced: fx.GraphModule, node: fx.Node) -> str:
    taken = {name for name, _ in traced.named_modules()}
    name = f"{node.name}_op"
    while name in taken:
        name += "_"
    return name


def quantizers(net: nn.Module) -> dict[str, Quantizer]:
    """Every activation quantizer of a prepared network, by its name in it."""
    return {name: module for name, module in net.named_modules() if isinstance(module, Quantizer)}


def set_mode(net: nn.Module, mode: Mode) -> None:
    """What the network computes from now on; see :class:`Mode`.

    Raises:
        BadConfiguration: FAKE or EXACT was asked for before calibration, or the network was not prepared.
    """
    if not quantizers(net):
        raise BadConfiguration(
            where="set_mode",
            expected="a prepared network",
            got=type(net).__name__,
            remedy="call qtorch.prepare(net, example_input) first",
        )
    if mode in (Mode.FAKE, Mode.EXACT):
        for quantizer in quantizers(net).values():
            quantizer.qparams()
    for module in net.modules():
        if isinstance(module, Quantizer | QuantizedOp):
            module.mode = mode


def calibrate(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Measure every activation's range on ``batches`` of float32 inputs, anew; leaves the network in FLOAT mode.

    Raises:
        NotFinite: data or activations hold NaN or infinity.
        BadConfiguration: there was no batch.
    """
    found = quantizers(net)
    for quantizer in found.values():
        quantizer.observer.reset()
    set_mode(net, Mode.CALIBRATE)
    try:
        with torch.no_grad(), _evaluating(net):
            count = sum(1 for batch in batches if net(batch) is not None)
    except BadInput:
        set_mode(net, Mode.FLOAT)
        raise
    set_mode(net, Mode.FLOAT)
    if not count:
        raise BadConfiguration(
            where="calibrate", expected="at least one batch", got="none", remedy="pass batches of training inputs"
        )
    for quantizer in found.values():
        quantizer.settle()


class _evaluating:  # noqa: N801 - reads as a verb at its one place of use
    """Evaluation mode for a block, then back to what it was."""

    def __init__(self, net: nn.Module) -> None:
        self.net, self.was_training = net, net.training

    def __enter__(self) -> None:
        self.net.eval()

    def __exit__(self, *_: object) -> None:
        self.net.train(self.was_training)


@dataclass(frozen=True)
class Saturation:
    """Activations of one tensor that its grid can't hold.

    Attributes:
        name: of the quantizer.
        share: of the values, in [0, 1].
        needed: lowest and highest value seen.
        covered: lowest and highest value that the grid holds.
    """

    name: str
    share: float
    needed: tuple[float, float]
    covered: tuple[float, float]

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.share:.2%} of the values lie outside "
            f"[{self.covered[0]:.4g}, {self.covered[1]:.4g}]; seen [{self.needed[0]:.4g}, {self.needed[1]:.4g}]"
        )


def saturation(net: nn.Module, batches: Iterable[Tensor]) -> tuple[Saturation, ...]:
    """Which activations saturate on ``batches``: those with values more than half a step outside their grid."""
    seen: dict[str, list[Tensor]] = {}

    def watch(name: str) -> Any:
        return lambda module, args: seen.setdefault(name, []).append(args[0].detach().flatten())

    found = quantizers(net)
    hooks = [quantizer.register_forward_pre_hook(watch(name)) for name, quantizer in found.items()]
    try:
        with torch.no_grad(), _evaluating(net):
            for batch in batches:
                net(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(_saturations(found, seen))


def _saturations(found: dict[str, Quantizer], seen: dict[str, list[Tensor]]) -> Iterator[Saturation]:
    for name, quantizer in found.items():
        values, qparams = torch.cat(seen[name]), quantizer.qparams()
        low, high = ((code - qparams.zero_point[0]) * qparams.scale[0] for code in qparams.code_range)
        half = qparams.scale[0] / 2
        share = float(((values < low - half) | (values > high + half)).double().mean())
        if share:
            yield Saturation(name, share, (float(values.min()), float(values.max())), (low, high))
