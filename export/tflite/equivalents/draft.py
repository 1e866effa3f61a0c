"""The entry graph of a file while it is written in other operators; the file itself stays as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.tflite.constants import constant
from export.tflite.file_data import FileBuffer, FileContents, FileOperator, FileTensor

__all__ = ["Draft"]

_KINDS = {name.lower(): number for name, number in vars(schema.TensorType).items() if not name.startswith("_")}
_TABLES = {name: number for name, number in vars(schema.BuiltinOptions).items() if not name.startswith("_")}
#: The schema's number for no fused activation.
_NO_ACTIVATION = 0


class Draft:
    """Operators are put in the order of execution; indices of tensors are those of the file, new ones behind them.

    Attributes:
        tensors: those of the file, and new ones.
        operators: what has been put so far.
        number: of the file's operator that others stand for now.
    """

    def __init__(self, contents: FileContents) -> None:
        self.contents = contents
        self.entry = contents.subgraphs[0]
        self.tensors: list[FileTensor] = list(self.entry.tensors)
        self.operators: list[FileOperator] = []
        self.number = 0
        self._buffers: list[FileBuffer] = list(contents.buffers)
        self._constants: dict[int, np.ndarray | None] = {}

    def shape(self, index: int) -> tuple[int, ...]:
        """Of a tensor."""
        return self.tensors[index].shape

    def data(self, index: int) -> np.ndarray | None:
        """The contents of a constant; ``None`` of what is computed."""
        if index not in self._constants:
            self._constants[index] = constant(self.tensors[index], self._buffers)
        return self._constants[index]

    def known(self, index: int) -> np.ndarray:
        """The contents of a tensor that has to be a constant.

        Raises:
            ValueError: it is computed.
        """
        found = self.data(index)
        if found is None:
            raise ValueError(f"{self.words(index)}, which is computed, where a constant has to be")
        return found

    def words(self, index: int) -> str:
        """A tensor as an error names it."""
        return self.tensors[index].words

    def constant(self, array: np.ndarray, like: int | None = None) -> int:
        """A new constant's index; with the quantization of ``like``."""
        # In C order; of a number too, which ascontiguousarray makes a vector.
        array = np.ascontiguousarray(array).reshape(array.shape)
        made = self._added(_plain(array.dtype.name, array.shape))
        if like is not None:
            source = self.tensors[like]
            self.tensors[made] = replace(
                self.tensors[made], scale=source.scale, zero_point=source.zero_point, axis=source.axis
            )
        self.settle(made, array)
        return made

    def settle(self, index: int, array: np.ndarray) -> None:
        """Make a computed tensor a constant: whoever reads it reads ``array``."""
        tensor = self.tensors[index]
        array = array.reshape(tensor.shape)
        self._buffers.append(FileBuffer(0, memoryview(array.tobytes())))
        self.tensors[index] = replace(tensor, buffer=len(self._buffers) - 1, constant_bytes=array.nbytes)
        self._constants[index] = array

    def computed(self, like: int, shape: Sequence[int]) -> int:
        """A new run-time tensor of ``like``'s type and quantization."""
        return self._added(
            replace(
                self.tensors[like],
                name="",
                shape=tuple(shape),
                signature=(),
                ranked=True,
                buffer=0,
                constant_bytes=0,
                variable=False,
            )
        )

    def whole_numbers(self, shape: Sequence[int]) -> int:
        """A new run-time tensor of int32 without a scale."""
        return self._added(_plain("int32", shape))

    def _added(self, tensor: FileTensor) -> int:
        index = len(self.tensors)
        self.tensors.append(replace(tensor, index=index))
        return index

    def put(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        table: str | None = None,
        options: Mapping[str, Any] | None = None,
        version: int = 1,
    ) -> None:
        """One more operator.

        Args:
            name: in the schema.
            inputs: indices.
            outputs: indices.
            table: of its options; ``None`` without any.
            options: its fields, by the schema's names.
            version: of its kernel.
        """
        kind = 0 if table is None else _TABLES[table]
        self.operators.append(
            FileOperator(name, version, tuple(inputs), tuple(outputs), kind, dict(options or {}), self.number)
        )

    def reshape(self, source: int, output: int) -> None:
        """``source``'s elements in the shape of ``output``."""
        if math.prod(self.shape(source)) != math.prod(self.shape(output)):
            left_open = -1 in self.tensors[output].signature
            raise ValueError(
                f"{self.words(source)} of shape {self.shape(source)} as {self.words(output)} of {self.shape(output)}"
                + (", a shape that was left open. Convert again with a batch of 1" if left_open else "")
            )
        self.put("RESHAPE", [source], [output], "ReshapeOptions", {"NewShape": self.shape(output)})

    def slice(self, source: int, begin: Sequence[int], output: int) -> None:
        """A box of ``source``, as large as ``output``."""
        size = self.shape(output)
        operands = [self.constant(np.array(each, np.int32)) for each in (begin, size)]
        self.put("SLICE", [source, *operands], [output], "SliceOptions")

    def join(self, sources: Sequence[int], axis: int, output: int) -> None:
        """Tensors on one grid one behind the other along an axis."""
        self.put(
            "CONCATENATION",
            sources,
            [output],
            "ConcatenationOptions",
            {"Axis": axis, "FusedActivationFunction": _NO_ACTIVATION},
        )

    def finished(self) -> FileContents:
        """The file with the operators that were put, and one subgraph."""
        entry = replace(self.entry, tensors=tuple(self.tensors), operators=tuple(self.operators))
        return replace(self.contents, buffers=tuple(self._buffers), subgraphs=(entry, *self.contents.subgraphs[1:]))


def _plain(dtype: str, shape: Sequence[int]) -> FileTensor:
    """A run-time tensor without quantization, that has no index yet."""
    return FileTensor(
        index=-1,
        name="",
        kind=_KINDS[dtype],
        shape=tuple(shape),
        signature=(),
        ranked=True,
        buffer=0,
        constant_bytes=0,
        scale=(),
        zero_point=(),
        axis=None,
        variable=False,
    )
