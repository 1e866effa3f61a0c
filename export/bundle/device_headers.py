"""The headers that firmware includes: the model's bytes, its scaling, its ops, its arena, and vectors to test it by.

Which of them an export has and with what figures; how each is written is in :mod:`export.device.headers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from export.arena.figures import ArenaFigure, arena_figures
from export.bundle.written_model import WrittenModel
from export.device import headers
from export.device.layer_checks import layer_checks, layer_checks_header
from export.device.metadata_header import metadata_header
from export.engines import TFLM
from export.faults.avoided import in_a_line
from export.faults.found import faults_in
from export.graph.interpret import interpret_sequence
from export.graph.ir import Graph
from export.interface.network_layouts import network_interface
from export.interface.tensor_layout import TensorLayout
from export.tflite.contents import read_contents
from export.tflite.variables import resource_variables
from export.tflite.writer import tflite_cell
from qtorch.editions.edition import Edition
from qtorch.editions.known import EDITIONS
from qtorch.features import Interface

__all__ = ["TEST_VECTORS", "c_headers", "device_headers"]

_OF_STATES = {
    "VAR_HANDLE": "AddVarHandle",
    "READ_VARIABLE": "AddReadVariable",
    "ASSIGN_VARIABLE": "AddAssignVariable",
    "CALL_ONCE": "AddCallOnce",
}
#: How many inputs a device is tested on, at most.
TEST_VECTORS = 32


def device_headers(
    name: str, files: WrittenModel, interface: Interface | None, codes: tuple[np.ndarray, ...], edition: Edition,
    outputs: tuple[np.ndarray, ...] | None = None,
) -> dict[str, str]:  # fmt: skip
    """Text by file name.

    Args:
        name: of the model, a C identifier.
        files: what was written of it.
        interface: what is known of its numbers.
        codes: inputs as the device stores them, of which test vectors are made.
        edition: of TFLite Micro, that the export is for.
        outputs: the codes that the integers make of ``codes``, where they are known.
    """
    model, arena_bytes = files.file.data, files.file.arena_bytes
    methods = tuple(dict.fromkeys(m for node in files.final.nodes for m in tflite_cell(node.op).registered(node.attrs)))
    contents = read_contents(model)
    used = {operator.name for subgraph in contents.subgraphs for operator in subgraph.operators}
    # No node stands for what reads, assigns and first sets a state.
    methods = (*methods, *(method for operator, method in _OF_STATES.items() if operator in used))
    texts = {
        **headers.model_data(name, model, files.layouts),
        f"{name}_op_resolver.h": headers.op_resolver(name, methods, resource_variables(contents)),
        **c_headers(name, files.graph, files.layouts, interface, codes, outputs),
    }
    if arena_bytes:
        plan = files.file.plan.words if files.file.plan and files.file.plan.data else ""
        figures = _with_refusals(arena_figures(model, edition), model, edition)
        texts[f"{name}_arena.h"] = headers.arena(name, arena_bytes, 64, TFLM.version, figures, plan)
    floats = any(files.final.values[each].dtype == "float32" for each in (*files.final.inputs, *files.final.outputs))
    # What an operator gives in a run hangs on the runs before it, which such a header knows nothing of.
    if not floats and not files.final.states:
        checks = layer_checks(model, files.final, _picked(files.final, files.final.inputs, codes))
        texts[f"{name}_layer_checks.h"] = layer_checks_header(name, checks)
    if files.metadata is not None:
        texts[f"{name}_metadata.h"] = metadata_header(name, files.metadata, arena_bytes, model)
    return texts


def _with_refusals(figures: Sequence[ArenaFigure], model: bytes, edition: Edition) -> tuple[ArenaFigure, ...]:
    """Figures, each with what the kernels of its library refuse of the file: then no arena is large enough.

    A library is judged by the edition of the export, where that has it, or else by the newest edition here that has.
    """
    return tuple(replace(each, refused=_refused(each.library, model, edition)) for each in figures)


def _refused(library: str, model: bytes, edition: Edition) -> str:
    having = [each for each in EDITIONS.values() if each.library == library.lower()]
    if not having or edition in having:
        return ""
    newest = max(having, key=lambda each: each.source)
    met = faults_in(model, newest, "host", effect="refused")
    if not met:
        return ""
    return (
        f"No arena is large enough in {newest.description}: {in_a_line(met)}. An export for it, with export.tflm "
        f"{newest.name}, has another form of what is refused, where there is one."
    )


def c_headers(
    name: str, graph: Graph, layouts: Sequence[TensorLayout], interface: Interface | None,
    codes: tuple[np.ndarray, ...], outputs: tuple[np.ndarray, ...] | None = None,
) -> dict[str, str]:  # fmt: skip
    """The two headers that plain C has use for as well: scaling, and vectors. Text by file name.

    Args:
        name: of the model, a C identifier.
        graph: with integers at its ends.
        layouts: of the inputs and outputs of the file or of the plain C.
        interface: what is known of its numbers.
        codes: inputs as the device stores them, of which test vectors are made.
        outputs: the codes that the integers make of them, where they are known; computed without.
    """
    chosen = _picked(graph, graph.inputs, codes)
    count = len(chosen[0]) // graph.values[graph.inputs[0]].rows
    # With states a run hangs on those before it, which are others among the picked ones.
    if outputs is None or graph.states:
        found = interpret_sequence(graph, chosen)
        made = tuple(found[name] for name in graph.outputs)
    else:
        made = _picked(graph, graph.outputs, outputs)
    expected = [array.reshape(count, -1) for array in made]
    sources, sinks = (
        tuple(q for n in names if (q := graph.values[n].qparams)) for names in (graph.inputs, graph.outputs)
    )
    n_in, n_out = (graph.values[names[0]].elements for names in (graph.inputs, graph.outputs))
    # Of several inputs or outputs one after another in a row, in the widest of their types.
    inputs = [array.reshape(count, -1) for array in chosen]
    return {
        f"{name}_quantization.h": headers.quantization(
            name, network_interface(graph, interface), sources, sinks, (n_in, n_out), layouts
        ),
        f"{name}_test_vectors.h": headers.test_vectors(
            name,
            np.concatenate(inputs, 1),
            np.concatenate(expected, 1),
            sequence=bool(graph.states),
            inputs_of=tuple(each.shape[1] for each in inputs),
            outputs_of=tuple(each.shape[1] for each in expected),
        ),
    }


def _picked(graph: Graph, names: Sequence[str], arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Of inputs or outputs what becomes test vectors, evenly among all; of a batch of several, whole batches."""
    batches = [graph.values[name].rows for name in names]
    runs = len(arrays[0]) // batches[0]
    picked = np.linspace(0, runs - 1, min(TEST_VECTORS, runs)).astype(int)
    return tuple(
        array.reshape(runs, batch, *array.shape[1:])[picked].reshape(-1, *array.shape[1:])
        for array, batch in zip(arrays, batches, strict=True)
    )
