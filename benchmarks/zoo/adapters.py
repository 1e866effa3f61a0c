"""The few networks that take more than a call to build, and those that speak in more than tensors."""

from __future__ import annotations

import random
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["OneTensor", "sampled_resnet", "yolo_without_decoding"]


class OneTensor(nn.Module):
    """A network of one input that is handed over by name, and of one output that is part of what it returns.

    Args:
        network: any.
        takes: the argument that the input is; the first if empty.
        gives: the key or attribute that is the output; all that is returned if empty.
    """

    def __init__(self, network: nn.Module, takes: str, gives: str) -> None:
        super().__init__()
        self.network, self.takes, self.gives = network, takes, gives

    def forward(self, x: Tensor) -> Any:
        """Of ``network``, the part that was asked for."""
        given = self.network(**{self.takes: x}) if self.takes else self.network(x)
        return given[self.gives] if self.gives else given


def sampled_resnet() -> nn.Module:
    """One network out of Once-for-all's space of ResNets, always the same."""
    random.seed(3)
    space = import_module("ofa.imagenet_classification.elastic_nn.networks").OFAResNets(
        n_classes=10, width_mult_list=[0.65], expand_ratio_list=[0.2, 0.25], depth_list=[0, 1]
    )
    space.sample_active_subnet()
    sampled: nn.Module = space.get_active_subnet(preserve_weight=True)
    return sampled


def yolo_without_decoding(file: str, **options: Any) -> nn.Module:
    """A detector up to what its last convolutions say of each place, which a device's program decodes.

    Args:
        file: ultralytics' own description of the network.
        options: of ``DetectionModel``.
    """
    detect: type[nn.Module] = import_module("ultralytics.nn.modules.head").Detect

    class Undecoded(detect):  # type: ignore[misc, valid-type]
        def forward(self, levels: list[Tensor]) -> tuple[Tensor, ...]:
            convolutions = zip(self.cv2, self.cv3, levels, strict=True)
            return tuple(torch.cat((boxes(x), classes(x)), 1) for boxes, classes, x in convolutions)

    network: nn.Module = import_module("ultralytics.nn.tasks").DetectionModel(file, **options)
    network.model[-1].__class__ = Undecoded  # type: ignore[index]
    return network
