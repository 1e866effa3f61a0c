"""Which inputs of a network are indices: integers that something is looked up by, as they are or moved about.

All other integers are numbers, which a prepared network takes as float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from qtorch.capture.call_form import CallForm
from qtorch.capture.reference import copied
from qtorch.surroundings import in_float32, undisturbed_random_numbers

__all__ = ["as_captured", "index_inputs"]


def index_inputs(net: nn.Module, form: CallForm, tensors: Sequence[Tensor]) -> tuple[bool, ...]:
    """Of each input whether it is indices; none is where the network does not run.

    Args:
        net: in evaluation; a copy is called.
        form: how it is called.
        tensors: its inputs.
    """
    if not any(map(_is_whole, tensors)):
        return (False,) * len(tensors)
    given = [each.to(torch.int64, copy=True) if _is_whole(each) else in_float32(each).clone() for each in tensors]
    call, followed = form.arguments(given), _Followed(given)
    try:
        with torch.no_grad(), undisturbed_random_numbers(), followed:
            copied(net, ()).eval()(*call.args, **call.kwargs)
    except Exception:
        # As numbers it may run, and if not, that is told with the example.
        pass
    return tuple(_is_whole(each) and place in followed.read for place, each in enumerate(tensors))


def as_captured(x: Tensor, of_indices: bool) -> Tensor:
    """An input as a captured network takes it: int64 of indices, else float32."""
    return x.to(torch.int64) if of_indices else in_float32(x)


def _is_whole(x: Tensor) -> bool:
    return not (x.is_floating_point() or x.is_complex() or x.is_quantized or x.dtype is torch.bool)


#: Calls that look up by integers, with the place of these, or of a list of them, among their arguments.
_LOOKING_UP: Mapping[str, int] = {
    "embedding": 1, "_embedding_bag": 1, "_embedding_bag_forward_only": 1, "index": 1, "index_select": 2, "gather": 2,
    "scatter_": 2,
}  # fmt: skip


class _Followed(TorchDispatchMode):
    """Follows integers from the inputs to where something is looked up by them.

    Attributes:
        read: the places of those inputs that are.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        super().__init__()
        self.read: set[int] = set()
        # Tensors are kept, so that no other one gets the memory of one of them.
        self.kept: list[Tensor] = list(tensors)
        self.origins = {_memory(each): {place} for place, each in enumerate(tensors) if _is_whole(each)}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        place = _LOOKING_UP.get(func._schema.name.removeprefix("aten::"))
        if place is not None:
            # Also of rows that there are not, of which it makes an error.
            indices = [each for each in tree_leaves(args[place]) if isinstance(each, Tensor)]
            self.read = self.read.union(*(self.origins.get(_memory(each), ()) for each in indices))
        result = func(*args, **(kwargs or {}))
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        from_inputs = set().union(*(self.origins.get(_memory(each), ()) for each in given))
        for each in tree_leaves(result) if from_inputs else ():
            if isinstance(each, Tensor) and _is_whole(each):
                self.kept.append(each)
                self.origins.setdefault(_memory(each), set()).update(from_inputs)
        return result


def _memory(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)
