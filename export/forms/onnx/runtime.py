"""ONNX Runtime as an engine, on its default settings for the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np

from export.engines import Engine
from export.forms.onnx.writer import OnnxModel, stored_order
from export.optional_packages import onnx_package, onnxruntime_package
from qtorch.errors import BadModelFile

__all__ = ["ONNX_RUNTIME", "onnx_tensors"]

#: Samples at a time, where the file leaves the batch free.
_CHUNK = 256


def _session(file: bytes) -> Any:
    runtime = onnxruntime_package()
    options = runtime.SessionOptions()
    # One thread, so that sums have one order; only errors are printed.
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BadModelFile(
            where="the ONNX file",
            expected=f"a graph that ONNX Runtime {metadata.version('onnxruntime')} can load",
            got=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
            remedy="leave onnx out, the other files stay the same; its optimizations fail on some graphs, and "
            "another version may load this one",
        ) from error


def _batches(session: Any, inputs: tuple[np.ndarray, ...]) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Some samples of the inputs, and the outputs for them."""
    sources = session.get_inputs()
    batch = sources[0].shape[0]
    step = batch if isinstance(batch, int) else _CHUNK
    for start in range(0, len(inputs[0]), step):
        fed = [np.ascontiguousarray(array[start : start + step]) for array in inputs]
        yield fed, session.run(None, {s.name: array for s, array in zip(sources, fed, strict=True)})


def _run(file: bytes, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    parts = [results for _, results in _batches(_session(file), inputs)]
    return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))


#: Computes sums of products in integers where it recognizes the pattern, else in float32; rounds ties to even.
ONNX_RUNTIME = Engine("onnxruntime", partial(metadata.version, "onnxruntime"), _run)


def onnx_tensors(model: OnnxModel, inputs: tuple[np.ndarray, ...]) -> Iterator[Mapping[str, np.ndarray]]:
    """Every run-time tensor of the graph as ONNX Runtime computes it, in the stored axis order, some samples at a time.

    The file is run with all of them as its outputs.
    """
    onnx = onnx_package()
    proto = onnx.ModelProto.FromString(model.file)
    stored = {each.name for each in (*proto.graph.initializer, *proto.graph.input)}
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {}
    for tensor, (name, axes) in model.tensors.items():
        if tensor not in stored:
            wanted.setdefault(name, (tensor, axes))
    typed = onnx.shape_inference.infer_shapes(proto)
    known = {each.name: each for each in (*typed.graph.value_info, *typed.graph.output)}
    names = [each.name for each in proto.graph.input]
    del proto.graph.output[:]
    proto.graph.output.extend(known[tensor] for tensor, _ in wanted.values())
    for fed, outputs in _batches(_session(proto.SerializeToString()), inputs):
        computed = {n: stored_order(array, axes) for (n, (_, axes)), array in zip(wanted.items(), outputs, strict=True)}
        yield dict(zip(names, fed, strict=True)) | computed
