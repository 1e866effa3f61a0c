"""C cells of ops that move codes and change none: boxes of one tensor become boxes of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtorch.c_cells.strides import bytes_each, copied_box, row_major
from qtorch.row.kernel_call import Argument, KernelCall, Operands, TensorArgument

__all__ = ["Box", "copied", "padding_kernel"]


@dataclass(frozen=True)
class Box:
    """Part of a tensor, in elements.

    Attributes:
        strides: one for each axis of what is copied.
        first: its first element.
    """

    strides: tuple[int, ...]
    first: int = 0

    @classmethod
    def inside(cls, shape: Sequence[int], corner: Sequence[int] = (), steps: Sequence[int] = ()) -> Box:
        """From ``corner`` on in a tensor of ``shape``, every ``steps`` elements; from the origin, each one."""
        strides = row_major(shape)
        first = sum(at * stride for at, stride in zip(corner, strides, strict=True)) if corner else 0
        steps = steps or (1,) * len(shape)
        return cls(tuple(step * stride for step, stride in zip(steps, strides, strict=True)), first)


def copied(
    operands: Operands, sizes: Sequence[int], source: Box, target: Box, roles: tuple[str, str] = ("input", "output")
) -> KernelCall:
    """A box of ``sizes`` copied; nothing at all where it is the whole of both tensors in one order."""
    each = bytes_each(operands.grid(roles[0]).dtype)
    box = copied_box(sizes, source.strides, target.strides, (source.first, target.first), each)
    tensors: dict[str, Argument] = {"in": TensorArgument(roles[0]), "out": TensorArgument(roles[1])}
    whole = each * operands.size(roles[1])
    constant = roles[0] in operands.constants
    if box["run"] == whole == each * operands.size(roles[0]) and not constant:
        return KernelCall("copy", {**tensors, "bytes": whole}, in_place=frozenset({roles[0]}))
    return KernelCall("strided_copy", {**tensors, **box, "flash": int(constant)})


def padding_kernel(operands: Operands, code: int) -> tuple[KernelCall, ...]:
    """PAD: ``code`` everywhere, and the input where it belongs."""
    shape, paddings = operands.shapes["input"], operands.attrs["paddings"]
    inside = Box.inside(operands.shapes["output"], [before for before, _ in paddings])
    copy = copied(operands, shape, Box.inside(shape), inside)
    if copy.kernel == "copy":
        return (copy,)
    size, width = operands.size("output"), bytes_each(operands.grid("output").dtype)
    arguments: dict[str, Argument] = {"out": TensorArgument("output"), "code": code, "size": size, "width": width}
    return KernelCall("fill", arguments), copy
