"""From a built network to an int8 file and its error: here, and by litert-torch and ai-edge-quantizer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

import qtorch
from benchmarks.zoo.networks import Subject
from export.engines import LITERT_DEFAULT, TFLM
from export.graph.build import integer_graph
from export.graph.encoding import codes_of, decoded
from export.graph.interpret import interpret
from export.opinions.grids import operators
from export.optional_packages import ai_edge_quantizer_package, litert_torch_package
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch.capture.call_form import tensors_in

__all__ = ["TOOLS", "stage"]

#: Of the other inputs, how many are run by TFLite Micro too, with as many random codes.
_JUDGED = 4

Found = dict[str, Any]


@contextmanager
def stage(found: Found, name: str) -> Iterator[None]:
    """Where a network is, and how many seconds of processor time it took; ``stage`` stays at one that raises."""
    found["stage"], started = name, time.process_time()
    try:
        yield
    finally:
        found.setdefault("seconds", {})[name] = time.process_time() - started


def by_qtorch(subject: Subject, found: Found) -> None:
    """Prepare, calibrate, export; then the verdict: ``exact``, or what is raised."""
    expected = _in_float(subject)
    with stage(found, "prepare"):
        network = qtorch.prepare(subject.network, tuple(x[:1] for x in subject.calibration))
    with stage(found, "calibrate"):
        qtorch.calibrate(network, [_batch(subject.calibration)])
        qtorch.set_mode(network.eval(), qtorch.Mode.QUANTIZED)
    with stage(found, "export"):
        graph = integer_graph(network)
        model = write_tflite(graph)
    found |= {"bytes": len(model), "transposes": _transposes(model)}
    with stage(found, "parity"):
        codes = codes_of(graph, _batch(subject.others))
        drawn = corner_codes(graph, _JUDGED)
        judged = tuple(np.concatenate([a[:_JUDGED], b[-_JUDGED:]]) for a, b in zip(codes, drawn, strict=True))
        found["judges"] = list(parity(graph, model, judged, network, reported=()).judges)
    with stage(found, "error"):
        got = interpret(graph, codes)
        found["error"] = _squared_error(decoded(graph, [got[name] for name in graph.outputs]), expected)
    found["verdict"] = "exact"


def by_litert(subject: Subject, found: Found) -> None:
    """Conversion and static int8, the ranges from least to most; whether TFLite Micro runs the file is the verdict."""
    expected = _in_float(subject)
    with stage(found, "convert"):
        package: Any = litert_torch_package()
        one = tuple(x[:1] for x in subject.calibration)
        plain = bytes(package.convert(subject.network, one).model_content())
    with stage(found, "quantize"):
        model = _constants_inside(_quantized(plain, [x.numpy() for x in subject.calibration]))
    found |= {"bytes": len(model), "transposes": _transposes(model)}
    inputs = [x.numpy() for x in subject.others]
    with stage(found, "error"):
        found["error"] = _squared_error(_floats(LITERT_DEFAULT.run, model, inputs), expected)
    found["verdict"] = "not in TFLM"
    with stage(found, "TFLM"):
        _floats(TFLM.run, model, [x[:1] for x in inputs])
    found["verdict"] = "runs"


#: What a network can go through, by the name of its folder of results.
TOOLS: Mapping[str, Callable[[Subject, Found], None]] = {"qtorch": by_qtorch, "litert": by_litert}


def _batch(inputs: tuple[torch.Tensor, ...]) -> Any:
    return inputs if len(inputs) > 1 else inputs[0]


def _in_float(subject: Subject) -> list[np.ndarray]:
    with torch.no_grad():
        return [output.numpy() for output in tensors_in(subject.network(*subject.others))]


def _squared_error(got: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The sum of squared errors of all outputs over the sum of their squares."""
    pairs = [(a.reshape(b.shape).astype(np.float64), b.astype(np.float64)) for a, b in zip(got, expected, strict=True)]
    return float(sum(((a - b) ** 2).sum() for a, b in pairs) / sum((b**2).sum() for _, b in pairs))


def _transposes(model: bytes) -> int:
    return sum(op.name == "TRANSPOSE" for op in operators(model))


def _quantized(plain: bytes, samples: Sequence[np.ndarray]) -> bytes:
    """A float file in int8 by ai-edge-quantizer.

    Its own calibration takes a moving average, so each sample is calibrated by itself, and the widest ends are taken.
    """
    from ai_edge_litert.interpreter import Interpreter

    package: Any = ai_edge_quantizer_package()
    ((signature, ends),) = Interpreter(model_content=plain).get_signature_list().items()
    quantizer = package.quantizer.Quantizer(bytearray(plain), package.recipe.static_wi8_ai8())
    widest: dict[str, Any] = {}
    for index in range(len(samples[0])):
        one = {name: array[index : index + 1] for name, array in zip(ends["inputs"], samples, strict=True)}
        for tensor, its in quantizer.calibrate({signature: [one]}, num_threads=1).items():
            known = widest.setdefault(tensor, dict(its))
            known["min"], known["max"] = np.minimum(known["min"], its["min"]), np.maximum(known["max"], its["max"])
    return bytes(quantizer.quantize(widest, enable_progress_report=False).quantized_model)


def _constants_inside(model: bytes) -> bytes:
    """The file with constants in its tables: TFLite Micro reads none that lie behind them, and does not say so."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tables = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(model)))
    behind = [buffer for buffer in tables.buffers if buffer.offset > 1]
    for buffer in behind:
        buffer.data = np.frombuffer(model[buffer.offset : buffer.offset + buffer.size], np.uint8)
        buffer.offset = buffer.size = 0
    builder = flatbuffers.Builder(len(model))
    builder.Finish(tables.Pack(builder), b"TFL3")
    return bytes(builder.Output()) if behind else model


def _floats(
    run: Callable[[bytes, tuple[np.ndarray, ...]], tuple[np.ndarray, ...]], model: bytes, inputs: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Outputs of a file, whatever grids its ends have."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    sources, sinks = interpreter.get_input_details(), interpreter.get_output_details()
    codes = []
    for source, array in zip(sources, inputs, strict=True):
        scale, zero = source["quantization"]
        limits = np.iinfo(source["dtype"]) if scale else None
        stored = np.clip(np.round(array / scale) + zero, limits.min, limits.max) if limits else array
        codes.append(stored.astype(source["dtype"]))
    outputs = run(model, tuple(codes))
    quantized = [(sink["quantization"], output) for sink, output in zip(sinks, outputs, strict=True)]
    return [(output - np.float32(zero)) * scale if scale else output for (scale, zero), output in quantized]
