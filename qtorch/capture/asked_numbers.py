"""Values of tensors that code makes of numbers and of buffers alone, while it runs on tensors without values.

``torch.arange(1, x.dim()).tolist()`` is a list whatever comes in. Where nothing but such tensors goes into a call, the
call is made once more on their values, so that code may ask for them as numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["MOST_NUMBERS", "KnownNumbers"]

#: Methods by which code asks for numbers.
_READS = frozenset({"tolist", "item", "__bool__", "__int__", "__float__", "__index__"})
#: Conditions that no code of a quantized tensor meets.
_NEVER = frozenset({"isnan", "isinf"})
#: Methods of Python's that write.
_WRITES = frozenset({"__setitem__"}) | {
    f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor")
}
#: Larger tensors are no numbers that code asks for.
MOST_NUMBERS = 4096
#: Starts of the names of functions that draw, and of those whose values are anything.
_ANYTHING = ("rand", "bernoulli", "normal", "multinomial", "poisson", "empty", "new_empty", "exponential", "uniform")


class KnownNumbers:
    """Tensors whose values are known, of one run of a network's code.

    Attributes:
        asked: names of buffers that hold, or that were computed into, numbers that the code asked for.
        written: names of buffers that it wrote.
    """

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.written: set[str] = set()
        self._values = WeakTensorKeyDictionary()
        self._nowhere = WeakTensorKeyDictionary()
        self._sources = WeakTensorKeyDictionary()
        self._memory: dict[int, str] = {}

    def know(self, name: str, buffer: Tensor, value: Tensor) -> None:
        """What a buffer holds, or without a name another tensor; ``buffer`` is what stands for it in the run, ``value``
        may be written to."""
        self._values[buffer], self._sources[buffer] = value, {name} if name else set()
        if name:
            self._memory[value.untyped_storage().data_ptr()] = name

    def answers(self, function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        """Whether a call asks for the numbers of a tensor that are known."""
        return getattr(function, "__name__", "") in _READS and len(args) == 1 and self._knows(args[0])

    def answer(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Those numbers, as the call gives them."""
        self.asked |= self._sources.get(args[0], set())
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return function(self._values[args[0]])

    def note(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Keep what a call of known values gives.

        Args:
            function: that was called.
            args: with which, by place.
            kwargs: the same, by name.
            result: what it gave, without values.
        """
        leaves = pytree.tree_leaves((args, dict(kwargs)))
        unknown = [each for each in leaves if isinstance(each, Tensor) and not self._knows(each)]
        name = getattr(function, "__name__", "")
        if name in _NEVER and isinstance(result, Tensor):
            self._nowhere[result] = True
            return
        if name == "any" and len(args) == 1 and args[0] in self._nowhere and isinstance(result, Tensor):
            with _disable_current_modes(), torch._C.DisableTorchFunction():
                self._values[result] = torch.tensor(False)
            return
        writes = _writes(name, kwargs)
        target = kwargs.get("out", args[0] if args else None)
        if writes and self._knows(target):
            memory = self._values[target].untyped_storage().data_ptr()
            self.written |= {self._memory[memory]} if memory in self._memory else set()
        if unknown:
            if writes and any(self._knows(each) for each in leaves):
                # Views of what was written are other tensors: none is sure any more.
                self._values = WeakTensorKeyDictionary()
            return
        given = [each for each in pytree.tree_leaves(result) if isinstance(each, Tensor)]
        if (
            not (given or writes)
            or name.startswith(_ANYTHING)
            or any(map(_is_open, leaves))
            or any(map(_is_large, given))
        ):
            return
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            try:
                held = pytree.tree_map_only(Tensor, self._values.__getitem__, (args, dict(kwargs)))
                found = pytree.tree_leaves(function(*held[0], **held[1]))
            except Exception:
                # What is no function of its arguments here is not known.
                return
        values = [each for each in found if isinstance(each, Tensor)]
        if [each.shape for each in values] == [each.shape for each in given]:
            taken = [each for each in leaves if isinstance(each, Tensor)]
            sources = set().union(*(self._sources.get(each, set()) for each in taken))
            for tensor, value in zip(given, values, strict=True):
                self._values[tensor], self._sources[tensor] = value, sources

    def _knows(self, x: Any) -> bool:
        return isinstance(x, Tensor) and x in self._values


def _writes(name: str, kwargs: Mapping[str, Any]) -> bool:
    return name in _WRITES or "out" in kwargs or (name.endswith("_") and not name.endswith("__"))


def _is_open(x: Any) -> bool:
    """Whether an argument is a number that is not known, or a place where values come from."""
    return isinstance(x, torch.SymInt | torch.SymFloat | torch.SymBool | torch.Generator)


def _is_large(x: Tensor) -> bool:
    return not all(isinstance(size, int) for size in x.shape) or x.numel() > MOST_NUMBERS
