"""What a tracer can't follow, in words: which line of the network it was, why, and what to write instead."""

from __future__ import annotations

import re
import traceback
from functools import cache
from pathlib import Path
from types import TracebackType

import torch
from torch import fx, nn

from qtorch.errors import BadInput, UnsupportedLayer

__all__ = ["Untraceable", "is_own", "own_line", "untraceable"]

_OURS, _TORCHS = Path(__file__).parents[1], Path(torch.__file__).parent
#: What reads a size; what comes in parts; what asks for a number.
_SIZES = frozenset(["size", "dim", "ndimension", "numel", "stride"])
_SIZE_ATTRIBUTES = frozenset(["shape", "ndim", "dtype", "device", "is_cuda", "requires_grad", "layout", "is_leaf"])
_IN_PARTS = frozenset(["chunk", "split", "unbind", "tensor_split"])
_STRANGER = "module is not installed as a submodule"
_NUMBER = re.compile(r"argument must be|cannot be interpreted as an integer|returned non-|__index__|__len__|'len'")


class Untraceable(Exception):
    """A decision of the network's code that hangs on what is not known before it runs.

    Attributes:
        code: what asks for it.
        node: what it asks.
    """

    def __init__(self, code: str, node: fx.Node) -> None:
        super().__init__(f"{code} {node}")
        self.code, self.node = code, node


def untraceable(net: nn.Module, error: Exception) -> BadInput:
    """What to say of an exception that came while ``net`` was traced."""
    if isinstance(error, BadInput):
        return error
    line = own_line(error.__traceback__)
    where = type(net).__name__ + (f" ({line})" if line else "")
    if isinstance(error, Untraceable):
        return _decision(where, error)
    first = (str(error).splitlines() or [""])[0].partition(". ")[0]
    if _STRANGER in first:
        return UnsupportedLayer(
            where=where,
            expected="calls of layers that are the network's own",
            got="one of a layer that is not registered in it: of another network, or by a `forward` that was replaced",
            remedy="assign the layer to self in the constructor, and write a subclass instead of replacing forward",
        )
    if _NUMBER.search(first):
        return UnsupportedLayer(
            where=where,
            expected="code in which no Python number is made of a tensor or of its size",
            got=f"{type(error).__name__}: {first}",
            remedy="keep it a tensor, as y.amax(1) instead of float(y.max()) does; work sizes out in the constructor, "
            "and loop over numbers that are known there",
        )
    return UnsupportedLayer(
        where=where,
        expected="code that can be followed without numbers, call by call",
        got=f"{type(error).__name__}: {first}",
        remedy="write that line with layers and functions of torch alone, or move it out of forward",
    )


def _decision(where: str, error: Untraceable) -> UnsupportedLayer:
    if error.node.target in _IN_PARTS or getattr(error.node.target, "__name__", "") in _IN_PARTS:
        return UnsupportedLayer(
            where=where,
            expected="parts that are named, or taken by number",
            got=f"{error.code} the parts of {error.node.name!r}, of which a tracer does not know how many there are",
            remedy="write a, b = x.chunk(2, 1), or parts = x.chunk(2, 1) and then parts[0], parts[1]",
        )
    if _is_size(error.node):
        return UnsupportedLayer(
            where=where,
            expected="code that does not ask for the size or the type of a tensor",
            got=f"{error.code} the size or the type of a tensor",
            remedy="leave the check out, since the example's are the only ones; or decide in the constructor, by "
            "numbers that are known there. To take a shape apart write b, c, h, w = x.shape in a statement",
        )
    return UnsupportedLayer(
        where=where,
        expected="a network whose layers do not depend on the values in a tensor",
        got=f"{error.code} the values of {error.node.name!r}",
        remedy="move data-dependent control flow out of forward",
    )


def _is_size(node: fx.Node) -> bool:
    """Whether a node computes with nothing but sizes."""
    if node.op == "call_method" and node.target in _SIZES:
        return True
    if node.op == "call_function" and node.target is getattr and node.args[1] in _SIZE_ATTRIBUTES:
        return True
    reads = node.all_input_nodes
    # A type's or a device's own attributes, too.
    return node.op in ("call_function", "call_method") and bool(reads) and all(_is_size(each) for each in reads)


def own_line(trace: TracebackType | None) -> str:
    """``file.py:12: x = self.conv(x)`` of the last frame that is neither torch's nor this package's; empty without."""
    own = [frame for frame in traceback.extract_tb(trace) if is_own(frame.filename) and frame.line]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}: {own[-1].line}" if own else ""


@cache
def is_own(file: str) -> bool:
    """Whether a file of Python code is the user's, or of a library that the network is from."""
    path = Path(file)
    return not (_OURS in path.parents or _TORCHS in path.parents or file.startswith("<"))
