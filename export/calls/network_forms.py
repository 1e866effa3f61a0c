"""The network of a call, in whatever state it is handed over: copied, so that it stays as it is, to the CPU."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel

from qtorch.config import require_config
from qtorch.errors import BadConfiguration
from qtorch.handed_over.network_copy import network_copy, require_float32
from qtorch.handed_over.words import shown
from qtorch.network.calibration import quantizers
from qtorch.network.quantized_network import QuantizedNetwork
from qtorch.preparation.prepare import unwrapped

__all__ = ["copied", "network_of_call"]


def network_of_call(network: Any, float_network: Any, config: Any) -> nn.Module:
    """A copy of what is exported, on the CPU and in evaluation, out of whatever wraps it.

    Args:
        network: as it was handed over.
        float_network: beside it.
        config: how to quantize a float network.

    Raises:
        BadConfiguration: it is no network, or one in another precision than float32; only part of it was prepared, its
            ranges were never measured; or what belongs to the other kind of network was handed over beside it.
    """
    bare = _bare("network", network)
    require_config(config)
    if isinstance(bare, QuantizedNetwork):
        if not bare.calibrated:
            raise BadConfiguration(
                where="network", expected="a network with a calibrated range for every tensor",
                got="ranges that were never measured",
                remedy="call qtorch.calibrate(network, batches), then train it with quantization",
            )  # fmt: skip
        if config is not None:
            raise BadConfiguration(
                where="config", expected="None beside a prepared network, which says how it is quantized",
                got=shown(config), remedy="leave it out, or pass the float network",
            )  # fmt: skip
        return copied("network", bare)
    inside = [name for name, each in bare.named_modules() if isinstance(each, QuantizedNetwork)]
    if inside or quantizers(bare):
        raise BadConfiguration(
            where="network", expected="the prepared network itself, or a float one",
            got=f"{type(bare).__name__} with quantizers in it",
            remedy=f"pass its part {inside[0]!r}" if inside else "pass what qtorch.prepare gave",
        )  # fmt: skip
    if float_network is not None:
        raise BadConfiguration(
            where="float_network", expected="None beside a network that was not prepared",
            got=shown(type(float_network).__name__), remedy="pass the prepared network as network, or leave it out",
        )  # fmt: skip
    require_float32("network", bare)
    return copied("network", bare)


def _bare(where: str, network: Any) -> nn.Module:
    if not isinstance(network, nn.Module):
        raise BadConfiguration(
            where=where, expected="a module: prepared, or in float", got=shown(network),
            remedy="pass what qtorch.prepare or qtorch.quantize gave, or the float network",
        )  # fmt: skip
    while True:
        inside = network.module if isinstance(network, AveragedModel) else unwrapped(network)
        if inside is network:
            return network
        network = inside


def copied(where: str, network: nn.Module) -> nn.Module:
    """A copy on the CPU, in evaluation.

    Raises:
        BadConfiguration: it can't be copied.
    """
    return network_copy(where, _bare(where, network))
