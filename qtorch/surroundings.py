"""What surrounds a network and may not change its integers: autocast, number types, devices, compilers.

A prepared network computes in float32. Inputs of other types become that; parameters of other types are refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch._C import _are_functorch_transforms_active as within_transforms

# Whether autocast is on for any type of device: a fraction of what asking for one costs, in every layer of every step.
from torch._C import _is_any_autocast_enabled as autocasts
from torch._subclasses.fake_tensor import FakeTensor
from torch.compiler import is_compiling

from qtorch.errors import BadConfiguration, BadData, NotFinite

__all__ = [
    "as_indices",
    "autocasts",
    "evaluating",
    "in_float32",
    "is_traced",
    "moved",
    "not_finite",
    "require_float32",
    "require_no_nan",
    "require_untransformed",
    "require_values",
    "undisturbed",
    "undisturbed_random_numbers",
    "without_autocast",
    "without_values",
]


def undisturbed() -> bool:
    """Whether neither autocast nor a compiler is at work, as a training step asks of every layer."""
    return not (is_compiling() or autocasts())


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode for a block, then each back to what it was."""
    before = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def without_autocast(x: Tensor) -> torch.autocast:
    """A block in which nothing on the device of ``x`` is computed in fewer bits than its tensors have."""
    device = x.device.type
    # A device without autocast has none to switch off.
    return torch.autocast(device if torch.amp.is_autocast_available(device) else "cpu", enabled=False)


@contextmanager
def undisturbed_random_numbers() -> Iterator[None]:
    """A block that draws numbers of Python, NumPy and torch without an effect on those that are drawn after it."""
    before = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()):
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def in_float32(x: Tensor) -> Tensor:
    """``x`` as float32: exact for half precision, bool and integers up to 2**24; float64 and larger ones round.

    Raises:
        BadData: the numbers are complex or quantized.
    """
    if x.is_complex() or x.is_quantized:
        raise BadData(
            where="the network's input",
            expected="real numbers",
            got=f"{x.dtype}",
            remedy="pass float32, or what becomes float32 without a choice: half precision, float64, integers",
        )
    return x.to(torch.float32)


def as_indices(x: Tensor, rows: int, training: bool) -> Tensor:
    """``x`` itself, integers from 0 to ``rows - 1``.

    On a GPU their values are looked at in evaluation alone, under a compiler not at all: no step waits for one.

    Raises:
        BadData: they are no integers, or there is no such row.
    """
    if x.is_floating_point() or x.dtype is torch.bool:
        raise BadData(
            where="the network's input",
            expected=f"indices of {rows} rows, int64 or int32, where the example had some",
            got=f"{x.dtype}",
            remedy="pass integers, as the network is called; .long() makes some of whole numbers",
        )
    if is_compiling() or without_values(x) or not x.numel() or (training and not x.is_cpu):
        return x
    low, high = (int(each) for each in torch.aminmax(x))
    if low < 0 or high >= rows:
        raise BadData(
            where="the network's input",
            expected=f"indices from 0 to {rows - 1}, of the rows that there are",
            got=f"{low if low < 0 else high}",
            remedy="make the table larger, or map what is unknown to a row that stands for it",
        )
    return x


def require_float32(tensors: Iterable[tuple[str, Tensor | None]], layer: str) -> None:
    """Refuse parameters that ``.half()``, ``.double()`` or a trainer's "true" precision turned into another type.

    Args:
        tensors: with their names.
        layer: which they are of.

    Raises:
        BadConfiguration: one is not float32.
    """
    for name, tensor in tensors:
        if tensor is not None and tensor.dtype is not torch.float32 and tensor.is_floating_point():
            raise BadConfiguration(
                where=f"{name!r} of a {layer} layer",
                expected="parameters in float32, in which a prepared network computes",
                got=f"{tensor.dtype}",
                remedy="call .float() on it, leave out .half(), .double() and .bfloat16(), and train with the "
                "trainer's precision 32-true (or mixed, which leaves parameters as they are)",
            )


def moved(tensor: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
    """``fn(tensor)`` as ``nn.Module`` applies it to all of a network, for a figure whose type stays what it is."""
    result = fn(tensor)
    return result if result.dtype is tensor.dtype else tensor.to(result.device)


def without_values(x: Tensor) -> bool:
    """Whether ``x`` has a shape and no numbers: on the meta device, or under a tracer."""
    return x.is_meta or isinstance(x, FakeTensor)


def require_values(x: Tensor, where: str) -> None:
    """Refuse a tensor of which only the shape is known.

    Raises:
        BadData: there are no numbers in it.
    """
    if without_values(x):
        raise BadData(
            where=where,
            expected="numbers",
            got=f"a tensor of shape {tuple(x.shape)} without any, on device {x.device}",
            remedy="move network and data to a device that computes, for example .to('cpu')",
        )


def not_finite(x: Tensor) -> str:
    """How many of ``x`` ``[N, ...]`` are NaN or infinite, and in which sample first, in words; empty where none is."""
    bad = ~torch.isfinite(x)
    if not bad.any():
        return ""
    said = f"{int(bad.sum())} of {bad.numel()} NaN or infinite"
    rows = bad.reshape(len(bad), -1).any(1).nonzero().flatten().tolist() if bad.dim() else []
    return said + (f", the first in sample {rows[0]}, counted from 0" if rows else "")


def is_traced() -> bool:
    """Whether TorchScript follows what is computed: sizes are tensors then."""
    return torch.jit.is_tracing()  # type: ignore[attr-defined]


def require_untransformed() -> None:
    """Refuse a call within a transform of ``torch.func``, whose tensors have no integers, or that TorchScript traces.

    Raises:
        BadConfiguration: it is one.
    """
    if is_traced():
        raise BadConfiguration(
            where="the network's call",
            expected="one that torch.jit.trace does not follow, in QUANTIZED",
            got="one that it follows",
            remedy="take torch.export.export, or export.export_network for ONNX; or go to Mode.FLOAT for the trace",
        )
    if within_transforms():
        raise BadConfiguration(
            where="the network's call",
            expected="one outside the transforms of torch.func (grad, vmap, jacrev, ...), in QUANTIZED",
            got="one within",
            remedy="call the network itself, and take gradients by backward(), torch.autograd.grad or "
            "torch.autograd.functional.jacobian; or go to Mode.FLOAT for the transform",
        )


def require_no_nan(x: Tensor, where: str) -> None:
    """Refuse NaN, for which there is no integer; infinity saturates.

    Raises:
        NotFinite: a value is NaN.
    """
    # The largest value is NaN where any is.
    if x.numel() and not without_values(x) and bool(torch.isnan(x.detach().amax())):
        raise NotFinite(
            where=where,
            expected="numbers, which integers can stand for",
            got=f"{int(torch.isnan(x).sum())} of {x.numel()} values NaN",
            remedy="look for NaN in the data and the weights; qtorch.saturation(network, batches) names every tensor "
            "that has one",
        )
