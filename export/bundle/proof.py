"""The proof that an int8 network computes what its files compute: in every engine, in C, with float32 ends too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import fx

from export.boards import Board
from export.bundle.attempted import Attempted
from export.bundle.int8_files import Int8Files
from export.bundle.phases import Phases
from export.c.compiled import compiled_c
from export.figures.network_inputs import NetworkInputs, Part
from export.forms.form import Form, FormFiles
from export.graph.encoding import codes_of
from export.graph.ir import Graph
from export.parity.float_ends import float_outputs_parity
from export.parity.judges import exact_judge
from export.parity.nodes import node_parity
from export.parity.outputs import ParityReport, compare_file, corner_codes, parity
from qtorch.capture.samples import taken
from qtorch.ops.quantize import far_values
from qtorch.progress import stage

__all__ = ["Proof", "proof"]

#: Random inputs of a parity check, beside the data's own; with them it exceeds 10,000.
_RANDOM_INPUTS = 10_000
#: Of a float32 interface, as far out as inputs may lie.
_FAR_INPUTS = 64
#: Numbers in a network from which on a sample takes TFLM long enough to try a tenth as many; and how many of each part
#: of the data are tried at most.
_LARGE = 20_000
_MOST_DATA = 2_000
_TRIED: tuple[Part, ...] = ("test", "train")


@dataclass(frozen=True)
class Proof:
    """What was compared.

    Attributes:
        report: who computed the same.
        codes: inputs ``[N, ...]`` as the device stores them, on which they were compared.
        forms: what was written in other forms, compared as well, by option.
    """

    report: ParityReport
    codes: tuple[np.ndarray, ...]
    forms: Mapping[str, FormFiles]


def proof(
    name: str, files: Int8Files, network: fx.GraphModule, inputs: NetworkInputs, target: Board,
    forms: Sequence[Form], phases: Phases, attempted: Attempted,
) -> Proof:  # fmt: skip
    """Compare everything that computes the network, on the data and on drawn inputs.

    Args:
        name: of the model, a C identifier.
        files: what was written.
        network: that it was made of; left as it was.
        inputs: of the subject.
        target: whose processor plain C is made for.
        forms: in which it is written too.
        phases: of the export.
        attempted: what nobody asked for by name.

    Raises:
        ParityError: a comparison that must be exact is not.
        UnsupportedLayer: one of the forms has none of an op.
    """
    graph, c = files.graph, files.c
    codes = _codes(graph, inputs)
    judges = "every engine" if c is None else "every engine and the compiled C"
    with phases(f"comparing {len(codes[0]):,} inputs in {judges} with the integers", "parity"):
        compiled = None if c is None else compiled_c(name, c.files, files.plain, target.cpu)
        if c is not None:
            c.prove_plan(name, codes)
        report = parity(graph, files.int8_model, codes, network, judged=() if compiled is None else (compiled,))
        if files.final is not graph:
            _verify_float_interface(graph, files.final, files.file.data, codes)
        written: dict[str, FormFiles] = {}
        for form in forms:
            with attempted(form.option), stage(f"--export.{form.option}"):
                written[form.option] = form.write(name, files.final, codes)
        for each in written.values():
            report = replace(report, engines={**report.engines, **each.engines})
    return Proof(report, codes, written)


def _codes(graph: Graph, inputs: NetworkInputs) -> tuple[np.ndarray, ...]:
    """All 256 codes of a network with one input; else test set, calibration set, corners and random codes."""
    products = sum(value.elements for value in graph.values.values())
    extra = corner_codes(graph, _RANDOM_INPUTS if products < _LARGE else _RANDOM_INPUTS // 10)
    if [graph.values[name].elements for name in graph.inputs] == [1]:
        return extra
    parts = [taken(samples, slice(_MOST_DATA)) for part in _TRIED if (samples := inputs.get(part)) is not None]
    data = [codes_of(graph, part) for part in parts]
    return tuple(np.concatenate(arrays) for arrays in zip(*data, extra, strict=True))


def _verify_float_interface(graph: Graph, final: Graph, model: bytes, codes: tuple[np.ndarray, ...]) -> None:
    compare_file(final, model)
    engine = exact_judge()
    if engine is None:
        return
    rng, inputs = np.random.default_rng(0), []
    for name, array in zip(graph.inputs, codes, strict=True):
        qparams = graph.values[name].quantization
        if graph.values[name].of_indices:
            inputs.append(np.concatenate([array, np.resize(array, (_FAR_INPUTS, *array.shape[1:]))]))
            continue
        # Off the grid, so that QUANTIZE has something to round.
        off = np.float32(qparams.scale[0]) * rng.uniform(-0.5, 0.5, array.shape).astype(np.float32)
        far = far_values(qparams.scale[0], (_FAR_INPUTS, *array.shape[1:]), rng)
        inputs.append(np.concatenate([qparams.dequantize(array) + off, far]))
    if final.has_float_nodes:
        node_parity(final, model, tuple(inputs), engine)
        return
    float_outputs_parity(final, model, tuple(inputs), "reference on {wrong} outputs of the float32 interface", engine)
