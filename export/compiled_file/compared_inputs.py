"""The inputs that everything is compared on: given ones, corners of the input box, random ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from export.compiled_file.model_in_file import ModelInFile
from export.cost.macs import all_multiply_accumulates
from export.graph.ir import Graph
from export.parity.outputs import corner_codes
from export.parity.reference import interpreted

__all__ = ["ComparedInputs", "compared_inputs"]

#: Drawn inputs, at least and at most; and multiply-accumulates of all of them together, which take TFLite Micro's
#: reference kernels some seconds.
_FEWEST, _MOST, _WORK = 64, 10_000, 2e9
#: Operators of all runs of a network with states together: its runs follow each other, so that the reference computes
#: none of them at once with others.
_OPERATORS_IN_SEQUENCE = 20_000


@dataclass(frozen=True)
class ComparedInputs:
    """Samples, and what the integers make of them.

    Attributes:
        given: how many were handed over; they stand first.
        outer: for each input of the file, as that takes it, ``[N, *shape[1:]]``.
        codes: the same as the integers between float ends get them.
        outer_outputs: the file's outputs, computed by the reference.
        outputs: the codes of the outputs.
    """

    given: int
    outer: tuple[np.ndarray, ...]
    codes: tuple[np.ndarray, ...]
    outer_outputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]

    def runs(self, model: ModelInFile) -> int:
        """How often the network runs, which takes some rows of each input."""
        return len(self.codes[0]) // model.core.values[model.core.inputs[0]].rows


def compared_inputs(
    model: ModelInFile, given: tuple[np.ndarray, ...] | None, samples: int | None = None
) -> ComparedInputs:
    """Draw inputs, and compute the reference's outputs.

    Args:
        model: in the file.
        given: inputs as the file takes them, if there are any.
        samples: drawn inputs; ``None``: as many as take some seconds.
    """
    drawn = _outer(model, _drawn_codes(model.core, samples or _affordable(model.core)))
    outer = drawn if given is None else tuple(np.concatenate(pair) for pair in zip(given, drawn, strict=True))
    graph, core = model.graph, model.core
    wanted = tuple(dict.fromkeys((*graph.outputs, *core.inputs, *core.outputs)))
    found = interpreted(replace(graph, outputs=wanted), outer, where=model.where)
    taken = dict(zip(graph.inputs, outer, strict=True))
    found = {**taken, **found}
    return ComparedInputs(
        0 if given is None else len(given[0]) // graph.values[graph.inputs[0]].rows,
        outer,
        tuple(found[name] for name in core.inputs),
        tuple(found[name] for name in graph.outputs),
        tuple(found[name] for name in core.outputs),
    )


def _affordable(graph: Graph) -> int:
    most = _OPERATORS_IN_SEQUENCE // max(1, len(graph.nodes)) if graph.states else _MOST
    return int(max(_FEWEST, min(most, _MOST, _WORK / max(1, all_multiply_accumulates(graph)))))


def _drawn_codes(graph: Graph, count: int) -> tuple[np.ndarray, ...]:
    """Half of them corners, where there are as many; every code of a lone one."""
    codes = corner_codes(graph, count)
    if len(codes[0]) <= count:
        return codes
    batches = [graph.values[name].rows for name in graph.inputs]
    whole = len(codes[0]) // batches[0]
    corners = whole - count
    if corners <= 0:
        return codes
    some = min(corners, count // 2)
    picked = np.concatenate([np.linspace(0, corners - 1, some).astype(int), np.arange(corners, whole - some)])
    return tuple(
        array.reshape(whole, batch, *array.shape[1:])[picked].reshape(-1, *array.shape[1:])
        for array, batch in zip(codes, batches, strict=True)
    )


def _outer(model: ModelInFile, codes: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Codes as the file takes them: of a float input the numbers, off the grid, so that QUANTIZE rounds."""
    rng, arrays = np.random.default_rng(0), []
    for outer, inner, array in zip(model.graph.inputs, model.core.inputs, codes, strict=True):
        if model.graph.values[outer].qparams is not None:
            arrays.append(array)
            continue
        value = model.core.values[inner]
        off = np.float32(value.quantization.scale[0]) * rng.uniform(-0.5, 0.5, array.shape).astype(np.float32)
        arrays.append(value.dequantize(array) + off)
    return tuple(arrays)
