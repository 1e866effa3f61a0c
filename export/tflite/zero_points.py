"""Files with zero points that kernels pass over: of int16, and of convolutions' weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from export.tflite.file_data import FileContents, FileOperator, FileSubgraph, FileTensor
from export.tflite.form import CONVERT_INT8, FileForm

__all__ = ["shifted_int16", "shifted_weights"]

_CONVERT_INT16 = (
    "convert the network again with converter.target_spec.supported_ops = "
    "[tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8], whose int16 is symmetric, "
    "or for int8"
)
#: FULLY_CONNECTED subtracts the zero point of its weights; these do not (TFLM ``reference/integer_ops/conv.h``,
#: ``depthwise_conv.h``, ``transpose_conv.h``), nor does CMSIS-NN.
_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"})
_WEIGHTS = 1


def shifted_int16(contents: FileContents) -> FileForm | None:
    """A network that computes in int16 with zero points; ``None`` of others."""
    shifted = {
        (at, tensor.index): tensor
        for at, graph, operator in _operators(contents)
        if any(_is_int16(each) for each in graph.tensors_at(operator.inputs))
        for tensor in graph.tensors_at((*operator.inputs, *operator.outputs))
        # What an operator makes of int8 may lie there: SOFTMAX writes int16 from -32768 on.
        if _is_int16(tensor) and any(tensor.zero_point)
    }
    if not shifted:
        return None
    return FileForm(
        "int16 with zero points",
        f"a network of int16 with zero points, {_first(shifted.values())}",
        "kernels of int16 take a zero point of 0 alone: most refuse another, and some pass over it",
        _CONVERT_INT16,
    )


def shifted_weights(contents: FileContents) -> FileForm | None:
    """A network with convolutions of integers whose weights have zero points; ``None`` of others."""
    shifted = {
        (at, tensor.index): tensor
        for at, graph, operator in _operators(contents)
        if operator.name in _CONVOLUTIONS
        for tensor in graph.tensors_at(operator.inputs[_WEIGHTS : _WEIGHTS + 1])
        if tensor.dtype in ("int8", "int4") and any(tensor.zero_point)
    }
    if not shifted:
        return None
    return FileForm(
        "weights with zero points",
        f"a network of convolutions whose weights have zero points, {_first(shifted.values())}",
        "TFLite Micro's kernels pass over these, and so compute other numbers than the file means; of FULLY_CONNECTED "
        "alone they are subtracted",
        f"make the weights symmetric, as every converter does that does not begin with uint8: {CONVERT_INT8}",
    )


def _operators(contents: FileContents) -> Iterator[tuple[int, FileSubgraph, FileOperator]]:
    """Those that compute, with their subgraph and its number."""
    for at, graph in enumerate(contents.subgraphs):
        yield from ((at, graph, each) for each in graph.operators if each.name not in ("DEQUANTIZE", "QUANTIZE"))


def _is_int16(tensor: FileTensor) -> bool:
    return tensor.dtype == "int16" and bool(tensor.scale)


def _first(shifted: Iterable[FileTensor]) -> str:
    """How many they are, and what the first has."""
    first, *others = shifted
    named = repr(first.name or f"tensor {first.index}")
    return f"{1 + len(others)} of them: {named} has {next(filter(None, first.zero_point))}"
