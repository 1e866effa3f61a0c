"""How the values of every quantized tensor are distributed: in float arithmetic, and as the device has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import fx

from export.graph.build import build
from export.graph.encoding import codes_of, stored
from export.graph.interpret import interpret
from export.graph.ir import Graph
from qtorch.capture.samples import Samples, taken

__all__ = ["Distribution", "distributions"]

_BINS = 24
_SAMPLES = 500
#: Numbers of a graph's tensors that are held at a time, all samples together.
_NUMBERS = 2_000_000


@dataclass(frozen=True)
class Distribution:
    """Counts over equal bins from ``low`` to ``high``, real units."""

    low: float
    high: float
    float_counts: tuple[int, ...]
    int8_counts: tuple[int, ...]


def distributions(
    network: fx.GraphModule, graph: Graph, x: Samples, input_layout: Literal["nhwc", "nchw"] = "nhwc"
) -> dict[str, Distribution]:
    """Of every quantized tensor of a graph that the float arithmetic has too, by name.

    Run-time tensors are those of the whole network on a few hundred samples: float weights in float arithmetic from
    the input on, against the integers.

    Args:
        network: prepared and calibrated.
        graph: what it became.
        x: float32 ``[N, ...]`` as the network reads it, or a tuple of its several inputs.
        input_layout: of the graph.
    """
    twin = build(network, "float32", input_layout)
    numbers = sum(value.elements for value in graph.running().values())
    samples = taken(x, slice(max(1, min(_SAMPLES, _NUMBERS // max(1, numbers)))))
    integers = interpret(graph, codes_of(graph, samples), every=True)
    floats = interpret(twin, stored(graph, samples), every=True)
    pairs = {each: (floats[each], integers[each]) for each in integers if each in floats}
    trained = twin.contents()
    pairs |= {each: (trained[each], codes) for each, codes in graph.contents().items() if each in trained}
    return {
        each: _distribution(wanted, qparams.unrounded(got), max(qparams.scale))
        for each, (wanted, got) in pairs.items()
        if (qparams := graph.values[each].qparams) is not None
    }


def _distribution(real: np.ndarray, quantized: np.ndarray, step: float) -> Distribution:
    both = [each.astype(np.float64).ravel() for each in (real, quantized)]
    low, high = (float(edge) for edge in (min(map(np.min, both)), max(map(np.max, both))))
    # A bin is a step at least: finer ones would show rounding as if it were another distribution.
    half = max((high - low) / 2, _BINS * step / 2)
    edges = np.linspace((low + high) / 2 - half, (low + high) / 2 + half, _BINS + 1)
    counts = [tuple(int(n) for n in np.histogram(each, edges)[0]) for each in both]
    return Distribution(float(edges[0]), float(edges[-1]), counts[0], counts[1])
