"""What the sums of all layers of a network are made with and rescaled by in one step, worked out side by side.

Scales of weights follow the weights, so all of it is worked out anew in every step of training. Of small layers that
takes longer than the sums. NumPy works it out: on so few numbers its calls take a fraction of PyTorch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from qtorch.network.layer_constants import LayerConstants
from qtorch.network.read_once import ReadOnce
from qtorch.network.sum_constants import SumLayer
from qtorch.numbers.functional import SMALLEST_WEIGHT_SCALE
from qtorch.numbers.rescaling import is_exact, leading_bits_
from qtorch.numbers.short_mantissa import round_up_short_
from qtorch.numbers.sum_figures import LinearFigures, SumFigures

__all__ = ["Together"]


class _Layer(NamedTuple):
    """What stays of a layer while the grids of activations do.

    Attributes:
        constants: its own.
        channel_axis: of the weight.
        figures: in its part of the memory in which those of all layers are worked out.
        factor: of them.
        products: no sum of products is larger.
    """

    constants: LayerConstants
    channel_axis: int
    figures: LinearFigures | SumFigures
    factor: Tensor
    products: float


class Together:
    """The layers of a network whose figures are worked out side by side, in memory that stays.

    Args:
        layers: each one that it :meth:`takes`.
    """

    def __init__(self, layers: Sequence[SumLayer]) -> None:
        self.layers = tuple(layers)
        self._quantizers = [quantizer for each in layers for quantizer in (each.sources["input"], each.output)]
        self._read = ReadOnce()

    @staticmethod
    def takes(layer: SumLayer) -> bool:
        """Whether a layer has int8 activations, and a scale of the weight per channel that covers it or is learned."""
        grid, source, output = layer.constants.weight_grid, layer.sources["input"], layer.output
        if grid is None or grid.axis is None or source.dtype != "int8" or output.dtype != "int8":
            return False
        return grid.covering or (layer.constants.learned_scale is not None and not grid.pinned)

    @staticmethod
    def takes_now(layer: SumLayer) -> bool:
        """Whether one that it takes is on a CPU, keeps its grids in this step, and computes with what it has."""
        follows = layer.sources["input"].follows or layer.output.follows
        return not follows and layer.constants.on_cpu_in_float32()

    def _prepare(self) -> list[_Layer]:
        """Set memory aside, and work out what depends on activations alone."""
        own = [each.constants for each in self.layers]
        counts, sizes = [each.channels for each in own], [each.own()["weight"].numel() for each in own]

        def by_channel(numbers: Sequence[float], dtype: type) -> Any:
            return np.repeat(np.array(numbers, dtype=dtype), counts)

        self._counts = counts
        sources, outputs = self._read_steps()
        self._limit = by_channel([each.weight_limit for each in own], np.float32)
        self._learn = any(each.learned != "measured" for each in self._quantizers)
        ends = [each.output.ends(each.attrs["activation"]) for each in self.layers]
        self._no_bias = [np.zeros(count, dtype=np.float32) for count in counts]
        # Where each layer begins among all channels, and each channel among all weights.
        self._places = np.cumsum(counts) - np.array(counts)
        rows = np.repeat([size // count for size, count in zip(sizes, counts, strict=True)], counts)
        self._channels = np.cumsum(rows) - rows
        self._short = np.flatnonzero(
            by_channel([each.weight_grid is not None and each.weight_grid.short for each in own], bool)
        )
        self._weights, total = np.empty(sum(sizes), dtype=np.float32), sum(counts)
        self._scale, self._unit, self._codes = (np.empty(total, dtype=np.float32) for _ in range(3))
        self._bias, self._factor, self._inner = (np.empty(total, dtype=np.float64) for _ in range(3))
        memory = self._scale, self._codes, self._factor, self._inner
        parts = zip(*(torch.from_numpy(each).split(counts) for each in memory), strict=True)
        layers = []
        for layer, part, source, output, held in zip(self.layers, parts, sources, outputs, ends, strict=True):
            constants, sums = layer.constants, SumFigures(*part)
            _, bias, factor, inner = arrays = [each.numpy() for each in sums]
            linear = LinearFigures(sums, arrays[0][:, None], bias, factor, inner, source / output, 1 / output, held)
            scales = layer.sources["input"].learned, layer.output.learned
            # Numbers that stay while the grids of activations do.
            stay = scales == ("measured", "measured") and constants.learned_scale is None
            figures = linear if layer.is_linear and stay else sums
            products = constants.largest_products
            layers.append(_Layer(constants, constants.channel_axis, figures, sums.factor, products))
        self._learned = [
            (each, slice(start, start + count))
            for each, start, count in zip(own, self._places.tolist(), counts, strict=True)
            if each.learned_scale is not None
        ]
        return layers

    def _read_steps(self) -> tuple[list[float], list[float]]:
        """The scales of what comes in and goes out, by layer; and set those of all channels."""
        sources, outputs = ([each.step for each in self._quantizers[start::2]] for start in (0, 1))
        self._source64 = np.repeat(sources, self._counts)
        self._source, self._output64 = self._source64.astype(np.float32), np.repeat(outputs, self._counts)
        # Of weights; with these everything stays far below what float32 holds.
        self._most = 2.0**60 * min(1.0, *outputs) / max(1.0, *sources)
        return sources, outputs

    def compute(self) -> list[LinearFigures | SumFigures | None]:
        """Of each layer, until the next call; ``None`` of one that has to be looked at by itself."""
        # Anew only when a grid of the activations has changed.
        layers = self._read(tuple([quantizer.measured for quantizer in self._quantizers]), "layers", self._prepare)
        biases = self._work_out(layers)
        return [
            # Sums as small as these leave no bias that would have widened the scale.
            each.figures if each.products + bias < 2.0**24 and is_exact(each.products + bias, each.factor, 31) else None
            for each, bias in zip(layers, biases, strict=True)
        ]

    def _work_out(self, layers: Sequence[_Layer]) -> list[float]:
        """Fill the memory of all layers; the largest bias of each, in units of its sums.

        Infinite where a scale of any is no number or too large, or too small to be the one that was learned.
        """
        folded = [each.constants.real() for each in layers]
        numbers = [_by_channel(each["weight"], layer.channel_axis) for each, layer in zip(folded, layers, strict=True)]
        weights, scale, unit, bias, factor = self._weights, self._scale, self._unit, self._bias, self._factor
        np.concatenate(numbers, out=weights)
        np.abs(weights, out=weights)
        np.maximum.reduceat(weights, self._channels, out=scale)
        np.divide(scale, self._limit, out=scale)
        if self._learn:
            self._read_steps()
        for constants, here in self._learned:
            assert constants.weight_grid is not None
            assert constants.learned_scale is not None
            scale[here] = constants.weight_grid.wanted(constants.learned_scale).numpy()
        if not np.maximum.reduce(scale) < self._most or (self._learned and scale.min() < SMALLEST_WEIGHT_SCALE):
            return [np.inf] * len(layers)
        np.maximum(scale, SMALLEST_WEIGHT_SCALE, out=scale)
        if len(self._short):
            short = scale[self._short]
            round_up_short_(short)
            scale[self._short] = short
        biases = [
            each["bias"].numpy() if "bias" in each else none for each, none in zip(folded, self._no_bias, strict=True)
        ]
        np.concatenate(biases, out=bias)
        np.multiply(scale, self._source, out=unit)
        np.divide(bias, unit, out=bias)
        np.rint(bias, out=bias)
        largest: list[float] = np.maximum.reduceat(np.abs(bias), self._places).tolist()
        # Larger ones are not read, and may be more than float32 holds.
        self._codes[:] = bias if max(largest) < 2.0**24 else np.minimum(np.maximum(bias, -(2.0**24)), 2.0**24)
        np.multiply(scale, self._source64, out=factor)
        np.divide(factor, self._output64, out=factor)
        np.fmod(leading_bits_(factor.view(np.int64)).view(np.float64), 0.5, out=self._inner)
        return largest


def _by_channel(weight: Tensor, axis: int) -> Any:
    """A weight's numbers in a row, those of one channel beside each other."""
    return (weight.movedim(axis, 0) if axis else weight).numpy().reshape(-1)
