"""What a network computes, call by call: each function of torch that it calls, where that stands, and what came out.

By this a difference between two runs is given a name.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from qtorch.capture.untraceable import is_own

__all__ = ["RecordedCall", "first_difference", "line_that", "recorded_calls"]

_OURS = Path(__file__).parent
#: Files of this package that call networks.
_RUNNING = frozenset(str(_OURS / name) for name in ("reference.py", "repeatability.py", "evaluation_comparison.py"))


@dataclass(frozen=True)
class RecordedCall:
    """One call of a function of torch.

    Attributes:
        function: its name.
        layer: of torch's own that called it; empty where none did.
        line: ``file.py:12: x = self.conv(x)``, the network's own line that it goes back to; empty where none is known.
        results: the tensors that it gave, as they were then.
    """

    function: str
    layer: str
    line: str
    results: tuple[Tensor, ...]

    def __str__(self) -> str:
        layer = f" of layer {self.layer!r}" if self.layer else ""
        return f"{self.function!r}{layer}" + (f" ({self.line})" if self.line else "")


class _Recorder(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[RecordedCall] = []
        self.layers: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = tuple(leaf.detach().clone() for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor))
        name = getattr(func, "__name__", str(func))
        if tensors and name != "__get__" and not _is_ours(sys._getframe(1)):
            layer = self.layers[-1] if self.layers else ""
            self.calls.append(RecordedCall(name, layer, _calling_line(), tensors))
        return result


def recorded_calls(net: nn.Module, run: Callable[[], Any]) -> list[RecordedCall]:
    """What ``run`` calls, in order; what fails ends the list.

    Args:
        net: whose layers are named.
        run: calls it.
    """
    # What it computed until it failed is what is asked for.
    with _Recorder() as recorder, _naming(net, recorder.layers), torch.no_grad(), suppress(Exception):
        run()
    return recorder.calls


@contextmanager
def _naming(net: nn.Module, layers: list[str]) -> Iterator[None]:
    """A block in which ``layers`` ends with the layer that is at work."""
    hooks = []
    for name, module in net.named_modules():
        if name and not any(module.children()):
            hooks.append(module.register_forward_pre_hook(lambda *_, name=name: layers.append(name)))
            hooks.append(module.register_forward_hook(lambda *_: layers.pop() and None, always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _is_ours(frame: FrameType) -> bool:
    """Whether code that runs a network calls, and not the network."""
    return frame.f_code.co_filename in _RUNNING


def _calling_line() -> str:
    frame = sys._getframe(2)
    while frame is not None and not is_own(frame.f_code.co_filename):
        # Behind this package stands who called it, which is not the network.
        if _is_ours(frame):
            return ""
        frame = frame.f_back  # type: ignore[assignment]
    return "" if frame is None else _line(frame.f_code.co_filename, frame.f_lineno)


def _line(file: str, number: int) -> str:
    return f"{Path(file).name}:{number}: {linecache.getline(file, number).strip()}"


def line_that(changes: Callable[[], bool], run: Callable[[], Any]) -> str:
    """The first line of a network's own code after which ``changes()``; empty where none is seen.

    Args:
        changes: whether what is looked for has happened.
        run: runs that code.
    """
    last, changing = ["", ""], [""]

    def watch(frame: Any, event: str, argument: Any) -> Any:
        if not is_own(frame.f_code.co_filename):
            return None
        if not changing[0] and last[0] and changes():
            changing[0] = last[0]
        if event == "line":
            last[0] = _line(frame.f_code.co_filename, frame.f_lineno)
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        run()
    finally:
        sys.settrace(before)
    return changing[0]


def first_difference(
    expected: Sequence[RecordedCall], got: Sequence[RecordedCall], alike: Callable[[Tensor, Tensor], bool]
) -> RecordedCall | None:
    """The first call of ``expected`` that ``got`` has not, or that gave something else there.

    Args:
        expected: of one run.
        got: of another.
        alike: whether two tensors of one shape are the same.
    """
    for index, call in enumerate(expected):
        if index >= len(got) or len(got[index].results) != len(call.results):
            return call
        pairs = zip(call.results, got[index].results, strict=True)
        if not all(a.shape == b.shape and alike(a, b) for a, b in pairs):
            return call
    return None
