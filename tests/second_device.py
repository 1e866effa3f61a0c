"""A device beside the CPU on machines that have none: its tensors lie in the host's memory, and its laws are a GPU's.

Numbers are computed by the CPU's kernels, so that results can be held against the CPU's own. What a GPU refuses is
refused: an op on tensors of two devices, but for a number without axes on the host. What it computes otherwise is
computed otherwise: a division by a number of the host is a product with its reciprocal, a sum runs in another order, a
product that is added is not rounded before, exponentials and their like are a last digit off. What makes a program wait
for a GPU is counted: every number or tensor that is read back, and every one that is sent.

Autograd asks once, at a process's first backward pass, which devices there are; so :func:`register` comes before.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

__all__ = ["Elsewhere", "MixedDevices", "SecondDevice", "register"]

#: As no tensor and no module calls a part of its own: PyTorch gives both a method of this name.
NAME = "elsewhere"
_aten = torch.ops.aten

#: Whose result tells the program a number, or has as many elements as numbers say.
_READS = {
    _aten._local_scalar_dense.default,
    _aten.nonzero.default,
    _aten.masked_select.default,
    _aten._unique2.default,
    _aten.bincount.default,
    _aten.equal.default,
    _aten.repeat_interleave.Tensor,
}
#: Kernels that take a number without axes from the host, as an argument of theirs.
_TAKES_A_NUMBER = {
    _aten.add, _aten.add_, _aten.sub, _aten.sub_, _aten.rsub, _aten.mul, _aten.mul_, _aten.div, _aten.div_,
    _aten.maximum, _aten.minimum, _aten.where, _aten.clamp, _aten.clamp_, _aten.clamp_min, _aten.clamp_max, _aten.pow,
    _aten.eq, _aten.ne, _aten.lt, _aten.le, _aten.gt, _aten.ge, _aten.remainder, _aten.floor_divide, _aten.fmod,
    _aten.bitwise_and, _aten.bitwise_or, _aten.bitwise_and_, _aten.bitwise_or_, _aten.copysign,
    _aten.__lshift__, _aten.__rshift__, _aten.bitwise_left_shift, _aten.bitwise_right_shift,
    _aten.bitwise_left_shift_, _aten.bitwise_right_shift_, _aten.atan2,
}  # fmt: skip
#: Elementary functions that no standard holds to the last digit.
_LAST_DIGIT = {
    _aten.exp, _aten.exp_, _aten.expm1, _aten.log, _aten.log_, _aten.log1p, _aten.sigmoid, _aten.tanh, _aten.rsqrt,
    _aten.pow, _aten.erf, _aten.softplus, _aten.silu, _aten.gelu, _aten._softmax, _aten._log_softmax, _aten.sin,
    _aten.cos,
}  # fmt: skip
_SUMS = {_aten.sum, _aten.mean, _aten.var, _aten.std}


def register() -> torch.device:
    """The device, known to PyTorch from here on until the process ends."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    if torch._C._get_privateuse1_backend_name() != NAME:
        _setup_privateuseone_for_python_backend(NAME)
        # A module that moves keeps its parameters, as it does on its way to a device of one kind of memory.
        torch.__future__.set_swap_module_params_on_conversion(True)
    return torch.device(NAME, 0)


class MixedDevices(RuntimeError):
    """An op got tensors of two devices."""


class Elsewhere(Tensor):
    """A tensor of the second device.

    Attributes:
        host: the same numbers, on the CPU; the memory is this one's.
    """

    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor) -> Elsewhere:
        tensor: Elsewhere = Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=torch.device(NAME, 0),
        )
        tensor.host = host
        return tensor

    def tolist(self) -> Any:
        """Python's numbers, as of any device's tensor."""
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.host})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} outside a block of SecondDevice")


class SecondDevice(TorchDispatchMode):
    """A block in which tensors can be made on the second device, taken there, and computed with.

    Example:
        >>> with SecondDevice() as second:
        ...     x = torch.rand(3).to(second.device)
        ...     float((x / 3).sum())
        ...     assert second.waits() == {"read by _local_scalar_dense": 1, "sent by _to_copy": 1}

    Attributes:
        device: to move to.
        reads: what was read back, by the op that did it.
        sent: what was sent, likewise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.device = register()
        self.reads: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()

    def waits(self) -> dict[str, int]:
        """What was read and sent since the last call, by the op that did it."""
        found = {f"read by {op}": count for op, count in self.reads.items()}
        found |= {f"sent by {op}": count for op, count in self.sent.items()}
        self.reads.clear()
        self.sent.clear()
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        asked = kwargs.get("device")
        onto = torch.device(asked).type if asked is not None else None
        there = any(isinstance(tensor, Elsewhere) for tensor in tensors)
        if not there and onto != NAME:
            return func(*args, **kwargs)
        packet = func._overloadpacket
        name = packet._qualified_op_name.partition("::")[2]
        if packet is _aten._to_copy and onto is not None:
            return self._moved(name, args, kwargs, there, onto)
        if packet is _aten.copy_:
            self._count_copy(name, args)
        elif func in _READS:
            self.reads[name] += 1
        elif there:
            self._require_one_device(packet, name, func._schema.is_mutable, args, tensors)
        out = _computed(func, packet, args, {**kwargs, "device": "cpu"} if onto else kwargs)
        if onto is None or onto == NAME:
            out = pytree.tree_map(lambda leaf: Elsewhere(leaf) if isinstance(leaf, Tensor) else leaf, out)
        if not there:
            return out
        return return_and_correct_aliasing(func, args, kwargs, out)

    def _moved(self, name: str, args: Any, kwargs: Any, there: bool, onto: str) -> Tensor:
        if there != (onto == NAME):
            (self.reads if there else self.sent)[name] += 1
        host: Tensor = _aten._to_copy.default(_host(args[0]), **{**kwargs, "device": "cpu"})
        return Elsewhere(host) if onto == NAME else host

    def _count_copy(self, name: str, args: Any) -> None:
        to, source = (isinstance(each, Elsewhere) for each in args[:2])
        if to and not source:
            self.sent[name] += 1
        elif source and not to:
            self.reads[name] += 1

    def _require_one_device(self, packet: Any, name: str, mutable: bool, args: Any, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            if isinstance(tensor, Elsewhere):
                continue
            written = tensor is args[0] and mutable
            if written or tensor.dim() or packet not in _TAKES_A_NUMBER:
                raise MixedDevices(f"{name} of {[(type(t).__name__, tuple(t.shape)) for t in tensors]}")


def _host(leaf: Any) -> Any:
    return leaf.host if isinstance(leaf, Elsewhere) else leaf


def _computed(func: Any, packet: Any, args: Any, kwargs: Any) -> Any:
    """The op on the CPU's numbers, in the ways in which another device computes it.

    Args:
        func: an overload.
        packet: its op.
        args: as they came, on whichever device.
        kwargs: likewise.
    """
    here, options = pytree.tree_map(_host, (args, kwargs))
    floats = [t for t in pytree.tree_leaves(here) if isinstance(t, Tensor) and t.is_floating_point()]
    if not floats:
        return func(*here, **options)
    if packet in (_aten.div, _aten.div_) and not isinstance(args[1], Elsewhere):
        return _by_reciprocal(packet, here, options)
    if packet in (_aten.add, _aten.add_, _aten.sub, _aten.sub_) and options.get("alpha", 1) != 1:
        exact = func(here[0].double(), here[1].double(), **options).to(here[0].dtype)
        return here[0].copy_(exact) if packet in (_aten.add_, _aten.sub_) else exact
    if packet in _SUMS and here[0].dtype is not torch.bool:
        return func(_in_another_order(here, options), *here[1:], **options)
    out = func(*here, **options)
    if packet in _LAST_DIGIT and out.is_floating_point():
        # Not of 0 and 1, which they all hit.
        off = torch.nextafter(out, torch.full_like(out, torch.inf))
        off = torch.where((out == 0) | (out == 1) | ~torch.isfinite(out), out, off)
        return out.copy_(off) if func._schema.is_mutable else off
    return out


def _in_another_order(args: Any, kwargs: Any) -> Tensor:
    """What is summed, with the axes reversed along which it is."""
    x, axes = args[0], args[1] if len(args) > 1 else kwargs.get("dim")
    flipped: Tensor = x.flip(axes if isinstance(axes, list | tuple) and axes else list(range(x.dim())))
    return flipped


def _by_reciprocal(packet: Any, args: Any, kwargs: Any) -> Tensor:
    x, divisor = args[:2]
    dtype = torch.result_type(x, divisor)
    dtype = dtype if dtype.is_floating_point else torch.get_default_dtype()
    inverse = torch.ones((), dtype=dtype) / torch.as_tensor(divisor, dtype=dtype)
    quotient = x.to(dtype) * inverse
    rounding = kwargs.get("rounding_mode")
    if rounding is not None:
        quotient = torch.trunc(quotient) if rounding == "trunc" else torch.floor(quotient)
    return x.copy_(quotient) if packet is _aten.div_ else quotient
