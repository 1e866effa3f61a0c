"""MAX_POOL_2D, int8 and int16; padding never wins.

Source: TFLM ``kernels/internal/reference/integer_ops/pooling.h``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.constraints import Free, SameAs
from qtorch.convolution import padded
from qtorch.fixedpoint import Rounding
from qtorch.pooling import adaptive_attributes, pooling_attributes
from qtorch.qparams import Grid, QParams
from qtorch.row import Attrs, Call, Match, OptionField, Refused, Row, Sample, TFLite, Unsupported
from qtorch.windows import explicit_padding


def attributes(call: Call) -> dict[str, Any]:
    """Of ``max_pool1d`` and ``max_pool2d``."""
    if call.get("return_indices", False):
        raise Refused(expected="return_indices=False", got="True", remedy="leave the indices out")
    return pooling_attributes(call)


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """``[N, C, H, W]``, float32."""
    image = x["input"]
    window, stride = (attrs["filter_h"], attrs["filter_w"]), (attrs["stride_h"], attrs["stride_w"])
    padding = explicit_padding(attrs["padding"], (image.shape[2], image.shape[3]), window, stride)
    return F.max_pool2d(padded(image, padding, -torch.inf), window, stride)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """``[N, H, W, C]``; every code is exactly a float32, and their order is the same."""
    image = codes["input"].permute(0, 3, 1, 2).to(torch.float32)
    return forward(attrs, {"input": image}).permute(0, 2, 3, 1).to(torch.int64)


def version(qparams: Mapping[str, QParams | None]) -> int:
    """2 reads int8, 3 int16."""
    source = qparams["input"]
    return 3 if source is not None and source.dtype == "int16" else 2


def samples() -> Iterable[Sample]:
    """Windows that overlap and that do not, both paddings, odd sizes, one pixel."""
    rng = np.random.default_rng(3)
    for label, shape, window, stride, padding, dtype in [
        ("valid", (3, 4, 6, 2), (2, 2), (2, 2), "valid", "int8"),
        ("overlapping", (2, 7, 7, 3), (3, 3), (2, 2), "valid", "int8"),
        ("same", (2, 7, 8, 3), (3, 3), (2, 2), "same", "int8"),
        ("uneven", (2, 5, 9, 1), (1, 4), (1, 3), "same", "int8"),
        ("one pixel", (4, 1, 1, 3), (3, 3), (1, 1), "same", "int8"),
        ("int16", (2, 6, 6, 3), (3, 3), (2, 2), "same", "int16"),
    ]:
        attrs = {
            "filter_h": window[0], "filter_w": window[1], "stride_h": stride[0], "stride_w": stride[1],
            "padding": padding,
        }  # fmt: skip
        grid = QParams((float(np.float32(0.03)),), (0 if dtype == "int16" else -5,), dtype)
        limits = np.iinfo(dtype)
        codes = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
        yield Sample(label, attrs, {"input": codes}, {"input": grid, "output": grid})


ROW = Row(
    name="max_pool_2d",
    roles=("input",),
    matches=(
        Match("module", nn.MaxPool2d, attributes),
        Match("module", nn.MaxPool1d, attributes),
        Match("module", nn.AdaptiveMaxPool2d, adaptive_attributes),
        Match("module", nn.AdaptiveMaxPool1d, adaptive_attributes),
        *(
            Match(
                "function",
                function,
                attributes,
                parameters=("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
            )
            for function in (F.max_pool2d, F.max_pool1d, torch.max_pool2d, torch.max_pool1d)
        ),
        *(
            Match("function", function, adaptive_attributes, parameters=("input", "output_size"))
            for function in (F.adaptive_max_pool2d, F.adaptive_max_pool1d)
        ),
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16")), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(
        operator="MAX_POOL_2D",
        resolver="AddMaxPool2D",
        version=version,
        options="Pool2DOptions",
        fields=(
            OptionField("stride_w", "StrideW"),
            OptionField("stride_h", "StrideH"),
            OptionField("filter_w", "FilterWidth"),
            OptionField("filter_h", "FilterHeight"),
            OptionField("padding", "Padding", "Padding"),
        ),
    ),
    onnx=Unsupported("the ONNX writer does not exist yet"),
    c=Unsupported("the C kernels do not exist yet"),
    samples=samples,
    selects=True,
    channels_last=True,
)
