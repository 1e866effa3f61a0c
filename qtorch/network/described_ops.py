"""A prepared network in words: a line for each input and op, by which a state says whose it is and is compared."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

from qtorch.capture.nodes import shape_of
from qtorch.errors import BadCheckpoint
from qtorch.network.mode import Mode
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer
from qtorch.ops import GROUP, ROWS

__all__ = ["FORMAT", "described_ops", "registered_rows", "require_rows", "require_same_ops"]

#: Of what a prepared network's extra state says.
FORMAT = 1


def described_ops(network: fx.GraphModule) -> tuple[str, ...]:
    """A line for each input and op of a network, in the order of execution: what it computes, how it is quantized.

    Args:
        network: of quantizers and quantized ops.
    """
    lines: list[str] = []
    #: Which layer had a constant first.
    owners: dict[int, str] = {}
    #: Each tensor by the line that makes it; dropout and the like pass it on.
    made_in: dict[fx.Node, str] = {}
    for node in network.graph.nodes:
        reads = [made_in[source] for source in node.all_input_nodes]
        module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        made_in[node] = str(len(lines))
        if isinstance(module, QuantizedOp):
            lines.append(_of_op(node, module, reads, owners))
        elif isinstance(module, Quantizer):
            lines.append(f"input {node.args[0].name!r} {_sample(node)}; {_of_grid(module)}")
        elif node.op == "output":
            lines.append(f"outputs {', '.join(reads)}")
        elif node.target is operator.getitem:
            made_in[node] = f"{reads[0]}.{node.args[1]}"
        elif reads:
            made_in[node] = reads[0]
    return tuple(lines)


def _of_op(node: fx.Node, op: QuantizedOp, reads: list[str], owners: dict[int, str]) -> str:
    attrs = ", ".join(f"{attr} {value}" for attr, value in sorted(op.attrs.items()))
    name = str(node.target)
    held = dict(sorted(op.constants.held().items()))
    owned = {role: owners.setdefault(id(tensor), name) for role, tensor in held.items()}
    constants = ", ".join(
        f"{role} {list(tensor.shape)}" + ("" if owned[role] == name else f" of {owned[role]!r}")
        for role, tensor in held.items()
    )
    parts = [
        f"layer {name!r} {op.row.name}",
        f"{attrs or 'no attributes'}",
        f"{_sample(node)} of {', '.join(reads)}",
        f"{constants or 'no constants'}",
        f"batch norm {'none' if op.norm is None else f'eps {op.norm.eps}, affine {op.norm.affine}'}",
        f"{'float32' if op.config.skip else op.config.activations}",
    ]
    grid = op.constants.weight_grid
    if grid is not None:
        scales = "per tensor" if grid.axis is None else f"per channel along {grid.axis}"
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


def registered_rows(network: fx.GraphModule) -> dict[str, str]:
    """The rows of other packages that a network's ops are of, each with the module that it stands in."""
    modules = ROWS.added()
    used = {op.row.name for op in network.modules() if isinstance(op, QuantizedOp)}
    return {name: modules[name] for name in sorted(used & modules.keys())}


def require_rows(described: Any, where: str) -> None:
    """Refuse a state whose network has ops of rows that nobody registered in this process.

    Args:
        described: a prepared network's extra state, or whatever stands in its place, which others refuse.
        where: the state comes from.

    Raises:
        BadCheckpoint: so it is; names the rows and what to import.
    """
    rows = described.get("rows") if isinstance(described, dict) else None
    missing = {name: module for name, module in rows.items() if name not in ROWS} if isinstance(rows, dict) else {}
    if missing:
        modules = [module for module in dict.fromkeys(missing.values()) if module != "__main__"]
        imports = "; ".join(f"import {module}" for module in modules) or "qtorch.register(ROW)"
        raise BadCheckpoint(
            where=where,
            expected=", ".join(f"row {name!r} of {module}" for name, module in missing.items())
            + ", which the network was trained with",
            got="no row of that name" if len(missing) == 1 else "no rows of those names",
            remedy=f"register it before: `{imports}`; an entry point of the group {GROUP} in that package's "
            "pyproject.toml does it in every process",
        )


def require_same_ops(described: Any, ops: tuple[str, ...], where: str) -> None:
    """Refuse a state of another network or of another quantization, by the first op that differs.

    Args:
        described: a prepared network's extra state.
        ops: of the network that it is loaded into.
        where: the state comes from.

    Raises:
        BadCheckpoint: so it is; names the op and both sides.
    """
    if not _is_description(described):
        raise BadCheckpoint(
            where=where,
            expected=f"the description of a prepared network, format {FORMAT}",
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


def _is_description(described: Any) -> bool:
    """Whether it has what :meth:`QuantizedNetwork.get_extra_state` gives, by type and range."""
    if not isinstance(described, dict) or type(described.get("format")) is not int or described["format"] != FORMAT:
        return False
    ops, mode = described.get("ops"), described.get("mode")
    return (
        isinstance(ops, list)
        and all(isinstance(line, str) for line in ops)
        and mode in (Mode.FLOAT.value, Mode.QUANTIZED.value, "fake", "exact")
        and isinstance(described.get("norms_frozen"), bool)
        and isinstance(described.get("config"), dict)
    )


def _differing(mine: str, saved: str) -> tuple[str, str]:
    """Two lines, each down to its name and the parts in which they differ."""
    (name, *ours), (other, *theirs) = mine.split("; "), saved.split("; ")
    if name != other or len(ours) != len(theirs):
        return mine, saved
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    a, b = (", ".join(part) for part in zip(*pairs, strict=True))
    return f"{name} with {a}", b
