"""Batch norm folded into the layer before it: ``gamma (conv(x) + b - mean) / sqrt(var + eps) + beta`` is a convolution.

Source: Jacob et al. 2018 (arXiv:1712.05877), section 3.2; Krishnamoorthi 2018 (arXiv:1806.08342), section 3.2.3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.func import functional_call

from qtorch.errors import NotFinite
from qtorch.surroundings import without_values

__all__ = ["BatchNorm", "fold", "normalized_in_steps", "require_statistics", "scaling"]

#: Of whatever rank, synchronized between processes or not: what is called with images of three axes finds no row.
BatchNorm = nn.modules.batchnorm._BatchNorm

#: A channel whose gamma is smaller than this in effect is scaled as if it were this, so that it can be scaled back.
_SMALLEST_FACTOR = 1e-12


def require_statistics(net: nn.Module) -> None:
    """Refuse batch norms whose running statistics are no numbers: one batch with NaN makes them so for good.

    Raises:
        NotFinite: some are; names the first.
    """
    for name, norm in net.named_modules():
        # Instance norms may have them too.
        if not isinstance(norm, nn.modules.batchnorm._NormBase):
            continue
        held = {"running_mean": norm.running_mean, "running_var": norm.running_var}
        bad = {
            role: int((~torch.isfinite(each)).sum())
            for role, each in held.items()
            if each is not None and not without_values(each)
        }
        if any(bad.values()):
            role = max(bad, key=lambda each: bad[each])
            raise NotFinite(
                where=f"the running statistics of batch norm {name!r}", expected="finite numbers",
                got=f"{bad[role]} of {norm.num_features} in its {role} NaN or infinite",
                remedy="find the training batch that holds NaN or infinity and leave it out; then load an earlier "
                "checkpoint, or call reset_running_stats() on the batch norm and train on",
            )  # fmt: skip


def _factor(norm: BatchNorm) -> Tensor:
    """``gamma / sqrt(running_var + eps)``, ``[C]``; the statistics are constants to autograd."""
    assert norm.running_var is not None
    deviation = torch.sqrt(norm.running_var + norm.eps)
    return 1 / deviation if norm.weight is None else norm.weight / deviation


def _along(values: Tensor, ndim: int, axis: int) -> Tensor:
    return values.reshape([-1 if d == axis else 1 for d in range(ndim)])


def scaling(norm: BatchNorm, ndim: int, axis: int) -> Tensor:
    """By what the weight's channels are multiplied, shaped to broadcast along ``axis``, never 0, without gradient."""
    factor = _factor(norm).detach()
    tiny = torch.full_like(factor, _SMALLEST_FACTOR)
    return _along(torch.where(factor.abs() < _SMALLEST_FACTOR, tiny, factor), ndim, axis)


def fold(norm: BatchNorm, weight: Tensor, bias: Tensor | None, axis: int) -> dict[str, Tensor]:
    """Weight (same shape) and bias ``[C]`` of the layer with its batch norm's running statistics folded in.

    Args:
        norm: its statistics are over the weight's output channels.
        weight: float32, output channels along ``axis``.
        bias: float32 ``[C]``, or ``None``.
        axis: see ``weight``.
    """
    assert norm.running_mean is not None
    factor = _factor(norm)
    mean = norm.running_mean if bias is None else norm.running_mean - bias
    shift = -mean * factor
    return {
        "weight": weight * _along(factor, weight.dim(), axis),
        "bias": shift if norm.bias is None else shift + norm.bias,
    }


def normalized_in_steps(norm: BatchNorm, y: Tensor, scale: Tensor) -> Tensor:
    """What the norm makes of ``y``, in steps of ``scale``: what it is multiplied by in the end, those can be in."""
    affine = {"weight": norm.weight / scale, "bias": norm.bias / scale}
    if is_compiling():
        called: Tensor = functional_call(norm, affine, (y,))
        return called
    # As that does it, whose look at the whole module takes a good part of the time that the norm does.
    own = norm.__dict__["_parameters"]
    norm.__dict__["_parameters"] = {**own, **affine}
    try:
        result: Tensor = norm(y)
    finally:
        norm.__dict__["_parameters"] = own
    return result
