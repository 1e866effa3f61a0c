"""Quantization-aware training whose numbers are the device's numbers.

``prepare`` a plain ``nn.Module``, ``calibrate`` it on data, ``set_mode`` to QUANTIZED, train, the last part with frozen
batch norms, and hand it to ``export``; ``quantize`` does without training. Training loops for Lightning stand in
:mod:`qtorch.lightning`, which this package does not import.
"""

from qtorch.config import LayerConfig, QuantizationConfig
from qtorch.features import Feature, Interface
from qtorch.network.calibration import (
    Saturation,
    calibrate,
    freeze_batch_norm,
    in_mode,
    quantizers,
    saturation,
    set_mode,
)
from qtorch.network.mode import Mode
from qtorch.network.quantized_network import QuantizedNetwork
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer
from qtorch.network.training_check import checked_training
from qtorch.normalization import Normalization
from qtorch.numbers.qparams import QParams
from qtorch.ops import register
from qtorch.post_training.quantized import quantize
from qtorch.preparation.prepare import prepare

#: Of the distribution, ``qtorch-tflm``.
__version__ = "0.2.0"

__all__ = [
    "Feature",
    "Interface",
    "LayerConfig",
    "Mode",
    "Normalization",
    "QParams",
    "QuantizationConfig",
    "QuantizedNetwork",
    "QuantizedOp",
    "Quantizer",
    "Saturation",
    "calibrate",
    "checked_training",
    "freeze_batch_norm",
    "in_mode",
    "prepare",
    "quantize",
    "quantizers",
    "register",
    "saturation",
    "set_mode",
]


def __dir__() -> list[str]:
    """Public names and those of Python itself: rooms are nobody's."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
