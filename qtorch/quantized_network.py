"""The type that :func:`qtorch.prepare` returns: a network that knows what it was made of, and opens only its own state.

A state dict says which network it is of: every op with its attributes and shapes, and how each is quantized. Loading
compares before anything is changed, because the weights of one network fit into many others. The state of the float
network that it was made of is taken too; then ranges stay as they are.
"""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from qtorch.config import QuantizationConfig
from qtorch.constraints import SymmetricWeight
from qtorch.errors import BadCheckpoint
from qtorch.fake_quant import Mode, Quantizer
from qtorch.layers import QuantizedOp
from qtorch.tracing import shape_of

__all__ = ["EXTRA_STATE", "Origin", "QuantizedNetwork", "is_calibration", "require_same_ops"]

#: What nn.Module calls the entry of a module's extra state.
EXTRA_STATE = "_extra_state"
#: Of a state dict's names, the last parts that a float network has not.
_CALIBRATED = (EXTRA_STATE, "log_scale", "log_weight_scale", "zero_share")
#: What wrappers put before or between the names of a network's own modules.
_WRAPPERS = ("_orig_mod", "module")
_FORMAT = 1


@dataclass(frozen=True)
class Origin:
    """What a network was prepared from.

    Attributes:
        net: the float network; its parameters and buffers are the prepared network's own.
        shapes: of the example inputs, batch axis included.
        config: how it is quantized.
        lone: whether ``net`` is a single layer, which the prepared network has as its child ``0``.
        made_by: makes the same network from ``net``, example inputs and ``config``.
    """

    net: nn.Module
    shapes: tuple[tuple[int, ...], ...]
    config: QuantizationConfig
    lone: bool
    made_by: Callable[[nn.Module, tuple[Tensor, ...], QuantizationConfig], QuantizedNetwork]


def is_calibration(name: str) -> bool:
    """Whether an entry of a prepared network's state dict is one that its float network has not."""
    return name.rpartition(".")[2] in _CALIBRATED


class QuantizedNetwork(fx.GraphModule):
    """A network of :class:`qtorch.Quantizer` and :class:`qtorch.QuantizedOp` that :func:`qtorch.prepare` made.

    Attributes:
        origin: what it was made of.
        ops: a line for each of its inputs and ops, in the order of execution: what it computes, and how it is
            quantized. Networks with the same lines and the same state compute the same integers.
    """

    origin: Origin
    ops: tuple[str, ...]

    def finish(self, origin: Origin) -> None:
        """Say what the network was made of, once all its ops are in place."""
        self.origin, self.ops = origin, _described(self)

    @property
    def mode(self) -> Mode:
        """What the network computes."""
        return next(module.mode for module in self.modules() if isinstance(module, Quantizer))

    @property
    def calibrated(self) -> bool:
        """Whether every range was measured, or is fixed."""
        return all(module.calibrated for module in self.modules() if isinstance(module, Quantizer))

    @property
    def norms_frozen(self) -> bool:
        """Whether folded batch norms use their running statistics in training too."""
        return any(module.norm_frozen for module in self.modules() if isinstance(module, QuantizedOp))

    @property
    def has_float_layers(self) -> bool:
        """Whether the configuration leaves a layer in float32, on the device too."""
        return any(module.config.skip for module in self.modules() if isinstance(module, QuantizedOp))

    def extra_repr(self) -> str:
        """What the network computes, for ``print(network)``."""
        ranges = "calibrated" if self.calibrated else "not calibrated"
        return f"mode={self.mode.name}, {ranges}" + (", batch norms frozen" if self.norms_frozen else "")

    def get_extra_state(self) -> dict[str, Any]:
        """What a state dict says of the network: which it is, how it is quantized, what it computes; plain values."""
        # Nothing is loaded in the middle of a calibration.
        mode = Mode.FLOAT if self.mode is Mode.CALIBRATE else self.mode
        return {
            "format": _FORMAT,
            "ops": list(self.ops),
            "config": self.origin.config.as_options(),
            "mode": mode.value,
            "norms_frozen": self.norms_frozen,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Compute what the saved network computed; its ranges follow, so they can't be looked at here."""
        mode = Mode(state["mode"])
        for module in self.modules():
            if isinstance(module, Quantizer | QuantizedOp):
                module.mode = mode
            if isinstance(module, QuantizedOp) and module.norm is not None:
                module.norm_frozen = state["norms_frozen"]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Compare before anything is loaded; make a float network's state one that can be loaded.

        Raises:
            BadCheckpoint: the state is another network's, another quantization's or an earlier version's.
        """
        known = self.state_dict(prefix=prefix)
        self._rename(state_dict, prefix, known)
        described = state_dict.get(prefix + EXTRA_STATE)
        mine = [name for name in state_dict if name.startswith(prefix)]
        if described is not None:
            require_same_ops(described, self.ops, "the state dict")
        elif any(name.endswith(f".{EXTRA_STATE}") for name in mine):
            raise BadCheckpoint(
                where="the state dict",
                expected="the state of a float network, or of one that this version prepared",
                got="one of an earlier version, which does not say how it is quantized",
                remedy="train again, or load what is not quantization with strict=False",
            )
        elif mine:
            self._complete(state_dict, prefix, known)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def _rename(self, state_dict: dict[str, Any], prefix: str, known: Mapping[str, Any]) -> None:
        """Take off what wrappers (compiled, DataParallel, DDP) put into names; a lone layer is called ``0`` here."""
        for name in [n for n in state_dict if n.startswith(prefix) and n not in known]:
            parts = name[len(prefix) :].split(".")
            bare = ".".join(part for part in parts if part not in _WRAPPERS)
            for renamed in (f"{prefix}{bare}", f"{prefix}0.{bare}" if self.origin.lone else ""):
                if renamed in known and renamed not in state_dict:
                    state_dict[renamed] = state_dict.pop(name)
                    break

    def _complete(self, state_dict: dict[str, Any], prefix: str, known: Mapping[str, Any]) -> None:
        """Ranges stay what they are; what the trace left out of the float network is not missed."""
        for name, value in known.items():
            if is_calibration(name):
                state_dict.setdefault(name, value)
        for name in self.origin.net.state_dict():
            if prefix + name not in known:
                state_dict.pop(prefix + name, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> QuantizedNetwork:
        copied: QuantizedNetwork = super().__deepcopy__(memo)  # type: ignore[assignment]
        copied.origin, copied.ops = copy.deepcopy(self.origin, memo), self.ops
        return copied

    def __reduce__(self) -> Any:
        """Pickled as what it was made of, and its state; made again, and compared, when it is unpickled."""
        return _unpickled, (self.origin, self.state_dict(), self.training)


def _unpickled(origin: Origin, state: dict[str, Any], training: bool) -> QuantizedNetwork:
    device = next((t.device for t in state.values() if isinstance(t, Tensor)), None)
    examples = tuple(torch.zeros(shape, device=device) for shape in origin.shapes)
    with warnings.catch_warnings():
        # What was said when it was prepared.
        warnings.simplefilter("ignore", UserWarning)
        network = origin.made_by(origin.net, examples, origin.config)
    network.load_state_dict(state)
    return network.train(training)


def require_same_ops(described: Any, ops: tuple[str, ...], where: str) -> None:
    """Refuse a state of another network or of another quantization, by the first op that differs.

    Args:
        described: a prepared network's extra state.
        ops: of the network that it is loaded into.
        where: the state comes from.

    Raises:
        BadCheckpoint: so it is; names the op and both sides.
    """
    if not isinstance(described, dict) or described.get("format") != _FORMAT:
        raise BadCheckpoint(
            where=where,
            expected=f"the description of a prepared network, format {_FORMAT}",
            got=f"{described!r:.80}",
            remedy="open it with the version that wrote it",
        )
    theirs = tuple(described["ops"])
    if theirs == ops:
        return
    remedy = "prepare the network that was trained, with the quantization that it was trained with"
    for saved, mine in zip(theirs, ops, strict=False):
        if saved != mine:
            expected, got = _differing(mine, saved)
            raise BadCheckpoint(where=where, expected=expected, got=got, remedy=remedy)
    raise BadCheckpoint(where=where, expected=f"{len(ops)} inputs and ops", got=f"{len(theirs)}", remedy=remedy)


def _differing(mine: str, saved: str) -> tuple[str, str]:
    """Two lines, each down to its name and the parts in which they differ."""
    (name, *ours), (other, *theirs) = mine.split("; "), saved.split("; ")
    if name != other or len(ours) != len(theirs):
        return mine, saved
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    a, b = (", ".join(part) for part in zip(*pairs, strict=True))
    return f"{name} with {a}", b


def _described(network: fx.GraphModule) -> tuple[str, ...]:
    lines: list[str] = []
    #: Each tensor by the line that makes it; dropout and the like pass it on.
    made_in: dict[fx.Node, str] = {}
    for node in network.graph.nodes:
        reads = [made_in[source] for source in node.all_input_nodes]
        module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        made_in[node] = str(len(lines))
        if isinstance(module, QuantizedOp):
            lines.append(_of_op(node, module, reads))
        elif isinstance(module, Quantizer):
            lines.append(f"input {node.args[0].name!r} {_sample(node)}; {_of_grid(module)}")
        elif node.op == "output":
            lines.append(f"outputs {', '.join(reads)}")
        elif node.target is operator.getitem:
            made_in[node] = f"{reads[0]}.{node.args[1]}"
        elif reads:
            made_in[node] = reads[0]
    return tuple(lines)


def _of_op(node: fx.Node, op: QuantizedOp, reads: list[str]) -> str:
    attrs = ", ".join(f"{name} {value}" for name, value in sorted(op.attrs.items()))
    constants = ", ".join(f"{role} {list(getattr(op, role).shape)}" for role in sorted(op.constant_roles))
    parts = [
        f"layer {str(node.target)!r} {op.row.name}",
        f"{attrs or 'no attributes'}",
        f"{_sample(node)} of {', '.join(reads)}",
        f"{constants or 'no constants'}",
        f"batch norm {'none' if op.norm is None else f'eps {op.norm.eps}'}",
        f"{'float32' if op.config.skip else op.config.activations}",
    ]
    weight = op.row.constraints.get("weight")
    if op.has_weight and isinstance(weight, SymmetricWeight):
        scales = "per tensor" if op.scale_axis is None else f"per channel along {op.scale_axis}"
        follows = f"weight_observer {op.config.observers[1]}"
        learned = "learned" if "log_weight_scale" in op._parameters else "measured"
        parts.append(f"weights {op.config.weight_dtype} {scales}, {follows}, {learned}")
    return "; ".join((*parts, _of_grid(op.output)))


def _of_grid(quantizer: Quantizer) -> str:
    fixed = (
        "" if quantizer.fixed is None else f" fixed at {quantizer.fixed.scale[0]!r}, {quantizer.fixed.zero_point[0]}"
    )
    zero = " from zero" if quantizer.rectified else ""
    return f"{quantizer.dtype}{zero}{fixed}; scales {quantizer.learned}; observer {quantizer.config.observers[0]}"


def _sample(node: fx.Node) -> str:
    """The shape of a tensor, whatever the batch."""
    return f"[{', '.join(('*', *map(str, shape_of(node)[1:])))}]"
