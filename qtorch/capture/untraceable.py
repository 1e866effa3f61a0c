"""What can't be captured, in words: which line of the network it was, why, and what to write instead."""

from __future__ import annotations

import re
import traceback
from functools import cache
from pathlib import Path
from types import TracebackType

import torch
from torch import nn
from torch.nn.utils import rnn

from qtorch.errors import BadInput, UnsupportedLayer

__all__ = ["is_own", "own_line", "untraceable"]

#: What export raises where code asks for values.
_DECISIONS = frozenset({"GuardOnDataDependentSymNode", "DataDependentOutputException", "DynamicOutputShapeException"})

_OURS, _TORCHS = Path(__file__).parents[1], Path(torch.__file__).parent
#: How export names the batch's size, which is no number to it.
_BATCH = re.compile(r"\b[su]\d+\b")
#: What a recurrent layer says of first states whose first axis is that of layers.
_LAYERS_FIRST = re.compile(r"Expected hidden(\[\d\])? size")
#: What export says of a constant that has no value: code took it out of a tensor by the back door.
_KEPT_VALUE = "fake tensor in the exported program constant's list"
_PACKING = {rnn.pack_padded_sequence.__code__, rnn.pack_sequence.__code__, rnn.pad_packed_sequence.__code__}
_NUMBERS = re.compile(r"\.(numpy|tolist|item)\(\)|numpy\(\) is not|data-dependent")


def untraceable(net: nn.Module, error: Exception) -> BadInput:
    """What to say of an exception that came while ``net`` was captured."""
    if isinstance(error, BadInput):
        return error
    line = own_line(error.__traceback__)
    where = type(net).__name__ + (f" ({line})" if line else "")
    kind, first = type(error).__name__, (str(error).splitlines() or [""])[0].partition(". ")[0]
    if kind in _DECISIONS:
        return UnsupportedLayer(
            where=where,
            expected="code that computes the same, call by call, whatever values come in",
            got="an `if`, `while` or `assert`, or a number of Python, that hangs on the values in a tensor",
            remedy="move data-dependent control flow out of forward, or compute both ways and choose between them; "
            "keep numbers tensors, as y.amax(1) instead of float(y.max()) does",
        )
    if _packs(error.__traceback__):
        return UnsupportedLayer(
            where=where,
            expected="sequences of one length, in one tensor",
            got="sequences packed by their lengths",
            remedy="give the recurrent layer the padded tensor itself; what it gives at the last step of each sequence "
            "is taken by a mask: (y * last.unsqueeze(-1)).sum(1), last being an input of zeros and a one",
        )
    if _KEPT_VALUE in str(error):
        return UnsupportedLayer(
            where=where,
            expected="code that computes from its inputs, and leaves its parameters as they are",
            got="a write past what can be followed, as into parameter.data",
            remedy="change parameters in the training step, or let a parametrization compute them: "
            "torch.nn.utils.parametrize.register_parametrization",
        )
    if _NUMBERS.search(str(error)):
        return UnsupportedLayer(
            where=where,
            expected="values that stay in tensors",
            got=f"{kind}: {first}",
            remedy="write that line with functions of torch alone, or move it out of forward",
        )
    if _LAYERS_FIRST.search(first):
        return UnsupportedLayer(
            where=where,
            expected="samples along the first axis of every input, states too",
            got=f"{kind}: {_BATCH.sub('batch', first)}",
            remedy="make states inputs [N, layers, H], and turn them for the layer: h.transpose(0, 1)",
        )
    if _BATCH.search(first):
        return UnsupportedLayer(
            where=where,
            expected="code that takes batches of any size",
            got=f"{kind}: {_BATCH.sub('batch', first)}",
            remedy="keep the batch size out of it, as x.flatten(1) and x.view(x.shape[0], -1) do; insert axes that are "
            "missing with unsqueeze",
        )
    return UnsupportedLayer(
        where=where,
        expected="code that torch.export can follow, call by call",
        got=f"{kind}: {first}",
        remedy="write that line with layers and functions of torch alone, or move it out of forward",
    )


def own_line(trace: TracebackType | None) -> str:
    """``file.py:12: x = self.conv(x)`` of the last frame that is neither torch's nor this package's; empty without."""
    own = [frame for frame in traceback.extract_tb(trace) if is_own(frame.filename) and frame.line]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}: {own[-1].line}" if own else ""


def _packs(trace: TracebackType | None) -> bool:
    """Whether code failed that packs sequences, or that has packed ones in its hands."""
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    packed = (value for frame in frames for value in frame.f_locals.values() if isinstance(value, rnn.PackedSequence))
    return any(frame.f_code in _PACKING for frame in frames) or next(packed, None) is not None


@cache
def is_own(file: str) -> bool:
    """Whether a file of Python code is the user's, or of a library that the network is from."""
    path = Path(file)
    return not (_OURS in path.parents or _TORCHS in path.parents or file.startswith("<"))
