"""A convolution's geometry, as ESP-NN's size functions see it."""

from __future__ import annotations

from dataclasses import dataclass

from export.arena.kernels import Call, rounded

__all__ = ["Windows", "of_one_place"]


@dataclass(frozen=True)
class Windows:
    """Where a convolution's windows lie; sizes are positive, paddings may be 0.

    Attributes:
        height: of the input.
        width: of the input.
        channels: of the input.
        kernel_height: of the kernel.
        kernel_width: of the kernel.
        depth: of the kernel: fewer channels than the input's where it has groups; in a depthwise one the outputs.
        output_height: of the output.
        output_width: of the output.
        outputs: channels of the output.
        top: rows of padding above.
        left: columns of padding to the left.
        down: the stride from row to row.
        across: the stride within a row.
        multiplier: of a depthwise one, outputs for each channel.
    """

    height: int
    width: int
    channels: int
    kernel_height: int
    kernel_width: int
    depth: int
    output_height: int
    output_width: int
    outputs: int
    top: int
    left: int
    down: int
    across: int
    multiplier: int = 1

    @classmethod
    def of(cls, call: Call) -> Windows:
        """Of CONV_2D or DEPTHWISE_CONV_2D."""
        _, height, width, channels = call.input(0).shape
        _, kernel_height, kernel_width, depth = call.input(1).shape
        _, output_height, output_width, outputs = call.output.shape
        return cls(
            height, width, channels, kernel_height, kernel_width, depth, output_height, output_width, outputs,
            *call.leading_padding((kernel_height, kernel_width)), *call.strides,
            int(call.options.get("DepthMultiplier", 1)),
        )  # fmt: skip

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width."""
        return self.kernel_height, self.kernel_width

    @property
    def kernel_area(self) -> int:
        """Places in the kernel."""
        return self.kernel_height * self.kernel_width

    @property
    def row(self) -> int:
        """Numbers in a row of a window."""
        return self.kernel_width * self.channels

    @property
    def window(self) -> int:
        """Numbers in a window."""
        return self.kernel_area * self.channels

    @property
    def padded(self) -> bool:
        """Whether anything is padded above or to the left."""
        return bool(self.top or self.left)

    @property
    def one_by_one(self) -> bool:
        """Whether each output is of one place of the input, and each place is used."""
        return self.kernel == (1, 1) and not self.padded and (self.down, self.across) == (1, 1)

    @property
    def loosely_behind(self) -> tuple[int, int]:
        """Rows and columns behind the input that windows may reach, a stride too many: as releases to 1.2.3 have it."""
        return (
            max(0, self.output_height * self.down + self.kernel_height - 1 - self.height),
            max(0, self.output_width * self.across + self.kernel_width - 1 - self.width),
        )

    @property
    def behind(self) -> tuple[int, int]:
        """Rows below and columns to the right of the input that windows reach."""
        return (
            max(0, (self.output_height - 1) * self.down + self.kernel_height - self.top - self.height),
            max(0, (self.output_width - 1) * self.across + self.kernel_width - self.left - self.width),
        )


def of_one_place(at: Windows, room: int) -> int:
    """Scratch of a convolution of single places: channels filled up to eights, and eight places beside each other."""
    channels = rounded(at.channels, 8)
    filled = at.height * at.width * channels if at.channels % 8 else 0
    return filled + channels * at.outputs + (16 * channels if at.height * at.width >= 8 else 0) + room
