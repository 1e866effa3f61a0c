"""Whether a float32 kernel adds whole numbers without rounding: asked once of every shape, device and setting.

Sums below 2**24 are exact in float32 in any order, so long as a kernel does nothing but multiply and add. One that
transforms its operands first (Winograd, FFT), or multiplies in fewer bits, does more; which one is taken is a backend's
own choice. So it is asked with the largest whole numbers, and its answer compared with float64's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from qtorch.surroundings import without_values

__all__ = ["adds_exactly"]

#: Samples that are asked about on a CPU, whose kernels do not depend on how many there are as a GPU's do.
_SAMPLES = 2
#: How far below the largest the numbers are drawn, so that all their bits differ.
_SPREAD = 16

_ANSWERS: dict[Hashable, bool] = {}


def adds_exactly(op: Hashable, sums: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor, reach: int) -> bool:
    """Whether ``sums`` is exact for inputs up to ``reach`` and weights up to 127, of these shapes and on this device.

    Args:
        op: what ``sums`` computes, with its attributes.
        sums: of an input and a weight, linear in both.
        x: the input, for its shape, device and order in memory.
        weight: likewise.
        reach: the largest step of the input.
    """
    if is_compiling() or without_values(x):
        return True
    shape = x.shape if x.device.type != "cpu" else (min(len(x), _SAMPLES), *x.shape[1:])
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    key = (op, tuple(shape), tuple(weight.shape), x.device, last, reach, _settings(x.device))
    if key not in _ANSWERS:
        _ANSWERS[key] = _ask(sums, torch.Size(shape), weight.shape, x.device, last, reach)
    return _ANSWERS[key]


def _settings(device: torch.device) -> tuple[Any, ...]:
    """What decides, beside shapes, which kernel a device takes."""
    if device.type == "cpu":
        # Its kernels of fewer bits have those that steps and weights have.
        return ()
    cudnn = torch.backends.cudnn
    with warnings.catch_warnings():
        # Some versions warn of the name of a setting that others have no other name for.
        warnings.simplefilter("ignore")
        return cudnn.allow_tf32, cudnn.benchmark, torch.get_float32_matmul_precision()


@torch.no_grad()
def _ask(
    sums: Callable[[Tensor, Tensor], Tensor],
    shape: torch.Size,
    weight: torch.Size,
    device: torch.device,
    last: bool,
    reach: int,
) -> bool:
    generator = torch.Generator().manual_seed(0)
    highest = ((shape, reach), (weight, 127))
    # All of one sign, so that sums come as near to 2**24 as these shapes can.
    operands = [high - torch.randint(0, min(_SPREAD, high), size, generator=generator) for size, high in highest]
    x, w = (each.to(device, torch.float32) for each in operands)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    return torch.equal(sums(x, w).to(torch.float64), sums(x.to(torch.float64), w.to(torch.float64)))
