"""What TFLite Micro itself computes otherwise, by the day of its source: reference kernels, and what is around all.

Read in the history of tensorflow/tflite-micro from 2022-10 to 2026-08-20. "Run" is: every sample of every row that is a
.tflite file, in the Python packages of seventeen days from 2023-10 to 2026-10; the operators that differ or are refused
there are those that are found here. Of 493 networks drawn at random, those that could be written for six days,
385 to 446, were all exact in the package of their day; as they are for the newest, 3 to 178 of the 493 were not.
What changed after 2026-08-20 is known from the packages alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from export.faults import products
from export.faults.fault import Fault, Operator
from export.faults.tflm_forms import FORM_FAULTS
from export.faults.tflm_missing import MISSING

__all__ = ["FAULTS"]

_PER_CHANNEL, _DOUBLE = date(2024, 9, 27), date(2026, 10, 13)
_FINE_GRIDS = (
    "quantize or train again with other data or a little longer: scales that differ in their last bits need not have "
    "it; or export with qtorch, whose scales of 12 bits have products that float32 holds"
)


#: Quotients of one are exact; kernels of convolutions take products in double.
_FORMS = {
    **dict.fromkeys(("RELU", "SUB", "HARD_SWISH", "LEAKY_RELU", "RSQRT"), "whole_quotients"),
    "FULLY_CONNECTED": "convolution",
}


def _rounded_scales(
    operator: str, holds: Callable[[Operator], str], source: str, since: date | None = None, until: date = _DOUBLE
) -> Fault:
    return Fault(
        name=f"{operator.lower()}_scales_in_float32",
        where="tflm",
        operators=(operator,),
        holds=holds,
        effect="one step",
        form=_FORMS.get(operator, ""),
        since=since,
        until=until,
        remedy=_FINE_GRIDS,
        source=source,
        sure="run",
    )


_PRODUCT = "kernel_util.cc, GetQuantizedConvolutionMultipler: a product of float32, in double from 2026-10-13 on"

#: What takes quotients or products of scales in float32. RELU, SUB, SVDF and LEAKY_RELU did so in double for four
#: months.
_ROUNDED = (
    _rounded_scales("FULLY_CONNECTED", products.fully_connected_differs, _PRODUCT, until=_PER_CHANNEL),
    _rounded_scales("FULLY_CONNECTED", products.fully_connected_of_one_scale_differs, _PRODUCT, since=_PER_CHANNEL),
    _rounded_scales("BATCH_MATMUL", products.batch_matmul_differs, _PRODUCT),
    _rounded_scales("UNIDIRECTIONAL_SEQUENCE_LSTM", products.lstm_differs, f"lstm_eval_common.cc, by {_PRODUCT}"),
    _rounded_scales("HARD_SWISH", products.hard_swish_differs, "hard_swish_common.cc"),
    _rounded_scales("DIV", products.div_differs, "div.cc, CalculateOpDataDiv: the quotient of scales, in float32"),
    _rounded_scales("RSQRT", products.rsqrt_differs, "elementwise.cc, SetRsqrtOutputMultiplier"),
    *(
        _rounded_scales(operator, holds, f"{file}; in double between commits {commits}", since, until)
        for operator, holds, file, commits, doubled, reverted in (
            ("RELU", products.relu_differs, "activations_common.cc", "d5d82e25f and b29826661",
             date(2022, 10, 27), date(2023, 2, 16)),
            ("SUB", products.sub_differs, "sub_common.cc", "d5d82e25f and b29826661",
             date(2022, 10, 27), date(2023, 2, 16)),
            ("SVDF", products.svdf_differs, "svdf_common.cc", "d5d82e25f and b29826661",
             date(2022, 10, 27), date(2023, 2, 16)),
            ("LEAKY_RELU", products.leaky_relu_differs, "leaky_relu_common.cc", "3bede6679 and 4aa157e5e",
             date(2022, 10, 27), date(2023, 2, 13)),
        )
        for since, until in ((None, doubled), (reverted, _DOUBLE))
    ),
)  # fmt: skip

FAULTS: tuple[Fault, ...] = (*FORM_FAULTS, *_ROUNDED, *MISSING)
