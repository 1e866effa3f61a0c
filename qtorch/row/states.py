"""What an op keeps from one step of a sequence to the next: how its range is measured, and how the file has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["FileState", "GateSums", "ObservedState", "States"]


@dataclass(frozen=True)
class ObservedState:
    """A state with a grid of its own, whose scale is a power of two and whose zero point is 0.

    Attributes:
        name: of it, and of what the op's float arithmetic gives of it.
        dtype: of its codes.
        attr: the op's attribute that has the exponent of its scale in integers.
        exponents: the least and the greatest that the kernel takes.
    """

    name: str
    dtype: str
    attr: str
    exponents: tuple[int, int]


@dataclass(frozen=True)
class GateSums:
    """Sums of products with one of several weights, by the roles of what goes in; ``source`` may be ``"output"``."""

    source: str
    weight: str
    bias: str | None = None


@dataclass(frozen=True)
class States:
    """The states whose ranges are measured, and the float arithmetic that shows them.

    Attributes:
        traced: ``(attrs, tensors by role)`` to the op's result, and each state at all steps, by name.
        observed: they.
        sums: sums of products inside of the op.
        gate_scale: of the int16 grid that they are brought onto.
    """

    traced: Callable[[Mapping[str, Any], Mapping[str, Tensor]], tuple[Tensor, Mapping[str, Tensor]]]
    observed: tuple[ObservedState, ...]
    sums: tuple[GateSums, ...]
    gate_scale: float


@dataclass(frozen=True)
class FileState:
    """A state's tensor in a .tflite file, a variable: carried from run to run, or set to zeros in front of the op.

    Attributes:
        name: of it; where it is carried, the role that it has.
        position: among all inputs of the operator.
        dtype: of its codes; empty for a state that lies on the output's grid.
        attr: the op's attribute that has the exponent of its scale.
        always_carried: whether the op has no form in which it begins anew in every run.
    """

    name: str
    position: int
    dtype: str = ""
    attr: str = ""
    always_carried: bool = False
