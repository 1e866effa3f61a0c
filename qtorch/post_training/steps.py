"""A float network quantized without training: which steps, and in which order."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import nn

from qtorch.capture.samples import Samples, chunks, taken
from qtorch.config import QuantizationConfig
from qtorch.network.calibration import calibrate
from qtorch.network.quantized_network import QuantizedNetwork
from qtorch.post_training import correct_biases, equalize, fold_batch_norms, round_adaptively
from qtorch.preparation.prepare import prepare

__all__ = ["PostTraining", "quantize_after_training"]

#: Samples at a time, and how many of the calibration data the slower steps look at.
_CHUNK, _ENOUGH = 256, 1024


@dataclass(frozen=True)
class PostTraining:
    """Steps beside calibration; see :mod:`qtorch.post_training`.

    Attributes:
        equalize: ranges of neighbouring layers, channel by channel.
        correct_biases: take out the mean error of each layer's outputs.
        round_adaptively: learn whether each weight is rounded up or down (AdaRound).
    """

    equalize: bool = False
    correct_biases: bool = False
    round_adaptively: bool = False


def quantize_after_training(
    net: nn.Module,
    inputs: Samples,
    config: QuantizationConfig,
    steps: PostTraining = PostTraining(),
    example: Samples | None = None,
) -> QuantizedNetwork:
    """A calibrated network, ready for :func:`export.graph.build.integer_graph`. ``net`` is left as it was.

    Args:
        net: float, in evaluation.
        inputs: float32 ``[N, ...]``, or a tuple of a network's several, like those that the network will see.
        config: how to quantize; learned scales are measured, because nothing trains.
        steps: what to do beside calibrating.
        example: an input batch of one; the first of ``inputs`` if ``None``.

    Raises:
        BadInput: see the steps' own functions.
    """
    example = taken(inputs, slice(1)) if example is None else example
    config = replace(config, scales="measured")
    if steps.round_adaptively:
        net = fold_batch_norms(net, example)
    if steps.equalize:
        net = equalize(net, example)
    batches = tuple(chunks(inputs, _CHUNK))
    # Copies, because a prepared network may share its weights with the one that it was made of.
    qat = prepare(copy.deepcopy(net), example, config).eval()
    calibrate(qat, batches)
    some = [batch for batch, _ in zip(batches, range(_ENOUGH // _CHUNK), strict=False)]
    with torch.random.fork_rng():
        original = None
        if steps.round_adaptively and steps.correct_biases:
            original = prepare(copy.deepcopy(net), example, config).eval()
            calibrate(original, batches)
        if steps.round_adaptively:
            round_adaptively(qat, some)
        if steps.correct_biases:
            correct_biases(qat, some, original)
    qat.say_post_training()
    return qat
