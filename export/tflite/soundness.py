"""Whether what stands in a file can be computed: what every engine takes for granted, and no engine checks.

Of :class:`~export.tflite.contents.FileContents`, whoever wrote it. What a single operator's attributes and shapes must
be is asked elsewhere, of its row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from export.tflite.file_data import FileContents, FileOperator, FileSubgraph, FileTensor
from export.tflite.offline_plan import NAME
from export.tflite.plan_soundness import plan_faults
from export.tflite.scales_of_zeros import tensors_of_zeros
from qtorch.errors import BadModelFile

__all__ = ["BITS", "ELEMENTS", "Unsound", "elements", "require_sound", "unsound"]

#: Bits of an element, by the schema's type in lower case; other types (strings, handles) have no fixed size.
BITS = {
    "int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "int8": 8, "uint8": 8, "bool": 8, "int16": 16, "uint16": 16,
    "float16": 16, "bfloat16": 16, "int32": 32, "uint32": 32, "float32": 32, "int64": 64, "uint64": 64, "float64": 64,
    "complex64": 64, "complex128": 128,
}  # fmt: skip
#: The schema's types whose elements have no fixed size, or that stand for something else than numbers.
_SIZELESS = frozenset({"string", "resource", "variant"})
#: Elements and bytes of one tensor, which engines count in int32.
ELEMENTS = 2**31 - 1
#: Axes of one tensor; TFLite Micro's kernels have up to 6, LiteRT's up to 8.
_AXES = 8
#: Where a zero point must lie, by type; of others there is none.
_ZERO_POINTS = {
    "int4": (-8, 7), "int8": (-(2**7), 2**7 - 1), "uint8": (0, 2**8 - 1), "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1),
}  # fmt: skip

_DAMAGED = "copy or download the file again, or convert the network again"
_PLAN = (
    f"take the metadata {NAME!r} out of the file, with whose tool it came there, and TFLite Micro places its tensors "
    "itself; or have that tool make it again"
)
_INSIDE = (
    "qtorch compile MODEL.tflite --tflite --out DIR writes the same model with all constants inside the flatbuffer; or "
    "convert again with a converter that does"
)


class Unsound(NamedTuple):
    """One reason why a file can't be computed: where in it, what was expected, what is there, and the remedy."""

    where: str
    expected: str
    got: str
    remedy: str = _DAMAGED


def require_sound(contents: FileContents, where: str = "model", *, outside: bool = False) -> FileContents:
    """The contents, if they can be computed.

    Args:
        contents: of a file.
        where: what to call it in an error.
        outside: take constants that lie behind the flatbuffer, which TFLite Micro does not find there.

    Raises:
        BadModelFile: they can't; names the tensor or the operator.
    """
    for fault in unsound(contents, outside=outside):
        raise BadModelFile(
            where=f"{where}, {fault.where}" if fault.where else where,
            expected=fault.expected, got=fault.got, remedy=fault.remedy,
        )  # fmt: skip
    return contents


def unsound(contents: FileContents, *, outside: bool = False) -> Iterator[Unsound]:
    """Every reason why a file can't be computed; see :func:`require_sound`."""
    for index, subgraph in enumerate(contents.subgraphs):
        place = f"subgraph {index}, " if len(contents.subgraphs) > 1 else ""
        zeros = tensors_of_zeros(contents, subgraph)
        for tensor in subgraph.tensors:
            at = f"{place}tensor {tensor.index} {tensor.name!r:.80}"
            known = replace(tensor, scale=(1.0,)) if tensor.index in zeros else tensor
            for fault in _tensor(known, len(contents.buffers[tensor.buffer].data) if contents.buffers else 0):
                yield fault._replace(where=at)
            if tensor.outside and not outside:
                offset = contents.buffers[tensor.buffer].offset
                yield Unsound(
                    at, "constants within the flatbuffer, where TFLite Micro reads them",
                    f"one behind it, at byte {offset}: TFLite Micro would compute with other bytes, without a word",
                    _INSIDE,
                )  # fmt: skip
        if index == 0:
            yield from _ends(subgraph, place)
        yield from _order(subgraph, place)
    for expected, got in plan_faults(contents):
        yield Unsound("plan of the arena", expected, got, _PLAN)


def elements(tensor: FileTensor) -> int:
    """How many elements a tensor has; sizes below 0 count as none."""
    return math.prod(max(0, size) for size in tensor.shape)


def _tensor(tensor: FileTensor, stored: int) -> Iterator[Unsound]:
    """What is wrong with a tensor by itself; ``stored`` are the bytes of its buffer."""
    shape = "x".join(map(str, tensor.shape[: _AXES + 1]))
    if len(tensor.shape) > _AXES:
        yield Unsound("", f"at most {_AXES} axes", f"{len(tensor.shape)}")
    if any(size < 0 for size in tensor.shape):
        yield Unsound("", "sizes of 0 or more", f"{shape}")
    bits = BITS.get(tensor.dtype)
    if bits is None and tensor.dtype not in _SIZELESS:
        yield Unsound("", "a type of the schema", f"type {tensor.dtype}")
    count = elements(tensor)
    needed = -(-count * (bits or 0) // 8)
    if max(count, needed) > ELEMENTS:
        yield Unsound("", f"at most {ELEMENTS:,} elements and bytes", f"{shape} of {tensor.dtype}")
    constant = tensor.buffer > 0 and stored > 0
    if constant and bits is not None and tensor.sparsity is None and stored != needed:
        yield Unsound("", f"{needed:,} bytes for {shape or 'a scalar'} of {tensor.dtype}", f"{stored:,} bytes")
    yield from _quantization(tensor)


def _quantization(tensor: FileTensor) -> Iterator[Unsound]:
    wrong = [scale for scale in tensor.scale if not 0 < scale < math.inf]
    if wrong:
        yield Unsound("", "scales that are finite and above 0", f"{wrong[0]:g}")
    if tensor.zero_point and len(tensor.zero_point) != len(tensor.scale):
        yield Unsound("", "as many zero points as scales", f"{len(tensor.zero_point)} and {len(tensor.scale)}")
    low, high = _ZERO_POINTS.get(tensor.dtype, (-(2**63), 2**63))
    outside = [zero for zero in tensor.zero_point if not low <= zero <= high]
    if outside and tensor.scale:
        yield Unsound("", f"zero points of {tensor.dtype} from {low} to {high}", f"{outside[0]}")
    if len(tensor.scale) < 2:
        return
    rank = len(tensor.shape)
    if tensor.axis is None or not 0 <= tensor.axis < rank:
        yield Unsound("", f"scales along one of {rank} axes", f"axis {tensor.axis}")
    elif tensor.shape[tensor.axis] != len(tensor.scale):
        yield Unsound(
            "", f"{tensor.shape[tensor.axis]} scales along axis {tensor.axis}, one a channel", f"{len(tensor.scale)}"
        )


def _ends(subgraph: FileSubgraph, place: str) -> Iterator[Unsound]:
    """What is wrong with the inputs and outputs of the model's own subgraph."""
    for word, indices in (("inputs", subgraph.inputs), ("outputs", subgraph.outputs)):
        if not indices:
            yield Unsound(f"{place}{word}", f"at least one of the {word}", "none: there is nothing to compute")
        if -1 in indices:
            yield Unsound(f"{place}{word}", "tensors", "one that is left out (-1)")
        # TFLite Micro gives an output as often as a file says, but has one buffer for an input.
        if word == "inputs" and len(set(indices)) < len(indices):
            yield Unsound(f"{place}{word}", "each tensor once", f"{list(indices)}")


def _order(subgraph: FileSubgraph, place: str) -> Iterator[Unsound]:
    """What is wrong with who makes which tensor, and when."""
    tensors = subgraph.tensors
    makers: dict[int, int] = {}
    for index, operator in enumerate(subgraph.operators):
        for made in operator.outputs:
            makers.setdefault(made, index)
    ready = {tensor.index for tensor in tensors if _is_there(tensor, makers)} | {i for i in subgraph.inputs if i >= 0}
    for index in sorted(set(subgraph.inputs) - {-1}):
        if _is_constant(tensors[index]):
            yield Unsound(f"{place}inputs", "tensors without contents", f"the constant {_named(tensors[index])}")
    for index, operator in enumerate(subgraph.operators):
        at = f"{place}operator {index} ({operator.name})"
        for read in operator.inputs:
            if read >= 0 and tensors[read].sparsity is not None and operator.name not in ("DENSIFY", "DEQUANTIZE"):
                yield Unsound(
                    at, "dense constants", f"{_named(tensors[read])}, of which only some elements are stored: TFLite "
                    "Micro would read them as if all were",
                    "convert the network again without sparsity (tf.lite.Optimize.EXPERIMENTAL_SPARSITY)",
                )  # fmt: skip
        yield from _operator(operator, tensors, makers, ready, index, at)
        ready |= set(operator.outputs)
    for index in sorted({each for each in (*subgraph.inputs, *subgraph.outputs, *makers) if each >= 0}):
        if 0 in tensors[index].shape:
            yield Unsound(f"{place}{_named(tensors[index])}", "sizes of 1 or more", f"{list(tensors[index].shape)}")
    for index in subgraph.outputs:
        if index >= 0 and index not in ready:
            yield Unsound(
                f"{place}outputs",
                "tensors that operators make",
                f"one that no operator makes, {_named(tensors[index])}",
            )


def _operator(
    operator: FileOperator,
    tensors: tuple[FileTensor, ...],
    makers: dict[int, int],
    ready: set[int],
    index: int,
    at: str,
) -> Iterator[Unsound]:
    for read in operator.inputs:
        maker = makers.get(read)
        # Custom operators have scratch tensors among their inputs.
        if read >= 0 and read not in ready and not (maker is None and operator.name.startswith("CUSTOM:")):
            got = (
                "which no operator makes" if maker is None else
                "which it makes itself" if maker == index else f"which operator {maker} makes, behind it"
            )  # fmt: skip
            yield Unsound(at, "inputs that are ready before it", f"{_named(tensors[read])}, {got}")
    for made in operator.outputs:
        if made < 0:
            continue
        if _is_constant(tensors[made]):
            yield Unsound(at, "outputs that are no constants", _named(tensors[made]))
        elif makers[made] != index or operator.outputs.count(made) > 1:
            yield Unsound(at, "outputs that no other operator makes", f"{_named(tensors[made])}, which is made twice")
        elif made in ready and not tensors[made].variable:
            yield Unsound(at, "outputs that are no inputs of the network", _named(tensors[made]))


def _is_constant(tensor: FileTensor) -> bool:
    return tensor.buffer > 0 and tensor.constant_bytes > 0


def _is_there(tensor: FileTensor, makers: dict[int, int]) -> bool:
    """Whether a tensor has contents before anything is computed; one without elements has all of them."""
    if _is_constant(tensor) or tensor.variable or tensor.outside:
        return True
    return tensor.index not in makers and 0 in tensor.shape


def _named(tensor: FileTensor) -> str:
    return f"tensor {tensor.index} {tensor.name!r:.80}"
