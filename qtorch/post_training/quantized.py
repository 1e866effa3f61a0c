"""A float network quantized by one call, without training."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from qtorch.arguments import spelt
from qtorch.config import QuantizationConfig, require_config
from qtorch.handed_over.data import data_of
from qtorch.handed_over.network_copy import network_copy
from qtorch.network.calibration import set_mode
from qtorch.network.mode import Mode
from qtorch.network.quantized_network import QuantizedNetwork
from qtorch.post_training.steps import PostTraining, quantize_after_training
from qtorch.preparation.prepare import unwrapped

__all__ = ["quantize"]


@spelt()
def quantize(
    net: nn.Module,
    calibration: Any,
    config: QuantizationConfig | None = None,
    *,
    equalize: bool = False,
    correct_biases: bool = False,
    round_adaptively: bool = False,
) -> QuantizedNetwork:
    """A network whose numbers are the device's, of a float one that is trained; ``net`` stays as it was.

    Example:
        >>> int8 = qtorch.quantize(net, x)
        >>> codes_as_numbers = int8(x_test)  # bit for bit what TFLite Micro computes

    Args:
        net: float, trained.
        calibration: inputs like those that it will see: a tensor, an array, a tuple of a network's several, a list of
            batches, a DataLoader; targets in it are not looked at.
        config: how to quantize.
        equalize: even out the sizes of channels between layers.
        correct_biases: take the mean error of each layer's outputs off its biases.
        round_adaptively: choose for each weight whether it is rounded up or down (AdaRound).

    Returns:
        Quantized, in evaluation, on the CPU.

    Raises:
        UnknownArgument: an argument is unknown, or one is missing; names the nearest.
        BadInput: the network can't be quantized, or the data are not its inputs.

    Warns:
        UserWarning: ``forward`` has a place for what was taken for targets, or data stop before their end.
    """
    config = require_config(config)
    float_network = network_copy("net", unwrapped(net))
    data = data_of("calibration", calibration, float_network)
    if data.remark:
        warnings.warn(data.remark, UserWarning, stacklevel=3)
    steps = PostTraining(equalize, correct_biases, round_adaptively)
    network = quantize_after_training(float_network, data.inputs, config, steps)
    set_mode(network, Mode.QUANTIZED)
    return network.eval()
