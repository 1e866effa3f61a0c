"""A float network quantized by one call, without training."""

from __future__ import annotations

from torch import nn

from qtorch.capture.samples import Samples
from qtorch.config import QuantizationConfig
from qtorch.network.calibration import set_mode
from qtorch.network.quantized_network import QuantizedNetwork
from qtorch.network.quantizer import Mode
from qtorch.post_training.steps import PostTraining, quantize_after_training

__all__ = ["quantize"]


def quantize(
    net: nn.Module,
    calibration: Samples,
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
        calibration: inputs like those that it will see, float32 ``[N, ...]``, or a tuple of a network's several.
        config: how to quantize.
        equalize: even out the sizes of channels between layers.
        correct_biases: take the mean error of each layer's outputs off its biases.
        round_adaptively: choose for each weight whether it is rounded up or down (AdaRound).

    Returns:
        In evaluation, in EXACT mode.

    Raises:
        BadInput: the network can't be quantized, or the data are not its inputs.
    """
    steps = PostTraining(equalize, correct_biases, round_adaptively)
    network = quantize_after_training(net, calibration, config or QuantizationConfig(), steps)
    set_mode(network, Mode.EXACT)
    return network.eval()
