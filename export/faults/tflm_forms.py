"""Forms of operators that TFLite Micro's reference kernels compute otherwise, or refuse, by the day of its source."""

from __future__ import annotations

from datetime import date

import numpy as np

from export.faults.fault import Fault, Operator
from export.faults.geometry import dtype, tensor
from export.faults.means import mean_cut_off_differs, mean_in_float32_differs
from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.qparams import QParams
from qtorch.ops.resize_nearest_neighbor import indices
from qtorch.row.fused_activation import activation_limits

__all__ = ["BY_CHANCE", "FORM_FAULTS", "OPEN_BATCH", "UNSET_PADDING"]

#: The fault of SPACE_TO_BATCH_ND, which the newest TFLite Micro has too.
UNSET_PADDING = "space_to_batch_unset_padding"
#: Likewise.
OPEN_BATCH = "space_to_batch_open_batch"
#: What the newest TFLite Micro computes otherwise from run to run, and the written file has another form for.
BY_CHANCE = frozenset({UNSET_PADDING, OPEN_BATCH})
_WRITTEN_AGAIN = (
    "write the file again by qtorch compile --tflite, where it, a convolution and BATCH_TO_SPACE_ND are one dilated "
    "convolution, and ship that"
)

_CHECKED, _PER_CHANNEL = date(2024, 5, 28), date(2024, 9, 27)
_PER_TENSOR = "write the layer with one weight scale, or as a 1x1 CONV_2D, which is per channel everywhere"
_POOL = "take the mean of an image by AVERAGE_POOL_2D over all of it: nn.AvgPool2d with the image's size"
_GRIDS_OF_DIV = (
    "divide by numbers that are not 0, of a zero point beyond their codes, or above -128; or build without assertions"
)
_ACTIVATIONS = {1: "relu", 2: "relu_n1_to_1", 3: "relu6"}
_INT8, _INT16 = "int8", "int16"


def _weight_scales(operator: Operator) -> tuple[float, ...]:
    weight = tensor(operator, 1)
    return () if weight is None or dtype(operator) not in (_INT8, _INT16) else weight.scale


def _first_scale_for_all(operator: Operator) -> str:
    scales = _weight_scales(operator)
    if len(set(scales)) < 2:
        return ""
    return (
        f"{len(scales)} weight scales, {min(scales):.3g} to {max(scales):.3g}, all computed with the first, "
        f"{scales[0]:.3g}"
    )


def _several_scales(operator: Operator) -> str:
    scales = _weight_scales(operator)
    return f"{len(scales)} weight scales, where one is taken" if len(scales) > 1 else ""


def _several_scales_of_16_bits(operator: Operator) -> str:
    return f"int16 with {_several_scales(operator)}" if dtype(operator) == _INT16 and _several_scales(operator) else ""


def _several_scales_of_rank(operator: Operator) -> str:
    shape = operator.outputs[0].shape if operator.outputs else ()
    if not _several_scales(operator) or len(shape) == 2:
        return ""
    return f"{len(_weight_scales(operator))} weight scales and an output of {len(shape)} axes, where two are taken"


def _narrow_bias(operator: Operator) -> str:
    if dtype(operator) != _INT16 or dtype(operator, 2) != "int32":
        return ""
    return "int16 with a bias of int32, whose bytes are taken for int64"


def _weights_about_another_code(operator: Operator) -> str:
    weights = tensor(operator, 1)
    if weights is None or not any(weights.zero_point):
        return ""
    return f"weights whose zero point is {weights.zero_point[0]}"


def _no_bias(operator: Operator) -> str:
    if dtype(operator) != _INT16 or tensor(operator, 2) is not None:
        return ""
    return "int16 without a bias: sums of 32 bits and a multiplier of 32, not of 64 and 16"


def _activation_left_out(operator: Operator) -> str:
    output = operator.outputs[0] if operator.outputs else None
    activation = _ACTIVATIONS.get(operator.options.get("FusedActivationFunction", 0), "")
    if not activation or output is None or output.dtype not in CODE_RANGE or not output.scale:
        return ""
    if activation != "relu_n1_to_1":
        grid = QParams(output.scale[:1], output.zero_point[:1], output.dtype).grid
        low, high = activation_limits(activation, grid)
        if (low, high) == CODE_RANGE[output.dtype]:
            return ""
        return f"its {activation}, which holds codes between {low} and {high}, is left out"
    return f"its {activation} is left out"


def _other_pixels(operator: Operator) -> str:
    source, output = tensor(operator, 0), operator.outputs[0] if operator.outputs else None
    if source is None or output is None or not operator.options.get("HalfPixelCenters"):
        return ""
    if len(source.shape) != 4 or len(output.shape) != 4:
        return "half_pixel_centers, which is taken for false"
    align = bool(operator.options.get("AlignCorners"))
    for axis, name in ((1, "row"), (2, "column")):
        size, result = source.shape[axis], output.shape[axis]
        meant, taken = (indices(size, result, align_corners=align, half_pixel_centers=half) for half in (True, False))
        apart = (meant != taken).nonzero()
        if len(apart):
            at = int(apart[0])
            return (
                f"half_pixel_centers is taken for false: {name} {at} of {result} is {int(taken[at])} of {size} "
                f"instead of {int(meant[at])}"
            )
    return ""


def _several_reduced_axes(operator: Operator) -> str:
    held, source = operator.constants.get(1), tensor(operator, 0)
    axes = len(source.shape) if held is None and source is not None else len(held or b"") // 4
    return f"{axes} axes, noted in a list of two on the stack" if axes > 2 else ""


def _least_zero_point(operator: Operator) -> str:
    if dtype(operator) != _INT8:
        return ""
    tensors = (*operator.inputs, *operator.outputs)
    return "a zero point of -128" if any(each and -128 in each.zero_point for each in tensors) else ""


def _divisor_of_zero(operator: Operator) -> str:
    """Of an int8 DIV whose divisor may have the code of its zero point."""
    divisor = tensor(operator, 1)
    if divisor is None or divisor.dtype != _INT8 or not divisor.zero_point:
        return ""
    held = operator.constants.get(1)
    if held is not None and divisor.zero_point[0] not in np.frombuffer(held, np.int8):
        return ""
    return f"a divisor that may be 0, code {divisor.zero_point[0]}"


def _product_of_16_bits(operator: Operator) -> str:
    return "int16, whose multiplier was never worked out" if dtype(operator) == _INT16 else ""


def _unset_padding(operator: Operator) -> str:
    """Of a SPACE_TO_BATCH_ND whose paddings are not all known to be 0."""
    given = operator.constants.get(2)
    if given is None:
        return "paddings that are computed, with a byte that is never set"
    paddings = np.frombuffer(given, np.int32)
    source = tensor(operator, 0)
    if not paddings.any() or source is None:
        return ""
    zero = f", where the code of 0 is {source.zero_point[0]}" if source.zero_point else ""
    return f"{paddings.sum()} rows and columns of padding, in a byte that is never set{zero}"


def _open_batch(operator: Operator) -> str:
    """Of a SPACE_TO_BATCH_ND whose output has fewer pictures than its blocks make."""
    block, source = operator.constants.get(1), tensor(operator, 0)
    output = operator.outputs[0] if operator.outputs else None
    if block is None or source is None or output is None or not source.shape or not output.shape:
        return ""
    made = source.shape[0] * int(np.frombuffer(block, np.int32).prod())
    if output.shape[0] >= made:
        return ""
    return f"{output.shape[0]} of the {made} pictures that its blocks make: the size of the batch was left open"


FORM_FAULTS: tuple[Fault, ...] = (
    Fault(
        name=OPEN_BATCH,
        where="tflm",
        operators=("SPACE_TO_BATCH_ND",),
        holds=_open_batch,
        effect="other codes",
        remedy=f"{_WRITTEN_AGAIN}; or convert the network again with a batch of 1",
        source="tflite-micro, space_to_batch_nd.cc: shapes are those of the file, which has 1 where a size was left "
        "open; what the other pictures would be written to keeps what lay there",
        sure="run",
    ),
    Fault(
        name=UNSET_PADDING,
        where="tflm",
        operators=("SPACE_TO_BATCH_ND",),
        holds=_unset_padding,
        effect="other codes",
        remedy=f"{_WRITTEN_AGAIN}; or pad with PAD before it",
        source="tflite-micro, space_to_batch_nd.cc: SpaceToBatchParams are allocated and never written, so that "
        "output_offset is whatever lies there",
        sure="run",
    ),
    Fault(
        name="fully_connected_first_scale",
        where="tflm",
        operators=("FULLY_CONNECTED",),
        holds=_first_scale_for_all,
        effect="other codes",
        until=_CHECKED,
        form="convolution",
        remedy=_PER_TENSOR,
        source="tflite-micro, fully_connected_common.cc before 71fba59b5: filter->params.scale is the first scale",
        sure="run",
    ),
    Fault(
        name="fully_connected_per_channel_refused",
        where="tflm",
        operators=("FULLY_CONNECTED",),
        holds=_several_scales,
        effect="refused",
        since=_CHECKED,
        until=_PER_CHANNEL,
        form="convolution",
        remedy=_PER_TENSOR,
        source="tflite-micro 71fba59b5, until 47b545074 computes per channel",
        sure="run",
    ),
    Fault(
        name="fully_connected_int16_per_channel_refused",
        where="tflm",
        operators=("FULLY_CONNECTED",),
        holds=_several_scales_of_16_bits,
        effect="refused",
        since=_PER_CHANNEL,
        until=date(2025, 3, 17),
        form="convolution",
        remedy=_PER_TENSOR,
        source="tflite-micro 47b545074, until 39209b412",
        sure="run",
    ),
    Fault(
        name="fully_connected_per_channel_rank",
        where="tflm",
        operators=("FULLY_CONNECTED",),
        holds=_several_scales_of_rank,
        effect="refused",
        since=_PER_CHANNEL,
        until=date(2025, 1, 7),
        form="rank_2",
        remedy="reshape to [rows, inputs] before the layer and back behind it",
        source="integer_ops/fully_connected.h, FullyConnectedPerChannel: a check that ends the process, where there "
        "are checks, until 10ebaab9f",
        sure="run",
    ),
    Fault(
        name="fully_connected_weight_zero_point",
        where="tflm",
        operators=("FULLY_CONNECTED",),
        holds=_weights_about_another_code,
        effect="refused",
        until=date(2026, 9, 25),
        remedy="convert the model again: converters of today write weights whose zero point is 0",
        source="fully_connected_common.cc: a check that ends the process, where there are checks; the package of "
        "2026-09-10 has it, that of 2026-09-25 does not",
        sure="run",
    ),
    Fault(
        name="fully_connected_int16_bias_int32",
        where="tflm",
        operators=("FULLY_CONNECTED",),
        holds=_narrow_bias,
        effect="other codes",
        until=date(2025, 3, 17),
        remedy="write the bias as int64",
        source="tflite-micro, fully_connected.cc before 39209b412: GetOptionalTensorData<int64_t> of any bias",
        sure="read",
    ),
    *(
        Fault(
            name=f"{operator.lower()}_int16_no_bias",
            where="tflm",
            operators=(operator,),
            holds=_no_bias,
            effect="one step",
            since=since,
            until=date(2026, 6, 16),
            remedy="write a bias of int64 zeros",
            source=f"tflite-micro, {file} before 7ca66d18e",
            sure="read",
        )
        for operator, file, since in (
            ("FULLY_CONNECTED", "fully_connected.cc", date(2025, 3, 17)),
            ("CONV_2D", "conv.cc", date(2022, 4, 29)),
        )
    ),
    Fault(
        name="transpose_conv_activation_left_out",
        where="tflm",
        operators=("TRANSPOSE_CONV",),
        holds=_activation_left_out,
        effect="other codes",
        until=date(2026, 2, 10),
        form="separate_activation",
        remedy="write the activation as an operator of its own behind it",
        source="tflite-micro, transpose_conv.cc before 5b93e5b3f: kTfLiteActNone whatever the file says",
        sure="run",
    ),
    Fault(
        name="resize_nearest_neighbor_half_pixel_centers",
        where="tflm",
        operators=("RESIZE_NEAREST_NEIGHBOR",),
        holds=_other_pixels,
        effect="other codes",
        until=date(2026, 2, 10),
        form="copied_rows",
        remedy="resize by whole factors up, or without half_pixel_centers",
        source="tflite-micro, resize_nearest_neighbor.cc before ef48280f0: half_pixel_centers = false",
        sure="run",
    ),
    Fault(
        name="mean_in_float32",
        where="tflm",
        operators=("MEAN",),
        holds=mean_in_float32_differs,
        effect="one step",
        until=date(2023, 3, 1),
        form="summed_by_convolution",
        remedy=_POOL,
        source="tflite-micro, reduce.h before 6bc110ced: QuantizedMeanOrSum",
        sure="run",
    ),
    Fault(
        name="mean_cut_off",
        where="tflm",
        operators=("MEAN",),
        holds=mean_cut_off_differs,
        effect="one step",
        until=date(2023, 4, 18),
        form="summed_by_convolution",
        remedy=_POOL,
        source="tflite-micro, reduce_common.cc before b7a857ea7: Mean, of one grid",
        sure="run",
    ),
    Fault(
        name="reduced_axes",
        where="tflm",
        operators=("MEAN", "SUM"),
        holds=_several_reduced_axes,
        effect="other codes",
        until=date(2026, 1, 16),
        form="joined_axes",
        remedy="join axes that stand together before it, by RESHAPE: two axes are left then, or one",
        source="tflite-micro, reduce_common.cc before 0efdd51a3: int resolved_axis[2], whatever the file says",
        sure="run",
    ),
    Fault(
        name="div_least_zero_point",
        where="tflm",
        operators=("DIV",),
        holds=_least_zero_point,
        effect="refused",
        until=date(2025, 6, 3),
        remedy=_GRIDS_OF_DIV,
        source="tflite-micro, div.h before 0bf295625, DivCheckArithmeticParams: a check that ends the process, where "
        "there are checks",
        sure="run",
    ),
    Fault(
        name="div_by_zero",
        where="tflm",
        operators=("DIV",),
        holds=_divisor_of_zero,
        effect="refused",
        until=date(2026, 9, 25),
        remedy=_GRIDS_OF_DIV,
        source="div.h: a check that ends the process at the first divisor of 0, where there are checks; the package of "
        "2026-02-03 has it, that of 2026-09-25 does not",
        sure="run",
    ),
    Fault(
        name="mul_int16_without_multiplier",
        where="tflm",
        operators=("MUL",),
        holds=_product_of_16_bits,
        effect="other codes",
        until=date(2023, 2, 14),
        remedy="multiply in int8",
        source="tflite-micro, mul_common.cc before 35899fbaf: its Prepare works out int8 alone",
        sure="read",
    ),
    Fault(
        name="lstm_before_it_was_redesigned",
        where="tflm",
        operators=("UNIDIRECTIONAL_SEQUENCE_LSTM",),
        holds=lambda operator: "the kernel of before February 2023, with another tanh of the cell state",
        effect="other codes",
        until=date(2023, 3, 1),
        remedy="write the layer with a cell, nn.LSTMCell, in a loop",
        source="tflite-micro 0a1ccdfdd and dd8564729",
        sure="read",
    ),
)
