"""The geometry of an operator of a file, as kernels see it: pads, strides, groups, what no window reads.

Of operators whose shapes a file doesn't tell, or that have another rank than their kernels take, there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from export.faults.fault import Operator
from export.tflite.file_data import FileTensor

__all__ = [
    "Axis",
    "Rows",
    "Spread",
    "Window",
    "c_quotient",
    "convolution",
    "dtype",
    "rows",
    "scales",
    "shape",
    "spread",
    "tensor",
]

#: The schema's number for zeros around the input until every stride has its output.
_SAME = 0


@dataclass(frozen=True)
class Axis:
    """Windows along one axis.

    Attributes:
        input: size.
        output: size, which is how many windows there are.
        kernel: taps.
        stride: between windows.
        dilation: between taps.
    """

    input: int
    output: int
    kernel: int
    stride: int
    dilation: int = 1

    @property
    def total(self) -> int:
        """What all windows read beyond the input; below 0, how much of it no window reads."""
        return (self.output - 1) * self.stride + (self.kernel - 1) * self.dilation + 1 - self.input

    @property
    def before(self) -> int:
        """Padding in front, as TFLite works it out from the sizes: the smaller half."""
        return max(0, self.total) // 2

    @property
    def after(self) -> int:
        """Padding behind, which is one more than in front if the sum is odd."""
        return max(0, self.total) - self.before

    @property
    def unread(self) -> int:
        """Columns at the end that no window reads."""
        return max(0, -self.total)


@dataclass(frozen=True)
class Window:
    """A convolution.

    Attributes:
        height: of the map.
        width: of the map.
        channels: of the input.
        outputs: channels of the output.
        groups: of channels that see only each other; ``channels`` of a depthwise convolution.
    """

    height: Axis
    width: Axis
    channels: int
    outputs: int
    groups: int

    @property
    def kernel(self) -> str:
        """In words: ``3x3``."""
        return f"{self.height.kernel}x{self.width.kernel}"

    @property
    def dilated(self) -> bool:
        """Whether there is room between taps of the kernel."""
        return self.height.dilation != 1 or self.width.dilation != 1

    @property
    def is_1x1(self) -> bool:
        """Whether the kernel is one tap without padding."""
        return self.height.kernel == self.width.kernel == 1 and not self.height.before and not self.width.before

    @property
    def before(self) -> tuple[int, int]:
        """Padding above and to the left."""
        return self.height.before, self.width.before

    @property
    def after(self) -> tuple[int, int]:
        """Padding below and to the right."""
        return self.height.after, self.width.after

    @property
    def multiplier(self) -> int:
        """Outputs per channel of a depthwise convolution."""
        return self.outputs // self.channels

    @property
    def map_elements(self) -> int:
        """Elements of one sample's input."""
        return self.height.input * self.width.input * self.channels


@dataclass(frozen=True)
class Spread:
    """A transposed convolution: along each axis the convolution whose input is this one's output.

    Attributes:
        height: with ``input`` and ``output`` of that convolution: its output is what the operator reads.
        width: likewise.
        channels: of what the operator reads.
        outputs: channels of what it writes.
    """

    height: Axis
    width: Axis
    channels: int
    outputs: int


@dataclass(frozen=True)
class Rows:
    """A FULLY_CONNECTED: ``count`` rows of ``depth`` each."""

    count: int
    depth: int
    outputs: int
    rank: int


def _at(tensors: Sequence[FileTensor | None], position: int) -> FileTensor | None:
    return tensors[position] if position < len(tensors) else None


def tensor(operator: Operator, position: int) -> FileTensor | None:
    """An input; ``None`` where there is none."""
    return _at(operator.inputs, position)


def shape(operator: Operator, position: int) -> tuple[int, ...]:
    """Of an input; empty where there is none, or none is known."""
    found = tensor(operator, position)
    return () if found is None else found.shape


def _output(operator: Operator) -> tuple[int, ...]:
    """The shape of the first output; empty where there is none, or none is known."""
    found = _at(operator.outputs, 0)
    return () if found is None else found.shape


def dtype(operator: Operator, position: int = 0) -> str:
    """Of an input; empty where there is none."""
    found = tensor(operator, position)
    return "" if found is None else found.dtype


def scales(operator: Operator, position: int) -> int:
    """How many an input has: above 1, it has one per channel."""
    found = tensor(operator, position)
    return 0 if found is None else len(found.scale)


def convolution(operator: Operator) -> Window | None:
    """Of a CONV_2D or DEPTHWISE_CONV_2D."""
    inputs, filters, outputs = shape(operator, 0), shape(operator, 1), _output(operator)
    if not len(inputs) == len(filters) == len(outputs) == 4 or 0 in (*inputs, *filters, *outputs):
        return None
    axes = [
        Axis(
            inputs[i],
            outputs[i],
            filters[i],
            _option(operator, f"Stride{side}"),
            _option(operator, f"Dilation{side}Factor"),
        )
        for i, side in ((1, "H"), (2, "W"))
    ]
    groups = inputs[3] // filters[3] if operator.name == "CONV_2D" else inputs[3]
    return Window(axes[0], axes[1], inputs[3], outputs[3], groups)


def spread(operator: Operator) -> Spread | None:
    """Of a TRANSPOSE_CONV."""
    inputs, filters, outputs = shape(operator, 2), shape(operator, 1), _output(operator)
    if not len(inputs) == len(filters) == len(outputs) == 4:
        return None
    same = operator.options.get("Padding") == _SAME
    axes = []
    for i, side in ((1, "H"), (2, "W")):
        stride = _option(operator, f"Stride{side}")
        # What pads it is worked out from the output's size, without a look at the input's.
        windows = -(-outputs[i] // stride) if same else -(-(outputs[i] - filters[i] + 1) // stride)
        axes.append(Axis(outputs[i], windows, filters[i], stride))
    return Spread(axes[0], axes[1], inputs[3], outputs[3])


def rows(operator: Operator) -> Rows | None:
    """Of a FULLY_CONNECTED."""
    weights, output = shape(operator, 1), _output(operator)
    if len(weights) != 2 or not output:
        return None
    return Rows(prod(output[:-1]), weights[1], weights[0], len(output))


def c_quotient(dividend: int, divisor: int) -> int:
    """A quotient as C has it, cut off toward 0; of a positive divisor."""
    return -(-dividend // divisor) if dividend < 0 else dividend // divisor


def _option(operator: Operator, name: str) -> int:
    """A factor, which is 1 where the operator has none."""
    return max(1, int(operator.options.get(name, 1)))
