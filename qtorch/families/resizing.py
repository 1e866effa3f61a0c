"""What the resizing rows share: reading PyTorch's arguments."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from qtorch.row.row import Call, Refused

__all__ = ["RESIZE_PARAMETERS", "require_image", "resized"]

#: Of ``F.interpolate``.
RESIZE_PARAMETERS = (
    "input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias"
)  # fmt: skip


def require_image(call: Call) -> tuple[tuple[int, int], tuple[int, int]]:
    """Sizes before and after, ``(height, width)``.

    Raises:
        Refused: the tensor is no ``[N, C, H, W]``.
    """
    before, after = call.shapes["input"], call.output_shape
    if len(before) != 4:
        raise Refused(expected="an image [N, C, H, W]", got=f"shape {before}", remedy="insert an axis with unsqueeze")
    return (before[2], before[3]), (after[2], after[3])


def resized(call: Call, image: Tensor) -> Tensor:
    """What PyTorch makes of an image ``[H, W]`` in this very call."""
    if call.module is not None:
        return call.module(image[None, None])[0, 0]
    names = (name for name in RESIZE_PARAMETERS[1:] if name in call.arguments)
    return F.interpolate(image[None, None], **{name: call.arguments[name] for name in names})[0, 0]
