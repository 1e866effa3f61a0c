"""The type of a row: everything this project knows of one operator, on one screen.

A row is read by the training layers, the interpreter, the passes, the writers and the tests. Rows live in
:mod:`qtorch.ops`, one file each; nothing here knows a particular operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor, nn

from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.remedies.asked import Remedy
from qtorch.row.constraints import Constraint, SameAs, SymmetricWeight
from qtorch.row.image_rows import RowsRule
from qtorch.row.kernel_call import KernelCell
from qtorch.row.onnx_form import Onnx
from qtorch.row.shape_rule import Attrs, Normalized, Shape, ShapeRule, as_they_are
from qtorch.row.states import States
from qtorch.row.tflite_cell import Operand, OptionField, TFLite

__all__ = [
    "Attrs",
    "Call",
    "Frozen",
    "InSteps",
    "Match",
    "Operand",
    "OptionField",
    "Reference",
    "Refused",
    "Row",
    "Sample",
    "Shape",
    "TFLite",
    "Unsupported",
    "any_order",
    "homogeneous_anywhere",
    "homogeneous_nowhere",
    "homogeneous_within_channels",
    "last_axis_stays",
    "require_elements",
]


@dataclass(frozen=True)
class Unsupported:
    """A cell that can't be filled, and why."""

    reason: str


class Refused(Exception):
    """A match can't express this call exactly; ``prepare`` adds where it stands and raises UnsupportedLayer.

    An empty ``remedy`` stands for the form that is told of calls without a row, if there is one for this call.
    """

    def __init__(self, *, expected: str, got: str, remedy: str) -> None:
        self.expected, self.got, self.remedy = expected, got, remedy
        super().__init__(f"expected {expected}, got {got}. Remedy: {remedy}")


@dataclass(frozen=True)
class Call:
    """One call in a traced network, as a match reads it.

    Attributes:
        module: the called module, ``None`` for functions and methods.
        arguments: what is no tensor, by parameter name, as far as it was given; of an operator all that its schema has.
        shapes: of the tensors that come in, by role, in PyTorch's order and with the batch axis.
        output_shape: of the (first) result.
    """

    module: Any
    arguments: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    output_shape: tuple[int, ...]

    def get(self, name: str, default: Any = None) -> Any:
        """A module's attribute or a function's argument."""
        return getattr(self.module, name, default) if self.module is not None else self.arguments.get(name, default)

    def axis(self, index: int, role: str) -> int:
        """A torch ``dim`` counted from the front.

        Raises:
            Refused: it is the batch axis, along which a device has one sample.
        """
        rank = len(self.shapes[role])
        axis = index + rank if index < 0 else index
        if axis == 0:
            raise Refused(expected="an axis other than the batch's", got=f"dim={index}", remedy="keep samples apart")
        return axis


def require_elements(call: Call) -> None:
    """Refuse a call whose result is empty: it has no range, and the file no such tensor.

    Raises:
        Refused: an axis of the result has size 0.
    """
    if 0 in call.output_shape:
        raise Refused(expected="at least one element", got=f"shape {call.output_shape}", remedy="leave the slice out")


@dataclass(frozen=True)
class Match:
    """A call of PyTorch that a row stands for.

    Attributes:
        kind: ``"aten"`` for an operator of PyTorch, to which every spelling of a call comes: functions of ``torch`` and
            ``F``, methods, Python's operators, in place or not. ``"module"`` for a layer class, which is then called as
            a whole; ``"function"`` and ``"method"`` for one spelling of a call, likewise.
        target: the operator's name without overload, the module class, the function, or the method's name.
        attrs: reads the op's attributes; ``None`` if another row stands for this call; may raise :class:`Refused`.
        parameters: names of a function's or method's parameters in their order. A module's own parameters are not among
            them; an operator's are those of its schema.
        tensors: how many of these, from the first, are tensors (or numbers that stand for one); they fill the row's
            roles in order. A list of tensors counts as one and fills the roles of a variadic row.
        rank: of the result, where PyTorch takes a tensor of one axis less for a sample without a batch, whose first
            axis is the channels'; ``None`` where the first axis is the batch's whatever the rank.
        written: how people write it, where that is not the target's name.
    """

    kind: Literal["aten", "module", "function", "method"]
    target: type[nn.Module] | Callable[..., Any] | str
    attrs: Callable[[Call], dict[str, Any] | None] = lambda call: {}
    parameters: tuple[str, ...] = ("input",)
    tensors: int = 1
    rank: int | None = None
    written: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What people write."""
        return self.written or (str(getattr(self.target, "__name__", self.target)),)


@dataclass(frozen=True)
class Sample:
    """A case for every backend: tensors as the device stores them, and their quantization, by role.

    ``arrays`` has every input; those in ``constants`` (and every role that can only be a constant) stand in the file,
    the others have the batch as their first axis. ``qparams`` has the output as well (``"output"``, or ``"output_0"``,
    ... of an op with many). Words in a label are read by ``export.row_parity``: "alike" says that the outputs are, on
    purpose; "TFLM alone" that other engines' kernels compute something else here, and so does the float function;
    "cancelled" that sums cancel, of which float32 keeps nothing; "no float form" that no call of PyTorch computes it.
    """

    label: str
    attrs: Attrs
    arrays: Mapping[str, np.ndarray]
    qparams: Mapping[str, QParams | None]
    constants: frozenset[str] = frozenset()


#: (attrs, codes by role, grids by role with the outputs', rounding) -> output codes, a tuple of them from an op with
#: many outputs. Integer codes are int64 tensors, axes in the device's order, batch first.
Reference = Callable[[Attrs, Mapping[str, Tensor], Mapping[str, Grid], Rounding], Any]

#: (attrs, grids by role with the output's) to codes by role, int64, which stand in the file instead of the attributes.
Frozen = Callable[[Attrs, Mapping[str, Grid]], Mapping[str, Tensor]]


class InSteps(Protocol):
    """What quantized training computes on steps, with gradients."""

    def __call__(self, attrs: Attrs, steps: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> Tensor:
        """The output's steps, from steps by role, and grids by role with the output's.

        Steps are codes less the zero point, float32 whole numbers within their grid, axes as ``Row.forward`` has them.
        """


def any_order(attrs: Attrs, axes: tuple[int, ...], rank: int) -> Attrs | None:
    """Of an elementwise op: what it computes does not depend on where its axes lie."""
    return attrs


def last_axis_stays(attrs: Attrs, axes: tuple[int, ...], rank: int) -> Attrs | None:
    """Of an op that works along the last axis and treats all others alike."""
    return attrs if axes[-1] == rank - 1 else None


def homogeneous_nowhere(attrs: Attrs, axis: int, before: Shape, after: Shape) -> int | None:
    """Of an op through which factors do not pass, or of which nobody looked: nothing is moved across it."""
    return None


def homogeneous_anywhere(attrs: Attrs, axis: int, before: Shape, after: Shape) -> int | None:
    """Of an elementwise op with ``f(s x) = s f(x)`` for ``s > 0``."""
    return axis


def homogeneous_within_channels(attrs: Attrs, axis: int, before: Shape, after: Shape) -> int | None:
    """Of an op that is linear, or a maximum, within each channel's image: axes behind the channels'."""
    return axis if axis == 1 and len(before) > 2 else None


@dataclass(frozen=True)
class Row:
    """One operator.

    Attributes:
        name: the TFLite term in lower case; also the file's name.
        roles: names of the inputs in TFLite's order; a variadic row has one, ``"input"``, for ``input_0``, ``input_1``.
        runtime: how many of the roles, from the first, may be computed at run time; the others are constants, but for
            what is carried.
        carried: the last roles: what the op takes from the run before, run-time tensors. Behind its output it then
            has, as ``"next_ROLE"``, what replaces each of them, on the same grid. All are left out where the op
            begins anew in every run.
        variadic: any number of run-time inputs.
        many: any number of outputs, ``output_0``, ``output_1``, ...
        matches: what it stands for in a PyTorch network.
        forward: the float function of training on PyTorch's axis order, ``(attrs, tensors by role) -> tensor``.
        constraints: by role, ``"output"`` included; the role without its number where there are many.
        reference: integers as TFLM's kernel computes them.
        samples: cases from which the tests of every backend are generated.
        onnx: the float operators that stand for it in an ONNX file, and how far its runtime may lie from ``reference``.
        c: which kernel of ``firmware/c`` computes it, and with what.
        fusable: activations that the kernel's own ``activation`` attribute can absorb.
        selects: every output element is a copy of an input element, so nothing is rounded.
        channels_last: the kernel wants ``[N, H, W, C]`` where PyTorch has ``[N, C, H, W]``; one-dimensional forms
            ``[N, C, L]`` are then computed as ``[N, 1, L, C]``.
        most_axes: how many axes a tensor may have, the batch's among them; more abort or refuse in TFLM's kernels.
        merged_axes: how many axes its kernel takes, of an op that computes every row by itself: those of a tensor that
            has more are merged with the batch in a file, from the front; 0 of an op that takes what comes.
        weight_order: by role, PyTorch's axes in the order in which the device stores a constant.
        transposed: attributes of the same op on tensors whose axis ``i`` is stored as axis ``axes[i]`` of ``rank``
            (axes not named have size 1), or ``None`` where the kernel has no such form. What it returns acts on all
            the op's tensors alike.
        needs_bias: LiteRT's kernel takes no node without one, so a bias of zeros stands in for a missing one.
        by_table: every output code depends on the input code at the same place and on nothing else: quantized training
            takes it, and the float function's slope there, from tables; see :mod:`qtorch.row.steps_by_table`.
        in_steps: ``reference`` in floating-point kernels, to the last: what quantized training computes, where neither
            ``forward`` on steps nor a table is that. Gradients go straight through the rounding with the real factors,
            and are zero where the output saturates. Nothing in it waits for a device. An op that has a run-time input,
            no weight, and none of these cells, is computed twice: ``reference`` for the value, ``forward`` for the
            gradient.
        frozen: of an op whose attributes the file can't say: the constants that stand there instead, and that
            ``reference`` reads where it is given them. In a graph of integers such a node has no attributes.
        measured: of an op whose result need not lie on its grid as a whole: what that holds, by the result and
            what goes in; attributes are for it, but those that are ``frozen``.
        shapes: what shapes its outputs have, or a sentence that says why it can't have these inputs and attributes: all
            that the kernel's preparation checks, and what the reference needs. On tensors as the device stores them.
            Graphs are held to it; ``None`` of a row that does not say.
        rows: which rows of its inputs a row of the output is made of; ``None`` of an op that takes images whole.
        normalized: attributes as all cells read them, of those in a file, which may count axes from the end.
        kept: attributes of the same op with the axes that it drops kept at size 1; the op's own where it drops none.
        litert_lsb: how far LiteRT's reference kernel may lie from ``reference`` with single rounding, by the outputs'
            type; exact where nothing is said.
        sums: where the kernel adds as many codes as the input's shape says: the least and the greatest integer that it
            comes by, from the attributes, that shape in PyTorch's order, and the lowest and highest code less the zero
            point.
        narrowest: the narrowest type of activations whose kernel computes every code of an input, from its shape.
        macs: products that it sums up, those with padding included, from shapes by role as a .tflite file has them
            (KeyError or ValueError of shapes that it can't have); ``None`` if it sums up none.
        homogeneous: from the attributes, an axis of the input, its shape and the result's, both in PyTorch's order: the
            axis of the result that has the same factors when what lies along the input's is multiplied by positive
            ones; ``None`` where they do not pass. Channels that are merged with axes behind them stay beside one
            another: each is then several elements of the axis.
        takes_front: a factor and an offset for each channel of the input can go into its weight, PyTorch's, and its
            bias: a normalization in front, or what equalization takes out of the layer before.
        divides_scales: in float32 until October 2026: :attr:`qtorch.numbers.fixedpoint.Rounding.EARLIER` may differ.
        hybrid: its weights are int8 in a file of dynamic range: LiteRT's kernel takes float activations with them, and
            quantizes these as they come.
        gives_way: another row, which may be registered, can stand for calls that this one stands for, and is asked
            first.
        states: what the op keeps between steps of a sequence, where that has a grid of its own.
        remedies: calls that no row stands for and that this op is the nearest form of: what to write instead, by the
            call's name without underscores, in small letters.
    """

    name: str
    roles: tuple[str, ...]
    matches: tuple[Match, ...]
    forward: Callable[[Attrs, Mapping[str, Tensor]], Any]
    constraints: Mapping[str, Constraint]
    reference: Reference
    tflite: TFLite | Unsupported
    samples: Callable[[], Iterable[Sample]]
    onnx: Onnx | Unsupported = Unsupported("its ONNX cell is not written")
    c: KernelCell | Unsupported = Unsupported("no C kernel computes it yet")
    runtime: int = 1
    carried: tuple[str, ...] = ()
    variadic: bool = False
    many: bool = False
    fusable: frozenset[str] = field(default_factory=frozenset)
    selects: bool = False
    channels_last: bool = False
    most_axes: int = 5
    merged_axes: int = 0
    weight_order: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    transposed: Callable[[Attrs, tuple[int, ...], int], Attrs | None] = lambda attrs, axes, rank: None
    by_table: bool = False
    in_steps: InSteps | None = None
    frozen: Frozen | None = None
    measured: Callable[[Attrs, Tensor, Mapping[str, Tensor]], Tensor] | None = None
    shapes: ShapeRule | None = None
    rows: RowsRule | None = None
    normalized: Normalized = as_they_are
    kept: Callable[[Attrs], Attrs] = lambda attrs: attrs
    needs_bias: bool = False
    litert_lsb: Mapping[str, int] = field(default_factory=dict)
    sums: Callable[[Attrs, tuple[int, ...], int, int], tuple[int, int]] | None = None
    narrowest: Callable[[Shape], str] = lambda shape: "int8"
    macs: Callable[[Mapping[str, Shape]], int] | None = None
    homogeneous: Callable[[Attrs, int, Shape, Shape], int | None] = homogeneous_nowhere
    takes_front: bool = False
    divides_scales: bool = False
    hybrid: bool = False
    gives_way: bool = False
    states: States | None = None
    remedies: Mapping[str, Remedy] = field(default_factory=dict)

    @property
    def norm_axis(self) -> int | None:
        """PyTorch's axis of the weight's output channels, along which it takes in a batch norm behind the op; ``None``
        without such channels."""
        weight = self.constraints.get("weight")
        if not isinstance(weight, SymmetricWeight):
            return None
        order = self.weight_order.get("weight")
        return weight.axis if order is None else order[weight.axis]

    def input_roles(self, count: int) -> tuple[str, ...]:
        """Role of each of ``count`` inputs."""
        return tuple(f"{self.roles[0]}_{i}" for i in range(count)) if self.variadic else self.roles[:count]

    def output_roles(self, count: int) -> tuple[str, ...]:
        """Role of each of ``count`` outputs."""
        if self.many:
            return tuple(f"output_{i}" for i in range(count))
        return ("output", *(f"next_{role}" for role in self.carried))[:count]

    def constraint(self, role: str) -> Constraint:
        """The demand on a role, numbered or not."""
        if (before := role.removeprefix("next_")) in self.carried and before != role:
            return SameAs(before)
        stem, _, number = role.rpartition("_")
        return self.constraints[stem if number.isdigit() else role]

    def violations(self, qparams: Mapping[str, QParams | None]) -> list[str]:
        """Every broken constraint of a node with these qparams, as ``role: what``."""
        broken = ((role, self.constraint(role).violation(role, qparams)) for role in qparams)
        return [f"{role}: {what}" for role, what in broken if what]
