"""One table of second opinions: every engine and converter that is installed, beside this project's own file.

Engines compute this project's integers; how far they lie from the reference is in codes. Converters make a file of
their own of the same trained weights in float; how far its outputs lie from the reference is in steps of the output's
grid.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from export.c.compiled import compiled_c
from export.c.model import c_model
from export.engines import LITERT_REFERENCE, Engine
from export.figures.device_network import DeviceNetwork
from export.figures.subject import Subject
from export.forms.onnx.parity import compare_onnx
from export.forms.onnx.runtime import ONNX_RUNTIME
from export.forms.onnx.writer import write_onnx
from export.graph.build import float_graph, integer_graph
from export.graph.encoding import stored
from export.opinions.grids import GridAgreement
from export.opinions.litert_torch import (
    converted_by_litert_torch,
    keeps_order,
    quantized_by_ai_edge,
    ranges_by_name,
)
from export.opinions.network import ForeignNetwork
from export.opinions.opinion import FAILED, Opinion
from export.opinions.question import Question, question_of
from export.opinions.tensorflow import fake_quantization, quantized_by_tensorflow
from export.optional_packages import EXTRAS, distribution_version, missing, onnx_package, remedy
from export.parity.judges import all_engines
from export.parity.outputs import network_codes
from export.tflite.writer import write_tflite
from qtorch.errors import BadConfiguration
from qtorch.progress import stage, steps

__all__ = ["compare", "require_names"]

#: Takes a line with a name and a version, and fills it.
_Ask: TypeAlias = Callable[[Question, Opinion], Opinion]
#: Name, packages (the last one's version is shown), and how to ask.
_Asked: TypeAlias = tuple[str, tuple[str, ...], _Ask]


def compare(subject: Subject, only: Sequence[str] = ()) -> tuple[Opinion, ...]:
    """All opinions on a trained network, this project's own first; one that fails says so in its line.

    Args:
        subject: its network has one input and one output.
        only: names of opinions; all if there are none.

    Raises:
        BadConfiguration: nobody has such a name, or the network has several inputs, or there are no test figures.
        BadData: training or test data can't be had.
    """
    require_names(only)
    question = question_of(subject)
    opinions = []
    asked = [opinion for opinion in _opinions() if not only or opinion[0] in only]
    for name, packages, ask in steps(asked, "asking for opinions"):
        absent = missing(*(package for package in packages if package in EXTRAS))
        if absent:
            opinions.append(Opinion(name, note=f"not installed: {remedy(absent[0])}"))
            continue
        blank = Opinion(name, distribution_version(packages[-1]) if packages else "")
        # Converters print their progress, which is not what a reader of the table asked for.
        with stage(name), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            opinions.append(_answered(ask, question, blank))
    return tuple(opinions)


def _answered(ask: _Ask, question: Question, blank: Opinion) -> Opinion:
    """The answer, or that there was none."""
    try:
        return ask(question, blank)
    # Foreign converters fail in whatever way they do; that is a line of the table, not the end of it.
    except Exception as error:
        words = (str(error).strip().splitlines() or [""])[0]
        return replace(blank, note=f"{FAILED}{type(error).__name__}: {words[:120]}")


def require_names(only: Sequence[str]) -> None:
    """Refuse names of opinions that nobody has.

    Raises:
        BadConfiguration: one is such.
    """
    names = [name for name, _, _ in _opinions()]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise BadConfiguration(
            where="--only", expected=f"some of {', '.join(names)}", got=", ".join(unknown), remedy="correct the names"
        )


def _own(question: Question, blank: Opinion) -> Opinion:
    started = time.perf_counter()
    write_tflite(integer_graph(question.network))
    seconds = time.perf_counter() - started
    figure = question.figure(DeviceNetwork(question.graph, question.model))
    return replace(question.own(question.outputs(blank, question.expected)), seconds=seconds, figure=figure)


def _engine(engine: Engine) -> _Ask:
    def ask(question: Question, blank: Opinion) -> Opinion:
        if absent := engine.absent():
            return replace(blank, note=f"not installed: {absent}")
        return _answered(run, question, replace(blank, version=engine.version))

    def run(question: Question, blank: Opinion) -> Opinion:
        engine.run(question.model, tuple(array[:1] for array in question.codes))  # its import
        started = time.perf_counter()
        got = engine.run(question.model, question.codes)
        seconds = time.perf_counter() - started
        return replace(question.own(question.outputs(blank, got)), seconds=seconds)

    return ask


def _compiled_c(question: Question, blank: Opinion) -> Opinion:
    engine = compiled_c(question.name, c_model(question.name, question.graph).files, question.graph)
    if engine is None:
        return replace(blank, note="not installed: apt install gcc")
    started = time.perf_counter()
    got = engine.run(b"", question.codes)
    seconds = time.perf_counter() - started
    version, note = engine.version.split()[-1], "compilation included"
    return replace(question.outputs(blank, got), version=version, seconds=seconds, note=note)


def _network(question: Question, blank: Opinion) -> Opinion:
    started = time.perf_counter()
    got = network_codes(question.network, question.graph, question.codes)
    seconds = time.perf_counter() - started
    return replace(question.outputs(blank, got), version=torch.__version__, seconds=seconds)


def _onnx_runtime(question: Question, blank: Opinion) -> Opinion:
    written = write_onnx(question.graph, question.name)
    tensors = compare_onnx(question.graph, written).tensors
    ops = len(onnx_package().ModelProto.FromString(written.file).graph.node)
    opinion = replace(blank, bytes=len(written.file), ops=ops, grids=GridAgreement(tensors, tensors, 0.0))
    started = time.perf_counter()
    got = ONNX_RUNTIME.run(written.file, question.codes)
    return replace(question.outputs(opinion, got), seconds=time.perf_counter() - started)


def _float(question: Question, blank: Opinion) -> Opinion:
    started = time.perf_counter()
    model = _float_file(question, question.plain)
    seconds = time.perf_counter() - started
    network = ForeignNetwork(question.graph, model, LITERT_REFERENCE.run)
    return replace(question.file(blank, model, network), seconds=seconds)


def _float_file(question: Question, net: nn.Module) -> bytes:
    example: Any = question.networks.example
    return write_tflite(float_graph(net, example, "float32", "nhwc"))


def _stored(question: Question) -> tuple[np.ndarray, ...]:
    """Calibration data as the graph stores it."""
    return stored(question.graph, question.calibration)


def _tensorflow(trained: bool) -> _Ask:
    def ask(question: Question, blank: Opinion) -> Opinion:
        source = _float_file(question, question.plain if trained else question.networks.float_network())
        quantized_by_tensorflow(source, tuple(array[:1] for array in _stored(question)))  # its import
        started = time.perf_counter()
        model = quantized_by_tensorflow(source, _stored(question))
        seconds = time.perf_counter() - started
        network = ForeignNetwork(question.graph, model, LITERT_REFERENCE.run)
        note = "" if trained else "weights from before quantized training"
        return replace(question.file(blank, model, network), seconds=seconds, note=note)

    return ask


def _fake_quant(question: Question, blank: Opinion) -> Opinion:
    grids = {v.qparams for v in question.graph.values.values() if v.data is None and v.dtype == "int8"}
    started = time.perf_counter()
    agreements = [fake_quantization(qparams) for qparams in sorted(filter(None, grids), key=lambda q: q.scale)]
    codes, wrong = sum(each.codes for each in agreements), sum(each.wrong for each in agreements)
    largest = max(each.largest for each in agreements)
    ties, apart = sum(each.ties for each in agreements), sum(each.ties_apart for each in agreements)
    return replace(
        blank,
        grids=GridAgreement(len(agreements), sum(each.largest == 0 for each in agreements), largest),
        outputs=codes,
        exact_share=1 - wrong / codes,
        seconds=time.perf_counter() - started,
        note=f"beside these {apart} of {ties} ties, which it rounds up",
    )


def _litert_torch(question: Question, blank: Opinion) -> Opinion:
    started = time.perf_counter()
    model = converted_by_litert_torch(question.plain, question.graph)
    seconds = time.perf_counter() - started
    return replace(question.file(blank, model, _by_litert_torch(question, model)), seconds=seconds)


def _by_litert_torch(question: Question, model: bytes) -> ForeignNetwork:
    return ForeignNetwork(question.graph if keeps_order(question.graph) else None, model, LITERT_REFERENCE.run)


def _ai_edge(own_ranges: bool) -> _Ask:
    def ask(question: Question, blank: Opinion) -> Opinion:
        samples = _stored(question) if keeps_order(question.graph) else (question.calibration.numpy(),)
        source, twin = (
            converted_by_litert_torch(question.plain, question.graph, batch) for batch in (1, len(samples[0]))
        )
        ranges = ranges_by_name(question.model, source) if own_ranges else {}
        if own_ranges and not ranges:
            return replace(blank, note="its file has other ops than this project's, so the ranges have no place in it")
        started = time.perf_counter()
        model = quantized_by_ai_edge(source, twin, samples, ranges)
        seconds = time.perf_counter() - started
        return replace(question.file(blank, model, _by_litert_torch(question, model)), seconds=seconds)

    return ask


#: Of this project's own file, what no engine says of .tflite files; then of others' files.
_OPINIONS: tuple[_Asked, ...] = (
    ("onnxruntime", ("onnx", "onnxruntime"), _onnx_runtime),
    ("compiled_c", (), _compiled_c),
    ("qat_network", (), _network),
    ("tensorflow_fake_quant", ("tensorflow",), _fake_quant),
    ("qtorch_float32", (), _float),
    ("litert_torch_float32", ("litert_torch",), _litert_torch),
    ("tensorflow_ptq", ("tensorflow",), _tensorflow(True)),
    ("tensorflow_ptq_before_qat", ("tensorflow",), _tensorflow(False)),
    ("ai_edge_quantizer_ptq", ("litert_torch", "ai_edge_quantizer"), _ai_edge(False)),
    ("ai_edge_quantizer_our_ranges", ("litert_torch", "ai_edge_quantizer"), _ai_edge(True)),
)


def _opinions() -> tuple[_Asked, ...]:
    """Every one: this project's own, the engines', the others'."""
    return (("qtorch", (), _own), *((engine.name, (), _engine(engine)) for engine in all_engines()), *_OPINIONS)
