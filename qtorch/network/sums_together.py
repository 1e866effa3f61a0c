"""What the sums of all layers of a network are made with and rescaled by in one step, worked out side by side.

Scales of weights follow the weights, so all of it is worked out anew in every step of training. Of small layers that
takes longer than the sums. NumPy works it out: on so few numbers its calls take a fraction of PyTorch's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from qtorch.network.layer_constants import LayerConstants
from qtorch.network.parameter_memory import ParameterMemory
from qtorch.network.quantizer import Quantizer
from qtorch.network.read_once import ReadOnce
from qtorch.network.sum_constants import SumLayer
from qtorch.numbers.functional import SMALLEST_WEIGHT_SCALE
from qtorch.numbers.rescaling import ANY_FACTOR, ANY_SUM, leading_bits_
from qtorch.numbers.short_mantissa import round_up_short_
from qtorch.numbers.straight_through import Ends, Rule, in_one_piece
from qtorch.numbers.sum_figures import LearnedFigures, LinearFigures, SumFigures

__all__ = ["Together"]

#: Arrays, because NumPy takes twice as long to look at a Python number.
_HALF, _SMALLEST = np.array(0.5), np.array(SMALLEST_WEIGHT_SCALE, dtype=np.float32)


class _Layer(NamedTuple):
    """What stays of a layer while the grids of activations do.

    Attributes:
        constants: its own.
        channel_axis: of the weight.
        figures: in its part of the memory in which those of all layers are worked out.
        products: no sum of products is larger.
        roles: the constants whose arrays stay, behind each other; none where something is folded into them.
        learned: of figures of a linear layer of whose grids something is learned, with the share of its output's scale
            as long as that is what was learned; else ``None``.
    """

    constants: LayerConstants
    channel_axis: int
    figures: LinearFigures | SumFigures
    products: float
    roles: tuple[str, ...]
    learned: LearnedFigures | None


class Together:
    """The layers of a network whose figures are worked out side by side, in memory that stays.

    Args:
        layers: each one that it :meth:`takes`.
    """

    def __init__(self, layers: Sequence[SumLayer]) -> None:
        self.layers = tuple(layers)
        self._quantizers = [quantizer for each in layers for quantizer in (each.sources["input"], each.output)]
        self._grids = tuple(dict.fromkeys(self._quantizers))
        self._read = ReadOnce()
        self._plain = [each.constants for each in layers if each.constants.taken_as_they_are]
        self._folded = [each.constants for each in layers if not each.constants.taken_as_they_are]
        self.look()

    def look(self) -> None:
        """Look where the parameters are now, of layers that it :meth:`takes_now`."""
        places = [(each.holder._parameters, role) for each in self._plain for role in each.roles]
        self._memory = ParameterMemory(places)

    def stays(self) -> bool:
        """Whether parameters and grids are where they were, so that every layer can be taken for another call."""
        if any(each.observing for each in self._grids) or not self._memory.stays():
            return False
        return all(each.on_cpu_in_float32() for each in self._folded)

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
        ends_of_outputs = [each.output.ends(each.attrs["activation"]) for each in self.layers]
        self._no_bias = [np.zeros(count, dtype=np.float32) for count in counts]
        # Where each layer begins among all channels, and each channel among all weights.
        self._places = np.cumsum(counts) - np.array(counts)
        rows = np.repeat([size // count for size, count in zip(sizes, counts, strict=True)], counts)
        self._channels = np.cumsum(rows) - rows
        total, ends = sum(counts), np.cumsum(sizes).tolist()
        self._weights, self._magnitudes = (np.empty(sum(sizes), dtype=np.float32) for _ in range(2))
        self._scale, self._unit, self._codes = (np.empty(total, dtype=np.float32) for _ in range(3))
        short = [each.weight_grid is not None and each.weight_grid.short for each in own]
        # Such a layer has one channel.
        self._short = [self._scale[place : place + 1].view(np.int32) for place in self._places[short].tolist()]
        self._bias, self._factor, self._inner = (np.empty(total, dtype=np.float64) for _ in range(3))
        self._bits = self._factor.view(np.int64)
        memory = self._scale, self._codes, self._factor, self._inner
        parts = zip(*(torch.from_numpy(each).split(counts) for each in memory), strict=True)
        layers = []
        for layer, part, source, output, held, size, end in zip(
            self.layers, parts, sources, outputs, ends_of_outputs, sizes, ends, strict=True
        ):
            constants, sums = layer.constants, SumFigures(*part)
            figures: LinearFigures | SumFigures = sums
            if layer.is_linear and not held.moving and _learns_in_one_piece(layer.output, held):
                weight = self._weights[end - size : end].reshape(constants.channels, -1)
                figures = LinearFigures.of(sums, weight, source, output, held)
            roles = constants.roles if constants.taken_as_they_are else ()
            products = constants.largest_products
            learned = _learned(layer, held) if isinstance(figures, LinearFigures) else None
            layers.append(_Layer(constants, constants.channel_axis, figures, products, roles, learned))
        self._all: list[LinearFigures | SumFigures | None] = [each.figures for each in layers]
        self._any_learned = any(each.learned is not None for each in layers)
        largest = max(each.products for each in layers)
        # Of the biases' codes: as long as they are no longer than this, no sum asks for more than a look at all.
        self._room = max(ANY_FACTOR[31] - largest, 0.0) ** 2 * (1 - 2.0**-20)
        self._learned = [
            (each, slice(start, start + count))
            for each, start, count in zip(own, self._places.tolist(), counts, strict=True)
            if each.learned_scale is not None
        ]
        return layers

    def _read_steps(self) -> tuple[list[float], list[float]]:
        """The scales of what comes in and goes out, by layer; and set those of all channels."""
        sources, outputs = self._steps = (
            [each.step for each in self._quantizers[::2]],
            [each.step for each in self._quantizers[1::2]],
        )
        self._source64 = np.repeat(sources, self._counts)
        self._source, self._output64 = self._source64.astype(np.float32), np.repeat(outputs, self._counts)
        # Of weights, squared; with these everything stays far below what float32 holds.
        self._most = (2.0**60 * min(1.0, *outputs) / max(1.0, *sources)) ** 2
        return sources, outputs

    def compute(self) -> list[LinearFigures | SumFigures | None]:
        """Of each layer, until the next call; ``None`` of one that has to be looked at by itself."""
        # Anew only when a grid of the activations has changed.
        layers = self._read(tuple([each.measured for each in self._grids]), "layers", self._prepare)
        if not self._work_out(layers):
            return [None] * len(layers)
        figures = self._all
        if self._any_learned:
            figures = [
                each.figures if each.learned is None else _with_learned(each.figures, each.learned, layer, *steps)
                for each, layer, *steps in zip(layers, self.layers, *self._steps, strict=True)
            ]
        if self._length < self._room:
            return figures
        biases = np.maximum.reduceat(np.abs(self._bias), self._places).tolist()
        factors = np.minimum.reduceat(self._factor, self._places).tolist()
        return [
            # Sums as small as these leave no bias that would have widened the scale.
            of_layer if _is_exact(each.products + bias, factor) else None
            for each, of_layer, bias, factor in zip(layers, figures, biases, factors, strict=True)
        ]

    def _work_out(self, layers: Sequence[_Layer]) -> bool:
        """Fill the memory of all layers.

        False where a scale of any is no number or too large, or too small to be the one that was learned.
        """
        weights, biases, arrays = [], [], iter(self._memory.arrays)
        for layer, none in zip(layers, self._no_bias, strict=True):
            real: Mapping[str, Any]
            if layer.roles:
                real = {role: next(arrays) for role in layer.roles}
            else:
                real = {role: each.numpy() for role, each in layer.constants.real().items()}
            weight = real["weight"]
            weights.append((weight if not layer.channel_axis else np.moveaxis(weight, layer.channel_axis, 0)).ravel())
            biases.append(real.get("bias", none))
        scale, unit, bias, factor = self._scale, self._unit, self._bias, self._factor
        np.concatenate(weights, out=self._weights)
        np.abs(self._weights, out=self._magnitudes)
        np.maximum.reduceat(self._magnitudes, self._channels, out=scale)
        np.divide(scale, self._limit, out=scale)
        if self._learn:
            self._read_steps()
        for constants, here in self._learned:
            assert constants.weight_grid is not None
            assert constants.learned_scale is not None
            scale[here] = constants.weight_grid.wanted(constants.learned_scale).numpy()
        if not float(scale.dot(scale)) < self._most or (self._learned and scale.min() < SMALLEST_WEIGHT_SCALE):
            return False
        np.maximum(scale, _SMALLEST, out=scale)
        for short in self._short:
            round_up_short_(short)
        np.concatenate(biases, out=bias)
        np.multiply(scale, self._source, out=unit)
        np.divide(bias, unit, out=bias)
        np.rint(bias, out=bias)
        # Larger ones are not read, and may be more than float32 holds.
        self._length = bias.dot(bias)
        self._codes[:] = bias if self._length < 2.0**48 else np.minimum(np.maximum(bias, -(2.0**24)), 2.0**24)
        np.multiply(scale, self._source64, out=factor)
        np.divide(factor, self._output64, out=factor)
        np.fmod(leading_bits_(self._bits).view(np.float64), _HALF, out=self._inner)
        return True


def _learns_in_one_piece(output: Quantizer, ends: Ends) -> bool:
    """Whether what is learned of a linear layer's output is what :class:`LearnedFigures` says."""
    rule = Rule("clipped", output.learned if output.learned != "measured" else "")
    return not rule.learned or in_one_piece(rule, output.learns_zero, ends)


def _learned(layer: SumLayer, ends: Ends) -> LearnedFigures | None:
    output, constants = layer.output, layer.constants
    grid, learns = constants.weight_grid if constants.learned_scale is not None else None, output.learned != "measured"
    if grid is None and not learns and layer.sources["input"].learned == "measured":
        return None
    limit = None if grid is None else np.array(grid.limit, dtype=np.float32)
    of_weight = 0.0 if grid is None else grid.share(constants.own()["weight"].shape[1])
    kind, share = (output.learned, float(output.share(constants.channels))) if learns else ("", 0.0)
    return LearnedFigures(limit, of_weight, kind, share, ends.rectifies)


def _with_learned(
    figures: LinearFigures | SumFigures, learned: LearnedFigures, layer: SumLayer, source: float, output: float
) -> LinearFigures | SumFigures:
    """Those of a layer with the grids as they are learned by now; the sums' alone where those can't be read at once."""
    assert isinstance(figures, LinearFigures)
    if learned.kind:
        now = layer.output.learned_scale.now
        if now is None or now.number is None:
            return figures.sums
        learned = learned if now.free else learned._replace(share=0.0)
    ends = layer.output.ends(layer.attrs["activation"])
    return figures.sums if ends.moving else figures.with_grids(source, output, ends, learned)


def _is_exact(largest: float, factor: float) -> bool:
    """Whether float32 holds sums up to ``largest``, and :func:`qtorch.numbers.rescaling.rescale` is exact for them."""
    return largest < 2.0**24 and (largest < ANY_FACTOR[31] or factor >= ANY_SUM)
