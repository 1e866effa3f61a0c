"""Kernel libraries and processors whose needs of memory differ, and what one operator asks of each.

TFLite Micro's kernels ask for memory while they prepare: for good (*persistent*), or for the time of their own run
(*scratch*). How much depends on the operator's geometry, on the kernel library and on the processor's instructions. A
:class:`Kernels` is such a library on such a processor; its rules are functions of one operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from export.tflite.file_data import FileOperator, FileTensor

__all__ = ["Call", "Kernels", "Needs", "Rule", "rounded"]


def rounded(number: int, multiple: int) -> int:
    """``number``, up to the next multiple."""
    return -(-number // multiple) * multiple


@dataclass(frozen=True)
class Call:
    """One operator with its tensors.

    Attributes:
        name: in the schema: ``CONV_2D``.
        options: by the schema's names.
        inputs: ``None`` for one that is left out.
        outputs: all of them.
    """

    name: str
    options: Mapping[str, Any]
    inputs: tuple[FileTensor | None, ...]
    outputs: tuple[FileTensor, ...]

    @classmethod
    def of(cls, operator: FileOperator, tensors: tuple[FileTensor, ...]) -> Call:
        """An operator of a subgraph with these tensors."""
        inputs = tuple(tensors[index] if index >= 0 else None for index in operator.inputs)
        return cls(operator.name, operator.options, inputs, tuple(tensors[i] for i in operator.outputs if i >= 0))

    def input(self, position: int) -> FileTensor:
        """An input that the operator can't be without."""
        tensor = self.inputs[position]
        assert tensor is not None, f"{self.name} without input {position}"
        return tensor

    @property
    def output(self) -> FileTensor:
        """The first one."""
        return self.outputs[0]

    @property
    def strides(self) -> tuple[int, int]:
        """Down and across."""
        return int(self.options.get("StrideH", 1)), int(self.options.get("StrideW", 1))

    @property
    def dilations(self) -> tuple[int, int]:
        """Down and across."""
        return int(self.options.get("DilationHFactor", 1)), int(self.options.get("DilationWFactor", 1))

    def leading_padding(self, kernel: tuple[int, int]) -> tuple[int, int]:
        """What TFLite Micro pads above and to the left of an input ``[N, H, W, C]``, for a window of that size."""
        sizes = self.input(0).shape[1:3]
        results = self.output.shape[1:3]
        return tuple(  # type: ignore[return-value]
            max(0, (result - 1) * stride + (window - 1) * dilation + 1 - size) // 2
            if self.options["Padding"] == 0
            else 0
            for size, result, window, stride, dilation in zip(
                sizes, results, kernel, self.strides, self.dilations, strict=True
            )
        )


def elements(tensor: FileTensor) -> int:
    """How many numbers it has."""
    return prod(tensor.shape)


@dataclass(frozen=True)
class Needs:
    """What one operator asks for, in bytes.

    Attributes:
        persistent: a buffer each; each begins at a multiple of 16.
        scratch: a buffer each, in the order of the requests; 0 is a request too.
    """

    persistent: tuple[int, ...] = ()
    scratch: tuple[int, ...] = ()


Rule = Callable[[Call], Needs]


@dataclass(frozen=True)
class Kernels:
    """A kernel library on a family of processors.

    Attributes:
        name: short: ``cmsis_nn_mve``.
        about: for people: what it is, and where its rules were read.
        rules: by the schema's names; :data:`export.arena.reference.RULES` is for all others.
        condition: for C's preprocessor: whether a build has it; empty for what is left.
        margin: bytes on top, for what the rules don't cover.
    """

    name: str
    about: str
    rules: Mapping[str, Rule]
    condition: str = ""
    margin: int = 0
