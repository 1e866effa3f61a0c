"""A batch norm over the batches of all processes, on the CPU too, where PyTorch's own refuses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.compiler import is_compiling
from torch.nn import functional as F

from qtorch.ranges.observer import is_distributed

__all__ = ["SynchronizedNorm"]


class SynchronizedNorm(nn.modules.batchnorm._BatchNorm):
    """What ``nn.SyncBatchNorm`` is, on the CPU as well; all processes must call it equally often in training.

    Not derived from it, because ``DistributedDataParallel`` takes no such layer on the CPU.

    Attributes:
        process_group: of those that share statistics; all processes if ``None``.
    """

    process_group: Any
    _check_input_dim = nn.SyncBatchNorm._check_input_dim
    _check_non_zero_input_channels = nn.SyncBatchNorm._check_non_zero_input_channels

    def forward(self, input: Tensor) -> Tensor:
        """``input``, ``[N, C, ...]``, normalized: in training by what all processes have as ``input``.

        Raises:
            ValueError: in training, and there are less than two values per channel.
        """
        if not (self.training and input.is_cpu and is_distributed()):
            elsewhere: Any = nn.SyncBatchNorm.forward
            normalized: Tensor = elsewhere(self, input)
            return normalized
        group = self.process_group or torch.distributed.group.WORLD
        if torch.distributed.get_world_size(group) == 1:
            return super().forward(input)
        # Not a decorator, which would import a compiler with this module.
        compute = torch.compiler.disable(self._normalized) if is_compiling() else self._normalized
        synchronized: Tensor = compute(input, group)
        return synchronized

    def _normalized(self, x: Tensor, group: Any) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        mean, variance, count = _statistics(x.detach(), group)
        if count < 2:
            raise ValueError(f"expected more than 1 value per channel when training, got input of {tuple(x.shape)}")
        self.num_batches_tracked.add_(1)
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.mul_(1 - share).add_(share * mean)
        self.running_var.mul_(1 - share).add_(share * count / (count - 1) * variance)
        normalized: Tensor = _Normalize.apply(x, self.weight, self.bias, mean, variance, count, self.eps, group)
        return normalized


def _statistics(x: Tensor, group: Any) -> tuple[Tensor, Tensor, int]:
    """Mean and biased variance of each channel over all processes, float32 ``[C]``, and of how many values."""
    channels = x.shape[1]
    count = x.numel() // channels
    moments = torch.var_mean(x.to(torch.float32), _others(x), correction=0) if count else (x.new_zeros(channels),) * 2
    mine = torch.cat([*moments, moments[0].new_full((1,), count)]).to(torch.float64)
    mine[-1] = count
    theirs = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size(group))]
    torch.distributed.all_gather(theirs, mine, group)
    # In one order everywhere, so that all processes come to the very same statistics.
    variances, means, counts = torch.stack(theirs).split([channels, channels, 1], 1)
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    variance = (counts * (variances + (means - mean).square())).sum(0) / total
    return mean.to(torch.float32), variance.to(torch.float32), int(total)


def _others(x: Tensor) -> list[int]:
    """All axes but the channels'."""
    return [0, *range(2, x.dim())]


class _Normalize(torch.autograd.Function):
    """``weight (x - mean) / sqrt(variance + eps) + bias``, where mean and variance depend on every process's ``x``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, *rest: Any
    ) -> Tensor:
        count, eps, group = rest
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.count, ctx.eps, ctx.group, ctx.has_bias = count, eps, group, bias is not None
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight, mean, variance = ctx.saved_tensors
        shape = [-1 if axis == 1 else 1 for axis in range(x.dim())]
        factor = torch.rsqrt(variance + ctx.eps)
        gradient = gradients[0].to(torch.float32)
        normalized = (x.to(torch.float32) - mean.reshape(shape)) * factor.reshape(shape)
        # A parameter's gradients are this process's own: DistributedDataParallel averages them.
        own = torch.stack([gradient.sum(_others(x)), (gradient * normalized).sum(_others(x))])
        shared = own.clone()
        torch.distributed.all_reduce(shared, group=ctx.group)
        constant, linear = (each.reshape(shape) for each in shared / ctx.count)
        scale = factor if weight is None else factor * weight
        of_x = (gradient - constant - normalized * linear) * scale.reshape(shape)
        of_weight = None if weight is None else own[1].to(weight.dtype)
        return of_x.to(x.dtype), of_weight, own[0] if ctx.has_bias else None, None, None, None, None, None
