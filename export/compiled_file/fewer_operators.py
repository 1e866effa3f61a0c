"""What a file computes, in fewer operators: the C, and the file that is written again, are of that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from export.c.network import c_network
from export.compiled_file.model_in_file import ModelInFile
from export.compiled_file.request import Request
from export.graph.integer_core import integer_core
from export.graph.passes.foreign.simplified import saved, simplified
from export.tflite.writer import write_tflite
from qtorch.errors import BadInput

__all__ = ["fewer_operators", "saved_figures", "saved_in_words"]


def fewer_operators(model: ModelInFile) -> ModelInFile:
    """The same integers; operators that the file does not have, or that stand for several of it, have no number.

    Args:
        model: as the file has it.
    """
    graph = simplified(model.graph)
    return replace(model, graph=graph, core=integer_core(graph))


def saved_figures(before: ModelInFile, after: ModelInFile, request: Request, written: bool) -> dict[str, Any]:
    """What :func:`fewer_operators` saved, for ``metrics.json``; empty where that is nothing.

    Args:
        before: as the file has it.
        after: with fewer operators.
        request: for whose processor the C is.
        written: whether the file is written again.
    """
    operators = saved(before.graph, after.graph)
    if not operators:
        return {}
    cpu, optimize = request.target.cpu, request.optimize
    figures: dict[str, Any] = {"operators": operators}
    try:
        peaks = [c_network(model.core, cpu, optimize).plan.peak for model in (before, after)]
        figures["scratch_bytes"] = peaks[0] - peaks[1]
        if written:
            sizes = [len(write_tflite(model.graph)) for model in (before, after)]
            figures["tflite_bytes"] = sizes[0] - sizes[1]
    except (BadInput, NotImplementedError):
        # The longer form has no C, or can't be written: nothing to compare with.
        pass
    return figures


def saved_in_words(figures: dict[str, Any]) -> str:
    """One line of :func:`saved_figures`."""
    sizes = {"tflite_bytes": "the file", "scratch_bytes": "the working memory of the C"}
    smaller = [f"{what} {figures[each]:,} bytes smaller" for each, what in sizes.items() if figures.get(each, 0) > 0]
    return "; ".join([f"the same integers with {figures['operators']}", *smaller])
