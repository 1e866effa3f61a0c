"""What ESP-NN, and Espressif's wrappers around it, compute otherwise than TFLite Micro's reference kernels.

Read in espressif/esp-nn up to 2026-04-27 (1.2.3), what is later in threads alone, and espressif/esp-tflite-micro up to
2026-08-13 (1.4.0). "Run" is: ESP-NN's portable C on the host against a plain loop, called as the wrapper calls it.
Days are those of releases: 1.0.0 2023-06-26, 1.0.1 2023-08-22, 1.0.2 2023-10-11, 1.1.0 2024-09-16, 1.1.1 2025-03-14,
1.1.2 2025-09-01, 1.2.0 2026-04-06, 1.2.1 2026-04-08, 1.2.2 2026-04-26 (one before the next, which was made the same
day), 1.2.3 2026-04-27. Days of the wrappers lie between two synchronizations with TFLite Micro.
"""

from __future__ import annotations

from datetime import date

from export.faults import esp_nn_conditions as where
from export.faults.fault import Fault

__all__ = ["FAULTS"]

#: The two with vectors, whose kernels are their own; ESP32, C3, C6 and the like compute with portable C.
_S3 = ("xtensa-s3",)
_P4 = ("riscv32-p4",)

_V1_1_0, _V1_1_2 = date(2024, 9, 16), date(2025, 9, 1)
_V1_2_1, _V1_2_3 = date(2026, 4, 8), date(2026, 4, 27)
#: When esp-nn#31 and #37 were merged; the releases behind it are 1.2.6 and 1.2.7.
_AUGUST = date(2026, 8, 26)

_PAD = "padding by an operator of its own, PAD, in front of a convolution without"

_CONVOLUTIONS = (
    Fault(
        name="conv_s3",
        where="esp_nn",
        operators=("CONV_2D",),
        holds=where.three_vectors,
        effect="other codes",
        until=date(2023, 6, 13),
        cores=_S3,
        form="room_between_taps",
        remedy="kernels whose width times channels is 32 at most; or esp-nn 1.0.0",
        source="esp-nn#5, esp-tflite-micro#51, commit 5d10a3a: esp_nn_conv_s8_filter_aligned_input_padded_esp32s3.S "
        "reads a row's third vector where the fourth stands too",
        sure="read",
    ),
    Fault(
        name="conv_s3_padding_behind",
        where="esp_nn",
        operators=("CONV_2D",),
        holds=where.more_padding_behind,
        effect="other codes",
        until=_V1_2_1,
        cores=_S3,
        form="explicit_padding",
        remedy=_PAD,
        source="esp_nn_conv_esp32s3.c to 1.2.0, changed by 27d1f4a: the last row and column are read past the tensor",
        sure="read",
    ),
    Fault(
        name="conv_s3_padding_on_two_sides",
        where="esp_nn",
        operators=("CONV_2D",),
        holds=where.padding_on_two_sides,
        effect="other codes",
        since=_V1_2_1,
        until=_AUGUST,
        cores=_S3,
        form="explicit_padding",
        remedy=_PAD,
        source="esp-nn#31; esp_nn_conv_esp32s3.c of 1.2.1 to 1.2.3",
        sure="reported",
    ),
    Fault(
        name="conv_s3_padding_height",
        where="esp_nn",
        operators=("CONV_2D",),
        holds=where.padding_not_of_one_row,
        effect="overwrites",
        until=date(2023, 10, 11),
        cores=_S3,
        form="explicit_padding",
        remedy=_PAD,
        source="esp-nn#8, commit d3a674a: the first row is laid out behind one row of padding, however many there are",
        sure="read",
    ),
    Fault(
        name="conv_p4_padding_behind",
        where="esp_nn",
        operators=("CONV_2D",),
        holds=where.padding_behind_alone,
        effect="other codes",
        since=_V1_1_0,
        until=_V1_1_2,
        cores=_P4,
        form="explicit_padding",
        remedy=_PAD,
        source="commit c249777",
        sure="read",
    ),
    Fault(
        name="conv_grouped",
        where="tflm_esp_nn",
        operators=("CONV_2D",),
        holds=where.grouped,
        effect="other codes",
        form="ungrouped",
        remedy="one convolution per group, between slices and a concatenation",
        source="kernels/esp_nn/conv.cc, EvalQuantizedPerChannel: input_depth is MatchingDim of input and filter, which "
        "is the smaller one, or stops a build with assertions",
        sure="run",
    ),
    Fault(
        name="conv_memory",
        where="tflm_esp_nn",
        operators=("CONV_2D",),
        holds=where.first_record,
        effect="overwrites",
        since=date(2024, 1, 8),
        until=date(2025, 2, 17),
        form="behind_quantize",
        remedy="an operator with a record of its own in front, as PAD or QUANTIZE; or esp-tflite-micro 1.3.4",
        source="tflite-micro#3046, esp-tflite-micro a91b807: NodeData of 60 bytes in the 56 of OpDataConv, for which "
        "Init asks; records begin at multiples of 16",
        sure="read",
    ),
    Fault(
        name="conv_no_bias",
        where="tflm_esp_nn",
        operators=("CONV_2D", "DEPTHWISE_CONV_2D"),
        holds=where.no_bias,
        effect="refused",
        remedy="a bias of zeros",
        source="kernels/esp_nn/conv.cc and depthwise_conv.cc: GetTensorData of a tensor that there may not be",
        sure="read",
    ),
    Fault(
        name="depthwise_s3_scratch",
        where="esp_nn",
        operators=("DEPTHWISE_CONV_2D",),
        holds=where.depthwise_scratch,
        effect="overwrites",
        until=date(2026, 3, 30),
        cores=_S3,
        form="room_between_taps",
        remedy="one output per channel, behind a CONV_2D that makes more of them; or esp-nn 1.2.0",
        source="esp-nn#7 and #8, commit dd785b0",
        sure="read",
    ),
    Fault(
        name="depthwise_s3_3x3_padding",
        where="esp_nn",
        operators=("DEPTHWISE_CONV_2D",),
        holds=where.depthwise_3x3_padding,
        effect="overwrites",
        until=_AUGUST,
        cores=_S3,
        form="explicit_padding",
        remedy=_PAD,
        source="esp-nn#30; esp_nn_depthwise_conv_s8_esp32s3.c, already of 1.1.2",
        sure="reported",
    ),
    Fault(
        name="depthwise_s3_tiles",
        where="esp_nn",
        operators=("DEPTHWISE_CONV_2D",),
        holds=where.depthwise_tiles,
        effect="other codes",
        since=_V1_2_1,
        until=_AUGUST,
        cores=_S3,
        form="explicit_padding",
        remedy=_PAD,
        source="esp_nn_depthwise_conv_s8_esp32s3.c of 1.2.1 to 1.2.3; a later file clears those rows",
        sure="read",
    ),
)

_DENSE = (
    Fault(
        name="fully_connected_s3_short_rows",
        where="esp_nn",
        operators=("FULLY_CONNECTED",),
        holds=where.short_rows,
        effect="other codes",
        until=date(2023, 6, 23),
        cores=_S3,
        form="convolution",
        remedy="at least 8 inputs, with weights of 0, or a 1x1 CONV_2D",
        source="commit db4b054",
        sure="read",
    ),
    Fault(
        name="fully_connected_s3_odd_vectors",
        where="esp_nn",
        operators=("FULLY_CONNECTED",),
        holds=where.odd_blocks,
        effect="other codes",
        since=_V1_2_1,
        until=_V1_2_3,
        cores=_S3,
        remedy="inputs a multiple of 32, with weights of 0; or esp-nn 1.2.3",
        source="commit 65c2d99, esp_nn_dot_s8_esp32s3.S",
        sure="read",
    ),
    Fault(
        name="fully_connected_s3_unaligned_rows",
        where="esp_nn",
        operators=("FULLY_CONNECTED",),
        holds=where.unaligned_rows,
        effect="other codes",
        until=_AUGUST,
        cores=_S3,
        form="convolution",
        remedy="one row, or rows a multiple of 16 long",
        source="esp-nn#34, where an input's address is no multiple of 8: so is a second row's",
        sure="reported",
    ),
    Fault(
        name="elementwise_s3_unaligned_constant",
        where="esp_nn",
        operators=("ADD", "MUL"),
        holds=where.unaligned_constant,
        effect="other codes",
        until=date(2023, 8, 16),
        cores=_S3,
        remedy="write it again by qtorch compile --tflite, where each begins at a multiple of 16; or esp-nn 1.0.1",
        source="esp-nn#6, commit 1f09326: vectors are read at the address rounded down",
        sure="reported",
    ),
    Fault(
        name="fully_connected_per_channel",
        where="tflm_esp_nn",
        operators=("FULLY_CONNECTED",),
        holds=where.per_channel,
        effect="other codes",
        until=date(2025, 9, 1),
        form="convolution",
        remedy="one scale for all weights, or a 1x1 CONV_2D",
        source="esp-tflite-micro#108: zeros before 1.3.4",
        repeats=("fully_connected_first_scale", "fully_connected_per_channel_refused"),
        sure="reported",
    ),
    Fault(
        name="fully_connected_int16_per_channel",
        where="tflm_esp_nn",
        operators=("FULLY_CONNECTED",),
        holds=where.per_channel_int16,
        effect="other codes",
        since=date(2025, 3, 17),
        form="convolution",
        remedy="one scale for all weights, or a 1x1 CONV_2D",
        source="kernels/esp_nn/fully_connected.cc, Eval: int16 is computed with a multiplier of all weights, which "
        "Prepare has not worked out; a build with assertions stops",
        sure="run",
    ),
    Fault(
        name="fully_connected_rank",
        where="tflm_esp_nn",
        operators=("FULLY_CONNECTED",),
        holds=where.rank_above_two,
        effect="other codes",
        until=date(2024, 10, 14),
        form="rank_2",
        remedy="two axes around it, by RESHAPE",
        source="esp-tflite-micro eeb4e85, in 1.3.2",
        sure="read",
    ),
    Fault(
        name="softmax_scratch",
        where="tflm_esp_nn",
        operators=("SOFTMAX",),
        holds=where.softmax_scratch,
        effect="overwrites",
        form="rank_2",
        remedy="two axes around it, by RESHAPE",
        source="kernels/esp_nn/softmax.cc, Prepare; harmless where a later esp-nn needs no row of memory",
        sure="run",
    ),
    Fault(
        name="softmax_s3_several_rows",
        where="esp_nn",
        operators=("SOFTMAX",),
        holds=where.several_long_rows,
        effect="other codes",
        since=_V1_2_1,
        cores=_S3,
        form="one_row",
        remedy="one row at a time, or rows a multiple of 16 or below 32 long",
        source="esp_nn_softmax_s8_esp32s3.c of 1.2.1 to 1.2.3; gone in a later file whose day is not known",
        sure="read",
    ),
)

#: Types that the wrappers did not take at first: the day and the commit that brought them.
_FIRST_DAYS = {
    ("ADD", "int32"): (date(2023, 10, 17), "6dbfcbc"),
    ("CONV_2D", "int16"): (date(2024, 1, 8), "96b2a40"),
    ("DEPTHWISE_CONV_2D", "int16"): (date(2024, 1, 8), "96b2a40"),
    ("FULLY_CONNECTED", "int16"): (date(2024, 6, 1), "30f24e6"),
    ("MUL", "int16"): (date(2024, 6, 1), "30f24e6"),
}

_MISSING = tuple(
    Fault(
        name=f"esp_no_{dtype}_{operator.lower()}",
        where="tflm_esp_nn",
        operators=(operator,),
        holds=where.sixteen_bits if dtype == "int16" else where.thirty_two_bits,
        effect="refused",
        until=day,
        remedy="take esp-tflite-micro 1.3.1, or compute this layer in int8"
        if dtype == "int16"
        else "take esp-tflite-micro 1.3.1, or write the layer with other operators",
        source=f"esp-tflite-micro {commit}; refused by 1.2.0, built for a PC",
        sure="run",
    )
    for (operator, dtype), (day, commit) in _FIRST_DAYS.items()
)

_OF_FOUR_BITS = tuple(
    Fault(
        name=f"esp_no_int4_{operator.lower()}",
        where="tflm_esp_nn",
        operators=(operator,),
        holds=where.four_bits,
        effect="other codes" if operator == "DEPTHWISE_CONV_2D" else "refused",
        until=_FIRST_DAYS[operator, "int16"][0],
        form="eight_bits",
        remedy="weights of 8 bits; or take esp-tflite-micro 1.3.1",
        source=f"esp-tflite-micro {_FIRST_DAYS[operator, 'int16'][1]}; {before}",
        sure="read" if operator == "DEPTHWISE_CONV_2D" else "run",
    )
    for operator, before in (
        ("CONV_2D", "refused by 1.2.0, built for a PC"),
        ("DEPTHWISE_CONV_2D", "before, kernels/esp_nn/depthwise_conv.cc reads two weights as one of 8 bits"),
        ("FULLY_CONNECTED", "refused by 1.2.0, built for a PC"),
    )
)

#: All of them, with those of the wrappers.
FAULTS: tuple[Fault, ...] = (*_CONVOLUTIONS, *_DENSE, *_MISSING, *_OF_FOUR_BITS)
