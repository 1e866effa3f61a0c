"""The type of a row: everything this project knows of one operator, on one screen.

A row is read by the training layers, the interpreter, the writers and the tests. Rows live in :mod:`qtorch.ops`, one
file each; nothing here knows a particular operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor

from qtorch.constraints import Constraint
from qtorch.fixedpoint import Rounding
from qtorch.qparams import Grid, QParams

__all__ = ["Attrs", "Match", "OptionField", "Reference", "Row", "Sample", "TFLite", "Unsupported"]

#: An op's attributes: plain values, compared and written as they are.
Attrs = Mapping[str, Any]


@dataclass(frozen=True)
class Unsupported:
    """A cell that can't be filled, and why."""

    reason: str


@dataclass(frozen=True)
class Match:
    """A torch callable that a row stands for.

    Attributes:
        kind: how it appears in a traced graph.
        target: the module class, the function, or the method's name.
        attrs: reads the op's attributes from the module (``None`` for functions and methods).
    """

    kind: Literal["module", "function", "method"]
    target: Any
    attrs: Callable[[Any], dict[str, Any]] = lambda module: {}


@dataclass(frozen=True)
class OptionField:
    """An attribute in the operator's options table: ``enum`` names the schema's enumeration where it is one."""

    attr: str
    option: str
    enum: str | None = None


@dataclass(frozen=True)
class TFLite:
    """How the op stands in a .tflite file.

    Attributes:
        operator: member of the schema's BuiltinOperator.
        resolver: method of TFLM's MicroMutableOpResolver.
        version: of the kernel, from the qparams by role.
        options: the options table, or ``None`` where the kernel reads none.
        fields: that table's fields.
    """

    operator: str
    resolver: str
    version: Callable[[Mapping[str, QParams | None]], int]
    options: str | None = None
    fields: tuple[OptionField, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A case for every backend: integer tensors and their quantization, by role; ``output`` has qparams only.

    ``arrays["input"]`` has the batch as its first axis; the other roles are constants.
    """

    label: str
    attrs: Attrs
    arrays: Mapping[str, np.ndarray]
    qparams: Mapping[str, QParams | None]
    output_shape: tuple[int, ...]


#: (attrs, codes by role, grids by role with "output", rounding) -> output codes. Integer codes are int64 tensors.
Reference = Callable[[Attrs, Mapping[str, Tensor], Mapping[str, Grid], Rounding], Tensor]


@dataclass(frozen=True)
class Row:
    """One operator.

    Attributes:
        name: the TFLite term in lower case; also the file's name.
        roles: names of the inputs in TFLite's order; roles after the first ``activations`` are constants.
        activations: how many of the inputs are computed at run time.
        matches: what it stands for in a PyTorch network.
        forward: the float function of training, ``(attrs, tensors by role) -> tensor``.
        constraints: by role, ``"output"`` included.
        reference: integers as TFLM's kernel computes them.
        samples: cases from which the tests of every backend are generated.
        fusable: activations that the kernel's own ``activation`` attribute can absorb.
    """

    name: str
    roles: tuple[str, ...]
    matches: tuple[Match, ...]
    forward: Callable[[Attrs, Mapping[str, Tensor]], Tensor]
    constraints: Mapping[str, Constraint]
    reference: Reference
    tflite: TFLite | Unsupported
    onnx: Unsupported
    c: Unsupported
    samples: Callable[[], Iterable[Sample]]
    activations: int = 1
    fusable: frozenset[str] = field(default_factory=frozenset)

    def violations(self, qparams: Mapping[str, QParams | None]) -> list[str]:
        """Every broken constraint of a node with these qparams, as ``role: what``."""
        found = ((role, c.violation(role, qparams)) for role, c in self.constraints.items() if role in qparams)
        return [f"{role}: {what}" for role, what in found if what]
