"""How a row's op stands in a .tflite file: its operator, options, operands and states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from qtorch.numbers.qparams import QParams
from qtorch.row.states import FileState

__all__ = ["COUNTED_BY", "QUANTIZED", "Operand", "OptionField", "TFLite"]

#: Of a node whose operator reads codes counted from 0 on: what counts them, and that this is a QUANTIZE.
COUNTED_BY, QUANTIZED = "counted_by", "quantize"


@dataclass(frozen=True)
class OptionField:
    """An attribute in the operator's options table: ``enum`` names the schema's enumeration where it is one.

    A tuple becomes a vector of int32. A float must be exactly a float32.
    """

    attr: str
    option: str
    enum: str | None = None


@dataclass(frozen=True)
class Operand:
    """An attribute that the operator takes as a constant int32 tensor, at ``position`` among all its inputs.

    An int becomes a scalar, nested tuples a tensor of their rank.
    """

    attr: str
    position: int


@dataclass(frozen=True)
class TFLite:
    """How the op stands in a .tflite file.

    Attributes:
        operator: member of the schema's BuiltinOperator, or ``CUSTOM:name``.
        resolver: method of TFLM's MicroMutableOpResolver.
        version: of the kernel, from the qparams by role.
        options: the options table, or ``None`` where the kernel reads none.
        fields: that table's fields; of a custom operator all entries of its map of options, by ascending names.
        operands: attributes that are written as input tensors, by ascending position.
        order: the row's roles in the operator's own order, where it is another.
        counted_from_zero: the operator takes the codes of the row's first role as int32, the lowest of them as 0, so
            that a CAST and an ADD stand before it. Of these three together the file's reader makes the row again.
        absent: positions among all its inputs that are left out, with others behind them; ascending.
        states: tensors that the operator keeps, by ascending position, named as the row's ``carried``; where these are
            left out, a RESHAPE before it sets each to zeros.
        unread: options of the table that no kernel of TFLM's reads, so that a file may have anything there; all others
            that are no ``fields`` must have the schema's default.
        unread_beside_bias: of the others, those that are read only where the operator has no bias.
        alike: numbers of an option that the kernels take as its default.
        vectors: whether tensors that are computed lack the first axis, which counts samples here: the kernel takes one.
        kept: what is carried inside of the operator, from zeros on, and is no tensor of the file before a run; behind
            it, it is an output.
    """

    operator: str
    resolver: str
    version: Callable[[Mapping[str, QParams | None]], int]
    options: str | None = None
    fields: tuple[OptionField, ...] = ()
    operands: tuple[Operand, ...] = ()
    order: tuple[str, ...] = ()
    counted_from_zero: bool = False
    absent: tuple[int, ...] = ()
    states: tuple[FileState, ...] = ()
    unread: frozenset[str] = frozenset()
    unread_beside_bias: frozenset[str] = frozenset()
    alike: Mapping[str, frozenset[int]] = field(default_factory=dict)
    vectors: bool = False
    kept: tuple[str, ...] = ()

    @property
    def custom(self) -> bool:
        """Whether the schema does not know the operator."""
        return self.operator.startswith("CUSTOM:")

    @property
    def operators(self) -> tuple[str, ...]:
        """Members of BuiltinOperator that stand in the file, in the order of execution."""
        if cleared := [state for state in self.states if not state.always_carried]:
            return (*["RESHAPE"] * len(cleared), self.operator)
        return ("CAST", "ADD", self.operator) if self.counted_from_zero else (self.operator,)

    @property
    def resolvers(self) -> tuple[str, ...]:
        """Methods of MicroMutableOpResolver that register them."""
        if not all(state.always_carried for state in self.states):
            return ("AddReshape", self.resolver)
        return ("AddCast", "AddAdd", self.resolver) if self.counted_from_zero else (self.resolver,)

    def registered(self, attrs: Mapping[str, Any]) -> tuple[str, ...]:
        """Methods that register what stands in the file for a node of these attributes."""
        if self.counted_from_zero and attrs.get(COUNTED_BY) == QUANTIZED:
            return ("AddQuantize", self.resolver)
        return self.resolvers
