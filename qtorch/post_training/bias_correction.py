"""Bias correction: what rounded weights and activations add to a channel's mean is taken out of its bias.

Source: Nagel et al. 2019 (arXiv:1906.04721), section 4.2, by data (appendix D).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from qtorch.capture.capture import CapturedNetwork
from qtorch.network.batch_norm import scaling
from qtorch.network.calibration import Batch
from qtorch.network.quantized_op import QuantizedOp
from qtorch.post_training.side_by_side import Layer, own_constant, run_side_by_side

__all__ = ["Correction", "channel_means", "correct_biases"]


@dataclass(frozen=True)
class Correction:
    """What became of one layer.

    Attributes:
        name: in the network; once for every call.
        largest: the largest shift that was found in a channel's mean, before a fused activation.
        skipped: why the bias was left as it was; empty if it was corrected.
    """

    name: str
    largest: float
    skipped: str = ""


def channel_means(tensors: Iterable[Tensor], axis: int) -> Tensor:
    """Mean of each channel over several tensors, float64 ``[C]``; ``axis`` is the channels'."""
    total, count = torch.zeros(()), 0
    for tensor in tensors:
        others = [d for d in range(tensor.dim()) if d != axis % tensor.dim()]
        total = total + tensor.to(torch.float64).sum(others)
        count += tensor.numel() // tensor.shape[axis]
    return total / max(count, 1)


def correct_biases(
    qat: CapturedNetwork, batches: Iterable[Batch], original: fx.GraphModule | None = None
) -> tuple[Correction, ...]:
    """Subtract from each layer's bias what quantization adds to its outputs' means; changes ``qat`` in place.

    Example:
        >>> qtorch.calibrate(qat, [inputs])
        >>> correct_biases(qat, [inputs])
        >>> graph = integer_graph(qat)

    Layer by layer in the order of execution, each with all before it corrected: the mean over data and positions of the
    quantized sum of products, before an activation, less the float network's. Where a batch norm is
    folded into the layer, the shift goes to the batch norm's own bias, or through its factor to the layer's. Biases
    stay float parameters, rounded at export as any; one that is computed from others becomes a parameter of its own.

    A layer without a bias is skipped, with a reason: to give it one would make a network whose state dict another
    ``prepare`` of the same float network could not load. So is a bias that several calls share.

    Args:
        qat: from :func:`qtorch.prepare`, calibrated.
        batches: of float32 inputs; a few hundred samples say enough.
        original: a copy of ``qat`` made before another method changed its weights; ``qat`` itself if ``None``.

    Raises:
        BadConfiguration: ``qat`` was not calibrated, or there was no batch, or ``original`` is another network.
        NotFinite: a batch holds NaN or infinity.
    """
    corrections: list[Correction] = []

    def visit(layer: Layer) -> None:
        shift = _shift(layer)
        target, skipped = _target(qat, layer.op)
        if target is not None:
            target.sub_(shift / _factor(layer.op))
        corrections.append(Correction(layer.name, float(shift.abs().max()), skipped))

    run_side_by_side(qat, batches, visit, original, "correcting biases")
    return tuple(corrections)


def _shift(layer: Layer) -> Tensor:
    """Quantized less float mean of each channel before an activation, float64 ``[C]``."""
    # Its bias as it is, because the one that will be rounded is the corrected one.
    constants = {role: t for role, t in layer.op.constants.real().items() if role == "bias"}
    sides = (
        (layer.op, layer.op.constants.rounded() | constants, layer.inputs),
        (layer.original, layer.original.constants.real(), layer.original_inputs),
    )
    axis = 1 if layer.op.row.channels_last else -1
    quantized, real = (
        channel_means((op.compute((x,), constants, activation=False) for x in inputs), axis)
        for op, constants, inputs in sides
    )
    return quantized - real


def _target(qat: CapturedNetwork, op: QuantizedOp) -> tuple[Tensor | None, str]:
    """The parameter that a shift is taken from, or why there is none."""
    if op.norm is not None and op.norm.bias is not None:
        shared = sum(1 for m in qat.modules() if isinstance(m, QuantizedOp) and m.norm is op.norm) > 1
        return (None, "its batch norm is another layer's too") if shared else (op.norm.bias, "")
    bias, skipped = own_constant(qat, op, "bias")
    return (None if bias is None else op.constants.writable("bias")), skipped


def _factor(op: QuantizedOp) -> Tensor:
    """By what a folded batch norm multiplies the parameter that is corrected."""
    if op.norm is None or op.norm.bias is not None:
        return torch.ones(())
    return scaling(op.norm, 1, 0)
