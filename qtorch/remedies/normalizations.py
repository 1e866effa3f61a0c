"""Remedies for normalizations: layers that are folded or lowered, with the same weights."""

from __future__ import annotations

import math

from qtorch.remedies.asked import Asked, none, same

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "response_norm", "rms_norm"]

_WITH_WEIGHTS = "with the same weights"


def _channels(ask: Asked) -> int | str:
    return ask.shape[1] if len(ask.shape) > 1 else "channels"


def batch_norm(ask: Asked) -> str:
    """Batch norms of other ranks, and the function."""
    rank, channels, eps = len(ask.shape), _channels(ask), ask.get("eps", 7, 1e-5)
    layer = f"nn.BatchNorm{1 if rank in (2, 3) else 2}d({channels}{'' if eps == 1e-5 else f', eps={eps}'})"
    if rank == 5:
        form = f"norm = {layer}; norm(x.flatten(3)).unflatten(3, {ask.shape[3:]})"
        return same(form, f"{_WITH_WEIGHTS} and statistics")
    return same(layer, f"{_WITH_WEIGHTS} and statistics, and is folded into the layer before")


def _over(size: tuple[int, ...] | int, eps: float | None, affine: bool) -> str:
    default = "" if eps in (None, 1e-5) else f", eps={eps}"
    return f"nn.LayerNorm({size}{default}{'' if affine else ', elementwise_affine=False'})"


def _scaled(ask: Asked, form: str, scaled: bool) -> str:
    shape = (ask.shape[1], *[1] * (len(ask.shape) - 2))
    return (
        same(f"{form} * weight + bias", f"weight and bias being parameters of shape {shape}") if scaled else same(form)
    )


def group_norm(ask: Asked) -> str:
    """``group_norm``."""
    groups, scaled = ask.get("num_groups", 1, 1), ask.get("weight", 2, None) is not None
    norm = _over(math.prod(ask.shape[1:]) // groups, ask.get("eps", 4, 1e-5), False)
    return _scaled(ask, f"norm = {norm}; norm(x.reshape(x.shape[0], {groups}, -1)).reshape(x.shape)", scaled)


def instance_norm(ask: Asked) -> str:
    """``instance_norm``, with statistics of its own or measured ones."""
    measured = (
        not ask.get("use_input_stats", 5, True) if ask.module is None else ask.get("track_running_stats", 9, False)
    )
    if measured:
        return batch_norm(Asked("", None, (), {"eps": ask.get("eps", 7, 1e-5)}, ask.shape)) + ", in evaluation"
    if len(ask.shape) < 3:
        return "insert the missing axis with unsqueeze: it takes the first for the channels, and a device for the batch"
    norm = _over(ask.shape[2:], ask.get("eps", 7, 1e-5), False)
    return _scaled(ask, f"norm = {norm}; norm(x)", ask.get("weight", 3, None) is not None)


def layer_norm(ask: Asked) -> str:
    """``layer_norm``, the function."""
    affine = ask.get("weight", 2, None) is not None
    layer = _over(tuple(ask.get("normalized_shape", 1, ask.shape[-1:])), ask.get("eps", 4, 1e-5), affine)
    return same(layer, f"as a layer of the network, {_WITH_WEIGHTS}" if affine else "as a layer of the network")


def rms_norm(ask: Asked) -> str:
    """``rms_norm``."""
    axes = tuple(range(-len(ask.get("normalized_shape", 1, (1,))), 0))
    eps = ask.get("eps", 3, None)
    scaled = ask.get("weight", 2, None) is not None
    form = f"x * torch.rsqrt((x * x).mean({axes}, keepdim=True) + {2.0**-23 if eps is None else eps})"
    return same(form + " * weight" if scaled else form, "weight being a parameter" if scaled else "")


def response_norm(ask: Asked) -> str:
    """``local_response_norm``."""
    if len(ask.shape) != 4 or ask.get("beta", 3, 0.75) != 0.5 or ask.get("size", 1, 5) % 2 == 0:
        return none(
            "it divides by a power, of which the device has the square root alone: on an image, with beta=0.5 and an "
            "odd size, there is a form; nn.BatchNorm2d changes the network"
        )
    size, alpha, k = ask.get("size", 1, 5), ask.get("alpha", 2, 1e-4), ask.get("k", 4, 1.0)
    near = f"F.avg_pool2d((x * x).flatten(2).unsqueeze(1), ({size}, 1), 1, ({size // 2}, 0)).squeeze(1)"
    return same(f"near = {near}; x * torch.rsqrt(near.unflatten(2, {ask.shape[2:]}) * {alpha} + {k})")
