"""A file that anyone wrote, made into what firmware is built from; all in memory, and proven before it is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from export.bundle.device_headers import TEST_VECTORS, c_headers, device_headers
from export.bundle.editions import editions_of
from export.bundle.metrics import json_bytes
from export.c.compiled import compiled_c, not_run
from export.c.model import CModel, c_model
from export.compiled_file.compared_inputs import ComparedInputs, compared_inputs
from export.compiled_file.fewer_operators import fewer_operators, saved_figures
from export.compiled_file.file_metrics import file_metrics
from export.compiled_file.given_inputs import given_inputs
from export.compiled_file.model_in_file import ModelInFile, model_in_file
from export.compiled_file.proof import judged_again, judged_c, judged_file, require_judge
from export.compiled_file.request import Request
from export.compiled_file.tflm_form import TflmForm, faults_of_file, in_given_file, tflm_form
from export.cost.board_cost import board_cost, counted_in_words
from export.cost.board_share import BoardShare, in_lines
from export.device.firmware_project import firmware_project
from export.engines import InspectableEngine
from export.faults.found import Finding
from export.figures.provenance import day
from export.graph.ir import Graph
from export.html.facts import Facts
from export.html.file_page import file_page
from export.interface.network_layouts import network_interface
from export.interface.tensor_layout import TensorLayout, tensor_layouts
from export.interface.tensor_meaning import with_meaning
from export.parity.outputs import EngineParity
from export.tflite.equivalents.shifted_codes import SHIFT
from qtorch.errors import BadInput
from qtorch.progress import numbered, stage

__all__ = ["CompiledFile", "compile_file"]

#: Samples that the board's emulated processor computes: given ones first.
_EMULATED = 16


@dataclass(frozen=True)
class CompiledFile:
    """The files made of one model file.

    Attributes:
        name: of the model, a C identifier.
        files: content by file name.
        metrics: what stands in ``metrics.json``.
        engines: who computed the same integers, and on how many inputs; the first is TFLite Micro on the very file.
        faults: what the board's TFLite Micro would compute otherwise of the file as it came.
        firmware: content of the project's files, by path; empty without one.
    """

    name: str
    files: Mapping[str, bytes]
    metrics: Mapping[str, Any]
    engines: Mapping[str, EngineParity]
    faults: tuple[Finding, ...] = ()
    firmware: Mapping[str, bytes] = field(default_factory=dict)


def compile_file(data: bytes, request: Request, given: Any = None, called: str = "inputs") -> CompiledFile:
    """Plain C of a file, proven against TFLite Micro.

    Args:
        data: the whole file.
        request: what is made of it.
        given: inputs to compare on, an array or arrays by name; beside those that are drawn.
        called: what to call ``given`` in an error.

    Raises:
        BadModelFile: the file is no model of integers, or one that no row knows, or TFLite Micro refuses it.
        BadData: the inputs are not the model's.
        ParityError: TFLite Micro, the compiled C or an emulated board computes something else.
        UnsupportedByEdition: a project is asked for, and its TFLite Micro computes something otherwise.
        UnsupportedLayer, BadConfiguration: there is no C of an operator, or the board can't hold it.
    """
    judge = require_judge(request.where)
    with numbered("compiling", 5):
        with stage("reading the file"):
            model = model_in_file(data, request.where, request.signature)
            handed = None if given is None else given_inputs(given, model, called)
        with stage("computing the integers"):
            inputs = compared_inputs(model, handed, request.samples)
        with stage(f"comparing {len(inputs.codes[0]):,} inputs in TFLite Micro with the integers"):
            engines = {judge.name: judged_file(model, inputs, judge)}
        as_read, model = model, fewer_operators(model)
        with stage(f"writing plain C for {request.target.name}, and comparing it"):
            layouts = _layouts(model.core, model)
            c = c_model(
                request.name, model.core, request.target, request.optimize, layouts, request.fast, request.flash
            )
            c.prove_plan(request.name, inputs.codes)
            compiled = compiled_c(request.name, c.files, model.core, request.target.cpu)
            if compiled is not None:
                engines[compiled.name] = judged_c(compiled, model, inputs)
            counted = board_cost(model.core, request.target, request.optimize, _emulated(model, inputs), c.limits)
        with stage("writing what firmware is built from"):
            form = _tflm_form(model, request, inputs, judge)
            fewer = saved_figures(as_read, model, request, form.form is not None)
            return _assembled(model, request, inputs, layouts, c, counted, engines, form, fewer)


def _layouts(graph: Graph, model: ModelInFile) -> tuple[TensorLayout, ...]:
    """Of a graph's inputs and outputs, beside the file's."""
    layouts = with_meaning(tensor_layouts(graph), network_interface(graph, None), model.inputs, model.outputs)
    shifted = [name in graph.shifted for name in (*graph.inputs, *graph.outputs)]
    return tuple(
        replace(layout, whose="the file's", note=f"the file's uint8 codes less {SHIFT}" if less else "")
        for layout, less in zip(layouts, shifted, strict=True)
    )


def _emulated(model: ModelInFile, inputs: ComparedInputs) -> np.ndarray | None:
    """Codes for the emulated processor, whose rig takes one input: those that were given, and the last of all."""
    if len(inputs.codes) > 1:
        return None
    samples = inputs.runs(model)
    if samples <= _EMULATED:
        return inputs.codes[0]
    given = min(inputs.given, _EMULATED // 2)
    return _picked(inputs.codes[:1], samples, np.r_[:given, samples - (_EMULATED - given) : samples])[0]


def _picked(arrays: tuple[np.ndarray, ...], samples: int, which: np.ndarray) -> tuple[np.ndarray, ...]:
    """Some samples' codes."""
    return tuple(codes.reshape(samples, -1, *codes.shape[1:])[which].reshape(-1, *codes.shape[1:]) for codes in arrays)


def _vectors(model: ModelInFile, inputs: ComparedInputs) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Codes of which test vectors are made, of inputs and outputs: those that were given, which are what a device will
    meet, and more of the drawn ones the fewer they are."""
    given, every = inputs.given, inputs.runs(model)
    if not given:
        return inputs.codes, inputs.outputs
    drawn = np.linspace(given, every - 1, min(max(0, TEST_VECTORS - given), every - given)).astype(int)
    which = np.r_[:given, drawn]
    return _picked(inputs.codes, every, which), _picked(inputs.outputs, every, which)


def _assembled(
    model: ModelInFile, request: Request, inputs: ComparedInputs, layouts: tuple[TensorLayout, ...], c: CModel,
    counted: dict[str, Any], engines: dict[str, EngineParity], written: _Written, fewer: dict[str, Any],
) -> CompiledFile:  # fmt: skip
    name, target, form, left_out = request.name, request.target, written.form, written.left_out
    faults = faults_of_file(model, request)
    engines |= written.engines
    vectors, outputs = _vectors(model, inputs)
    if form is None:
        headers = c_headers(name, model.core, layouts, None, vectors, outputs)
    else:
        headers = device_headers(name, form.written, None, vectors, request.edition, outputs)
    editions = editions_of(model.data, target.cpu, partial(in_given_file, model))
    metrics = file_metrics(model, request, layouts, c, counted, form, left_out, faults)
    metrics |= {"fewer": fewer} if fewer else {}
    metrics |= {"moved_inside": model.moved} if model.moved else {}
    metrics |= {"folded": model.folded} if model.folded else {}
    metrics |= {"taken": model.taken} if model.taken else {}
    if all(bool((codes == codes[:1]).all()) for codes in inputs.outputs):
        metrics["outputs_alike"] = len(inputs.codes[0])
    proof = {
        "engines": {each: vars(one) for each, one in engines.items()},
        "judges": list(engines),
        "not_run": {} if "compiled_c" in engines else {"compiled_c": not_run(model.core, target.cpu)},
        "given_inputs": inputs.given,
        "edition": request.edition.name,
        "editions": editions,
        **({"arena_plan": form.written.file.plan.words} if form and form.written.file.plan else {}),
    }
    contents = {
        **({f"{name}.tflite": form.written.file.data} if request.tflite and form else {}),
        **{file: text.encode() for file, text in {**c.files, **headers}.items()},
        "metrics.json": json_bytes(metrics),
        "parity.json": json_bytes(proof),
        "report.html": file_page(
            Facts(name, "other", metrics, proof, graph=model.core, day=day(), plain_c=c.network), engines, faults
        ).encode(),
    }
    figures = (
        *in_lines([BoardShare(**share) for share in metrics["shares"]]),
        counted_in_words(counted),
    )
    firmware: dict[str, bytes] = {}
    if request.firmware != "none":
        firmware = firmware_project(name, contents, target, layouts, figures, request.edition)
    return CompiledFile(name, contents, metrics, engines, faults, firmware)


@dataclass(frozen=True)
class _Written:
    """The file written again where the board runs TFLite Micro, and who agrees; what nobody asked for may be left out,
    in words."""

    form: TflmForm | None = None
    engines: Mapping[str, EngineParity] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def _tflm_form(model: ModelInFile, request: Request, inputs: ComparedInputs, judge: InspectableEngine) -> _Written:
    asked = request.tflite or request.firmware == "tflm"
    if not (request.target.tflm or asked):
        return _Written()
    layouts = _layouts_of_form(model, request)
    try:
        form = tflm_form(model, request, layouts)
        agreement = judged_again(model, form.written.file.data, form.written.final, inputs, judge)
    except BadInput as error:
        if asked:
            raise
        return _Written(left_out={"headers for TFLite Micro": str(error)})
    return _Written(form, {f"{judge.name} on the file written again": agreement})


def _layouts_of_form(model: ModelInFile, request: Request) -> tuple[TensorLayout, ...]:
    """Of the file that is written again: its ends are those of the file, but in a project."""
    return _layouts(model.core if request.firmware == "tflm" else model.graph, model)
