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
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from export.c.compiled import compiled_c
from export.c.model import c_model
from export.c_language.names import c_identifier
from export.engines import LITERT_DEFAULT, LITERT_REFERENCE, TFLM, Engine, tflm_absent
from export.figures.stages import DeviceNetwork, figures_of, float_network, real_inputs, weights_loaded
from export.graph.build import float_graph, integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.onnx.parity import compare_onnx
from export.onnx.runtime import ONNX_RUNTIME
from export.onnx.writer import write_onnx
from export.opinions.grids import GridAgreement, grid_agreement, operators
from export.opinions.litert_torch import (
    converted_by_litert_torch,
    keeps_order,
    quantized_by_ai_edge,
    ranges_by_name,
)
from export.opinions.network import ForeignNetwork
from export.opinions.opinion import FAILED, Opinion
from export.opinions.tensorflow import TENSORFLOW, fake_quantization, quantized_by_tensorflow
from export.optional_packages import EXTRAS, distribution_version, missing, onnx_package, remedy
from export.parity.outputs import compare_file, corner_codes, network_codes
from export.tflite.writer import write_tflite
from qtorch.capture.call_form import tensors_in
from qtorch.errors import BadConfiguration
from qtorch.lightning.checkpoint import Run
from qtorch.network.quantizer import Mode

__all__ = ["compare", "first_figure"]

#: Samples of the test data, and of the training data for calibration.
_TESTED, _CALIBRATED = 500, 500
_RANDOM = 1_000


@dataclass(frozen=True)
class _Subject:
    """What everybody is asked about.

    Attributes:
        run: trained.
        name: of the model.
        graph: its integers.
        model: their file.
        codes: inputs as the device stores them.
        expected: what the integer reference makes of them, by output.
        real: inputs of the test data, ``[N, ...]``.
        wanted: what the integer reference makes of these, as real numbers.
        calibration: inputs of the training data.
        figures: test figures of any network, on the same samples.
        column: the task's figure that is shown.
    """

    run: Run
    name: str
    graph: Graph
    model: bytes
    codes: tuple[np.ndarray, ...]
    expected: tuple[np.ndarray, ...]
    real: Tensor
    wanted: Tensor
    calibration: Tensor
    figures: Callable[[nn.Module], dict[str, float]]
    column: str

    @property
    def network(self) -> fx.GraphModule:
        """The trained one."""
        found: Any = self.run.module.net
        return found

    @property
    def plain(self) -> nn.Module:
        """The same weights in float, as converters want them."""
        return weights_loaded(self.run, self.network.state_dict())

    def own(self, opinion: Opinion) -> Opinion:
        """An opinion on this project's own file."""
        tensors = compare_file(self.graph, self.model).tensors
        grids = GridAgreement(tensors, tensors, 0.0)
        return replace(opinion, bytes=len(self.model), ops=len(self.graph.nodes), grids=grids)

    def outputs(self, opinion: Opinion, got: Sequence[np.ndarray]) -> Opinion:
        """With how far codes lie from the reference's."""
        pairs = zip(got, self.expected, strict=True)
        apart = np.concatenate([np.abs(a.astype(np.float64) - b.astype(np.float64)).ravel() for a, b in pairs])
        share = float((apart == 0).mean())
        return replace(opinion, outputs=apart.size, exact_share=share, max_lsb=float(apart.max(initial=0)))

    def figure(self, network: nn.Module) -> float:
        """On all test data."""
        return self.figures(network)[self.column]

    def file(self, opinion: Opinion, model: bytes, network: nn.Module) -> Opinion:
        """An opinion that is a file of its own: sizes, grids, and outputs for the test data in steps of the grid."""
        qparams = self.graph.values[self.graph.outputs[0]].qparams
        assert qparams is not None
        with torch.no_grad():
            apart = ((network(self.real) - self.wanted).abs() / qparams.scale[0]).double()
        return replace(
            opinion,
            bytes=len(model),
            ops=len(operators(model)),
            grids=grid_agreement(self.model, model),
            outputs=apart.numel(),
            exact_share=float((apart < 0.5).double().mean()),
            max_lsb=float(apart.max()),
            figure=self.figure(network),
        )


def compare(run: Run, only: Sequence[str] = ()) -> tuple[Opinion, ...]:
    """All opinions on a trained run, this project's own first; one that fails says so in its line.

    Args:
        run: trained; with one input and one output.
        only: names of opinions; all if there are none.

    Raises:
        BadConfiguration: nobody has such a name, or the network has several inputs, or there are no test figures.
        BadData: training or test data can't be had.
    """
    names = [name for name, _, _ in _OPINIONS]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise BadConfiguration(
            where="--only", expected=f"some of {', '.join(names)}", got=", ".join(unknown), remedy="correct the names"
        )
    subject = _subject(run)
    found = []
    for name, packages, ask in _OPINIONS:
        if only and name not in only:
            continue
        absent = missing(*(package for package in packages if package in EXTRAS))
        if absent:
            found.append(Opinion(name, note=f"not installed: {remedy(absent[0])}"))
            continue
        blank = Opinion(name, distribution_version(packages[-1]) if packages else "")
        # Converters print their progress, which is not what a reader of the table asked for.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                found.append(ask(subject, blank))
            # Foreign converters fail in whatever way they do; that is a line of the table, not the end of it.
            except Exception as error:
                words = (str(error).strip().splitlines() or [""])[0]
                found.append(replace(blank, note=f"{FAILED}{type(error).__name__}: {words[:120]}"))
    return tuple(found)


def _subject(run: Run) -> _Subject:
    network: Any = run.module.net
    inputs = real_inputs(run)
    if not isinstance(inputs["train"], Tensor):
        raise BadConfiguration(
            where=type(run.module).__name__,
            expected="a network with one input, which is what converters are asked about",
            got=f"{len(tensors_in(inputs['train']))} inputs",
            remedy="export it; its engines are compared there",
        )
    graph, calibration = integer_graph(network), inputs["train"][:_CALIBRATED]
    value, view = graph.values[graph.inputs[0]], graph.view(graph.inputs[0])
    assert value.qparams is not None
    real = inputs["test"][:_TESTED]
    data = view.store(value.qparams.quantize(real.numpy()), value.shape)
    codes = (np.concatenate([data, corner_codes(graph, _RANDOM)[0]]),)
    expected = interpret(graph, codes)
    model = write_tflite(graph)
    wanted = DeviceNetwork(graph, model)(real)
    return _Subject(
        run=run,
        name=c_identifier(run.task),
        graph=graph,
        model=model,
        codes=codes,
        expected=tuple(expected[name] for name in graph.outputs),
        real=real,
        wanted=wanted,
        calibration=calibration,
        figures=(figures := figures_of(run)),
        column=first_figure(run, figures),
    )


def first_figure(run: Run, figures: Callable[[nn.Module], dict[str, float]] | None = None) -> str:
    """The name of the figure that the table shows.

    Args:
        run: trained.
        figures: what gives its test figures, if there is such a thing already.

    Raises:
        BadConfiguration: the test step logs none; see also :func:`export.figures.stages.figures_of`.
    """
    found = list((figures or figures_of(run))(float_network(run)))
    if not found:
        raise BadConfiguration(
            where=f"test_step of {type(run.module).__name__}",
            expected="figures of the test data",
            got="none logged",
            remedy="log them there, as in self.log('mse', ...)",
        )
    return next((name for name in getattr(run.module, "columns", ()) if name in found), found[0])


def _own(subject: _Subject, blank: Opinion) -> Opinion:
    started = time.perf_counter()
    write_tflite(integer_graph(subject.network))
    seconds = time.perf_counter() - started
    figure = subject.figure(DeviceNetwork(subject.graph, subject.model))
    return replace(subject.own(subject.outputs(blank, subject.expected)), seconds=seconds, figure=figure)


def _engine(engine: Engine) -> Callable[[_Subject, Opinion], Opinion]:
    def ask(subject: _Subject, blank: Opinion) -> Opinion:
        engine.run(subject.model, tuple(array[:1] for array in subject.codes))  # its import
        started = time.perf_counter()
        got = engine.run(subject.model, subject.codes)
        seconds = time.perf_counter() - started
        return replace(subject.own(subject.outputs(blank, got)), version=engine.version, seconds=seconds)

    return ask


def _tflm(subject: _Subject, blank: Opinion) -> Opinion:
    if absent := tflm_absent():
        return replace(blank, note=f"not installed: {absent}")
    return _engine(TFLM)(subject, blank)


def _compiled_c(subject: _Subject, blank: Opinion) -> Opinion:
    engine = compiled_c(subject.name, c_model(subject.name, subject.graph).files, subject.graph)
    if engine is None:
        return replace(blank, note="not installed: apt install gcc")
    started = time.perf_counter()
    got = engine.run(b"", subject.codes)
    seconds = time.perf_counter() - started
    version, note = engine.version.split()[-1], "compilation included"
    return replace(subject.outputs(blank, got), version=version, seconds=seconds, note=note)


def _network(mode: Mode) -> Callable[[_Subject, Opinion], Opinion]:
    def ask(subject: _Subject, blank: Opinion) -> Opinion:
        started = time.perf_counter()
        got = network_codes(subject.network, subject.graph, subject.codes, mode)
        seconds = time.perf_counter() - started
        return replace(subject.outputs(blank, got), version=torch.__version__, seconds=seconds)

    return ask


def _onnx_runtime(subject: _Subject, blank: Opinion) -> Opinion:
    written = write_onnx(subject.graph, subject.name)
    tensors = compare_onnx(subject.graph, written).tensors
    ops = len(onnx_package().ModelProto.FromString(written.file).graph.node)
    found = replace(blank, bytes=len(written.file), ops=ops, grids=GridAgreement(tensors, tensors, 0.0))
    started = time.perf_counter()
    got = ONNX_RUNTIME.run(written.file, subject.codes)
    return replace(subject.outputs(found, got), seconds=time.perf_counter() - started)


def _float(subject: _Subject, blank: Opinion) -> Opinion:
    started = time.perf_counter()
    model = _float_file(subject, subject.plain)
    seconds = time.perf_counter() - started
    network = ForeignNetwork(subject.graph, model, LITERT_REFERENCE.run)
    return replace(subject.file(blank, model, network), seconds=seconds)


def _float_file(subject: _Subject, net: nn.Module) -> bytes:
    example: Any = subject.run.module.example_input_array
    return write_tflite(float_graph(net, example, "float32", "nhwc"))


def _stored(subject: _Subject) -> tuple[np.ndarray, ...]:
    """Calibration data as the graph stores it."""
    name = subject.graph.inputs[0]
    return (subject.graph.view(name).store(subject.calibration.numpy(), subject.graph.values[name].shape),)


def _tensorflow(trained: bool) -> Callable[[_Subject, Opinion], Opinion]:
    def ask(subject: _Subject, blank: Opinion) -> Opinion:
        source = _float_file(subject, subject.plain if trained else float_network(subject.run))
        quantized_by_tensorflow(source, tuple(array[:1] for array in _stored(subject)))  # its import
        started = time.perf_counter()
        model = quantized_by_tensorflow(source, _stored(subject))
        seconds = time.perf_counter() - started
        network = ForeignNetwork(subject.graph, model, LITERT_REFERENCE.run)
        note = "" if trained else "weights from before quantized training"
        return replace(subject.file(blank, model, network), seconds=seconds, note=note)

    return ask


def _fake_quant(subject: _Subject, blank: Opinion) -> Opinion:
    grids = {v.qparams for v in subject.graph.values.values() if v.data is None and v.dtype == "int8"}
    started = time.perf_counter()
    found = [fake_quantization(qparams) for qparams in sorted(filter(None, grids), key=lambda q: q.scale)]
    codes, wrong = sum(each.codes for each in found), sum(each.wrong for each in found)
    largest = max(each.largest for each in found)
    ties, apart = sum(each.ties for each in found), sum(each.ties_apart for each in found)
    return replace(
        blank,
        grids=GridAgreement(len(found), sum(each.largest == 0 for each in found), largest),
        outputs=codes,
        exact_share=1 - wrong / codes,
        seconds=time.perf_counter() - started,
        note=f"beside these {apart} of {ties} ties, which it rounds up",
    )


def _litert_torch(subject: _Subject, blank: Opinion) -> Opinion:
    started = time.perf_counter()
    model = converted_by_litert_torch(subject.plain, subject.graph)
    seconds = time.perf_counter() - started
    return replace(subject.file(blank, model, _by_litert_torch(subject, model)), seconds=seconds)


def _by_litert_torch(subject: _Subject, model: bytes) -> ForeignNetwork:
    return ForeignNetwork(subject.graph if keeps_order(subject.graph) else None, model, LITERT_REFERENCE.run)


def _ai_edge(own_ranges: bool) -> Callable[[_Subject, Opinion], Opinion]:
    def ask(subject: _Subject, blank: Opinion) -> Opinion:
        samples = _stored(subject) if keeps_order(subject.graph) else (subject.calibration.numpy(),)
        source, twin = (
            converted_by_litert_torch(subject.plain, subject.graph, batch) for batch in (1, len(samples[0]))
        )
        ranges = ranges_by_name(subject.model, source) if own_ranges else {}
        if own_ranges and not ranges:
            return replace(blank, note="its file has other ops than this project's, so the ranges have no place in it")
        started = time.perf_counter()
        model = quantized_by_ai_edge(source, twin, samples, ranges)
        seconds = time.perf_counter() - started
        return replace(subject.file(blank, model, _by_litert_torch(subject, model)), seconds=seconds)

    return ask


#: Name, packages (the last one's version is shown), and how to ask.
_OPINIONS: tuple[tuple[str, tuple[str, ...], Callable[[_Subject, Opinion], Opinion]], ...] = (
    ("qtorch", (), _own),
    ("tflm", (), _tflm),
    ("litert_reference", (), _engine(LITERT_REFERENCE)),
    ("litert_default", (), _engine(LITERT_DEFAULT)),
    ("tensorflow", ("tensorflow",), _engine(TENSORFLOW)),
    ("onnxruntime", ("onnx", "onnxruntime"), _onnx_runtime),
    ("compiled_c", (), _compiled_c),
    ("network_exact", (), _network(Mode.EXACT)),
    ("network_fake", (), _network(Mode.FAKE)),
    ("tensorflow_fake_quant", ("tensorflow",), _fake_quant),
    ("qtorch_float32", (), _float),
    ("litert_torch_float32", ("litert_torch",), _litert_torch),
    ("tensorflow_ptq", ("tensorflow",), _tensorflow(True)),
    ("tensorflow_ptq_before_qat", ("tensorflow",), _tensorflow(False)),
    ("ai_edge_quantizer_ptq", ("litert_torch", "ai_edge_quantizer"), _ai_edge(False)),
    ("ai_edge_quantizer_our_ranges", ("litert_torch", "ai_edge_quantizer"), _ai_edge(True)),
)
