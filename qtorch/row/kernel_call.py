"""What a row's C cell says: which kernel of ``firmware/c`` computes the op, and with which arguments.

A cell is a function of :class:`Operands` to a :class:`KernelCall`. Arguments have a kind each, because a writer treats
them differently: tensors lie where its memory plan puts them, tables in flash, accumulators become whatever
requantization is proven to suffice, and numbers are known to the compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qtorch.numbers.fixedpoint import Multiplier
from qtorch.numbers.qparams import QParams

__all__ = [
    "Accumulators",
    "Argument",
    "ConstantTable",
    "KernelCall",
    "KernelCell",
    "NoKernel",
    "Operands",
    "Rescaling",
    "TensorArgument",
]


class NoKernel(Exception):
    """No C kernel computes this case of an op; the message says which case."""


@dataclass(frozen=True)
class Operands:
    """A node as its C cell sees it; everything by role, as the device stores it.

    Attributes:
        attrs: the op's.
        shapes: with the batch axis, which is 1 for run-time tensors; outputs included.
        qparams: ``None`` for float32.
        constants: codes of the operands that are no run-time tensors.
    """

    attrs: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    qparams: Mapping[str, QParams | None]
    constants: Mapping[str, np.ndarray]

    def grid(self, role: str) -> QParams:
        """Of a tensor that has to be quantized.

        Raises:
            NoKernel: it is float32.
        """
        grid = self.qparams[role]
        if grid is None:
            raise NoKernel(f"{role} is float32")
        return grid

    def size(self, role: str) -> int:
        """Elements."""
        return int(np.prod(self.shapes[role]))


@dataclass(frozen=True)
class TensorArgument:
    """A tensor of the node: its address, wherever it lies."""

    role: str


@dataclass(frozen=True)
class ConstantTable:
    """Constants in flash; int8, uint8, int16, uint16, int32 or uint32, written in C order.

    Attributes:
        data: of one of these types.
        words: whether bytes are read four at a time, and so begin at a multiple of four.
    """

    data: np.ndarray
    words: bool = False


@dataclass(frozen=True)
class Accumulators:
    """How the int32 sums of each output channel become codes: the exact arithmetic, for a writer to abridge.

    ``code = clamp(zero_point + requantize(products + bias, multiplier), low, high)``, rounded twice.

    Attributes:
        bias: int64 ``[C]``, with whatever is constant in the sums folded in.
        multiplier: mantissas and shifts ``[C]``.
        zero_point: of the output.
        low: least code, activation included.
        high: greatest code.
        least: int64 ``[C]``: no sum of any input is below it.
        greatest: int64 ``[C]``.
    """

    bias: np.ndarray
    multiplier: Multiplier
    zero_point: int
    low: int
    high: int
    least: np.ndarray
    greatest: np.ndarray


@dataclass(frozen=True)
class Rescaling:
    """A requantization that an adaptation has chosen already, in the place of :class:`Accumulators`.

    Attributes:
        form: of ``firmware/c/requantize.h``.
        words: int32 ``[C, words of the form]``.
        zero_point: of the output.
        low: least code, activation included.
        high: greatest code.
    """

    form: str
    words: np.ndarray
    zero_point: int
    low: int
    high: int


#: A number becomes a constant expression, known when the kernel is compiled.
Argument = TensorArgument | ConstantTable | Accumulators | Rescaling | int


@dataclass(frozen=True)
class KernelCall:
    """One call of a kernel.

    Attributes:
        kernel: the function's name and that of its file, ``firmware/c/<kernel>.h``.
        arguments: by the kernel's parameter names, in its order; :class:`Accumulators` stand for the parameters
            ``channels``, ``form``, ``zero_point``, ``low`` and ``high``.
        scratch: bytes of working memory, which the kernel takes as a last pointer if there are any.
        in_place: roles of inputs whose memory the output may take over.
        text: source of the kernel where it is made for this call alone; empty where ``firmware/c`` has it.
        images: how often it is called, for as many images one behind the other, each of which it takes alone.
    """

    kernel: str
    arguments: Mapping[str, Argument]
    scratch: int = 0
    in_place: frozenset[str] = field(default_factory=frozenset)
    text: str = ""
    images: int = 1


#: Several calls are made one after the other; they fill the node's outputs together.
KernelCell = Callable[[Operands], KernelCall | tuple[KernelCall, ...]]
