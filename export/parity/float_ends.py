"""Graphs of integers behind float32 inputs and outputs: what they are fed, and that the device equals the reference."""

from __future__ import annotations

import numpy as np

from export.engines import Engine
from export.graph.ir import Graph
from export.parity.reference import interpreted
from qtorch.errors import ParityError

__all__ = ["codes_behind", "fed", "float_outputs_parity"]


def codes_behind(graph: Graph) -> tuple[str, ...] | None:
    """The tensors of codes that QUANTIZE makes of the float inputs, and the other inputs themselves.

    ``None`` if no input is float, or another op reads one, or none does.
    """
    found = tuple(code for name in graph.inputs if (code := _codes(graph, name)) is not None)
    return found if len(found) == len(graph.inputs) and found != graph.inputs else None


def fed(graph: Graph, codes: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Codes of each input as the graph takes them: where it is float32, the numbers of which QUANTIZE makes them."""
    arrays = []
    for name, array in zip(graph.inputs, codes, strict=True):
        behind = _codes(graph, name)
        arrays.append(array if behind in (name, None) else graph.values[behind].dequantize(array))
    return tuple(arrays)


def _codes(graph: Graph, name: str) -> str | None:
    """The input of that name if it has codes, or else the tensor of those that QUANTIZE makes of it."""
    if graph.values[name].qparams is not None:
        return name
    reader = next((node for node in graph.nodes if name in node.inputs), None)
    return reader.output if reader is not None and reader.op == "quantize" else None


def float_outputs_parity(
    graph: Graph, model: bytes, inputs: tuple[np.ndarray, ...], words: str, engine: Engine
) -> None:
    """An engine's outputs against the integer reference's, exactly.

    Args:
        graph: with float32 ends and no op that computes in float.
        model: its file.
        inputs: float32 samples of each input, ``[N, *shape[1:]]``.
        words: what differs in an error, with ``{wrong}`` for how many outputs.
        engine: that computes what the reference does, see :func:`export.parity.judges.exact_judge`.

    Raises:
        ParityError: an output differs.
    """
    expected = interpreted(graph, inputs)
    got = engine.run(model, inputs)
    wrong = sum(int((g != expected[name]).sum()) for g, name in zip(got, graph.outputs, strict=True))
    if wrong:
        raise ParityError(f"{engine.name} differs from the {words.format(wrong=wrong)}")
