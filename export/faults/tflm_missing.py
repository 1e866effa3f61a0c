"""Operators, and types of theirs, that came to TFLite Micro later: the day of each, from the history of its source.

An operator counts from the day on which ``micro_mutable_op_resolver.h`` has it; a type from the commit that adds it to
the kernel's cases.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from export.faults.fault import Fault, Operator
from export.faults.geometry import dtype
from qtorch.editions.edition import Library

__all__ = ["FIRST_DAYS", "FIRST_DAYS_OF_TYPES", "MISSING"]

_RESOLVER = "tflite-micro, micro_mutable_op_resolver.h"

#: Operators whose kernels some build leaves out, and what to add to it.
_LEFT_OUT = {
    name: f"signal/micro/kernels/{file}.cc, and what it includes of signal/src"
    for name, file in (
        ("SignalDelay", "delay"),
        ("SignalEnergy", "energy"),
        ("SignalFftAutoScale", "fft_auto_scale_kernel"),
        ("SignalFilterBank", "filter_bank"),
        ("SignalFilterBankLog", "filter_bank_log"),
        ("SignalFilterBankSpectralSubtraction", "filter_bank_spectral_subtraction"),
        ("SignalFilterBankSquareRoot", "filter_bank_square_root"),
        ("SignalFramer", "framer"),
        ("SignalIrfft", "irfft"),
        ("SignalOverlapAdd", "overlap_add"),
        ("SignalPCAN", "pcan"),
        ("SignalRfft", "rfft"),
        ("SignalStacker", "stacker"),
        ("SignalWindow", "window"),
    )
}

#: By operator: the first day and the commit.
FIRST_DAYS = {
    "DEPTH_TO_SPACE": (date(2021, 4, 21), "5a65a54ce"),
    "RESIZE_BILINEAR": (date(2021, 4, 28), "27eff3c71"),
    "GATHER_ND": (date(2021, 5, 3), "15c609314"),
    "IF": (date(2021, 5, 18), "73c5fa4d2"),
    "TRANSPOSE": (date(2021, 5, 20), "560fd3d1d"),
    "GATHER": (date(2021, 5, 24), "dd3db3d81"),
    "SPACE_TO_DEPTH": (date(2021, 6, 21), "89817c30d"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (date(2021, 8, 23), "1ca285989"),
    "ASSIGN_VARIABLE": (date(2021, 9, 7), "26944780f"),
    "CALL_ONCE": (date(2021, 9, 7), "26944780f"),
    "READ_VARIABLE": (date(2021, 9, 7), "26944780f"),
    "VAR_HANDLE": (date(2021, 9, 7), "26944780f"),
    "SLICE": (date(2021, 10, 25), "284df73c5"),
    "MIRROR_PAD": (date(2022, 1, 3), "873b98c42"),
    "BROADCAST_ARGS": (date(2022, 3, 15), "afd41a759"),
    "BROADCAST_TO": (date(2022, 3, 15), "afd41a759"),
    "WHILE": (date(2022, 3, 16), "359c83a84"),
    "DIV": (date(2022, 7, 20), "32b0fe993"),
    "SUM": (date(2022, 7, 20), "32b0fe993"),
    "SQUARED_DIFFERENCE": (date(2022, 8, 6), "8b9d46929"),
    "SELECT_V2": (date(2022, 8, 16), "286aeb5ff"),
    "LOG_SOFTMAX": (date(2022, 10, 12), "21ea0a6b3"),
    "CUSTOM:SignalWindow": (date(2023, 6, 14), "925909cf6"),
    "CUSTOM:SignalRfft": (date(2023, 6, 21), "f22888af6"),
    "CUSTOM:SignalFramer": (date(2023, 7, 11), "29d8dbfd4"),
    "CUSTOM:SignalOverlapAdd": (date(2023, 7, 11), "597ccf786"),
    "CUSTOM:SignalStacker": (date(2023, 7, 12), "296b81858"),
    "CUSTOM:SignalDelay": (date(2023, 7, 12), "7781c4979"),
    "CUSTOM:SignalEnergy": (date(2023, 7, 13), "8ee06dcba"),
    "CUSTOM:SignalFilterBank": (date(2023, 7, 14), "2548022e0"),
    "CUSTOM:SignalFilterBankLog": (date(2023, 7, 14), "2548022e0"),
    "CUSTOM:SignalFilterBankSquareRoot": (date(2023, 7, 14), "2548022e0"),
    "CUSTOM:SignalFftAutoScale": (date(2023, 7, 18), "70aed11c9"),
    "CUSTOM:SignalIrfft": (date(2023, 7, 19), "55037d2d5"),
    "CUSTOM:SignalFilterBankSpectralSubtraction": (date(2023, 7, 25), "e2cdefd52"),
    "EMBEDDING_LOOKUP": (date(2023, 7, 26), "aa945a0fc"),
    "CUSTOM:SignalPCAN": (date(2023, 8, 23), "e01fdf05a"),
    # In the source since 2023-09-06 (5d542d7ed); this is the first day on which the Python package has it as well.
    "BATCH_MATMUL": (date(2024, 1, 9), "85e19ddd4"),
    "REVERSE_V2": (date(2025, 7, 10), "41a9c8a6c"),
    "REDUCE_MIN": (date(2025, 8, 5), "3d4cdc19f"),
    "CUSTOM:TFLM_DECODE": (date(2025, 10, 17), "d96fe663d"),
    "DYNAMIC_UPDATE_SLICE": (date(2025, 11, 10), "62cbc8e3e"),
    "REDUCE_ALL": (date(2026, 1, 8), "ef382bdaa"),
}

#: By operator and the type of its first input that is no index: the first day and the commit.
FIRST_DAYS_OF_TYPES = {
    ("AVERAGE_POOL_2D", "int16"): (date(2023, 1, 17), "4b0314f25"),
    ("MAX_POOL_2D", "int16"): (date(2023, 1, 17), "4b0314f25"),
    ("SQUARED_DIFFERENCE", "int16"): (date(2023, 3, 6), "a4dc63912"),
    # Tables of int8 codes count them from 0 on by it.
    ("ADD", "int32"): (date(2023, 3, 30), "e87b788f2"),
    ("DEPTHWISE_CONV_2D", "int16"): (date(2023, 8, 1), "a7846a175"),
    ("EXPAND_DIMS", "int16"): (date(2024, 5, 24), "be11bd79e"),
    ("MAXIMUM", "int16"): (date(2024, 9, 9), "19aaea85e"),
    ("MINIMUM", "int16"): (date(2024, 9, 9), "19aaea85e"),
    ("RELU6", "int16"): (date(2024, 9, 26), "ef2179ce0"),
    ("TRANSPOSE", "int16"): (date(2025, 3, 17), "39209b412"),
    ("UNPACK", "int16"): (date(2025, 3, 17), "39209b412"),
    ("EQUAL", "int16"): (date(2025, 3, 17), "39209b412"),
    ("NOT_EQUAL", "int16"): (date(2025, 3, 17), "39209b412"),
    ("GREATER", "int16"): (date(2025, 3, 17), "39209b412"),
    ("GREATER_EQUAL", "int16"): (date(2025, 3, 17), "39209b412"),
    ("LESS", "int16"): (date(2025, 3, 17), "39209b412"),
    ("LESS_EQUAL", "int16"): (date(2025, 3, 17), "39209b412"),
    ("RELU", "int16"): (date(2025, 3, 21), "b78bb7e31"),
    ("SUB", "int32"): (date(2025, 6, 4), "686df2db9"),
    ("PRELU", "int16"): (date(2025, 9, 9), "aa6e62517"),
}

#: Of these, what kernel libraries had before TFLite Micro's own kernels, in every edition that is known.
_SPARED: dict[tuple[str, str], tuple[Library, ...]] = {
    # arm_depthwise_conv_s16, since 2022-05: run in Chirale_TensorFLowLite 2.0.0 and Arduino's examples.
    ("DEPTHWISE_CONV_2D", "int16"): ("cmsis_nn",),
}


#: What the same is made of, to the bit, where something does it.
_FORMS = {
    ("REVERSE_V2", ""): "pieces",
    ("TRANSPOSE", "int16"): "pieces",
    ("REDUCE_MIN", ""): "halves",
    ("RELU", "int16"): "fused_with_zero",
    ("RELU6", "int16"): "fused_with_zero",
    ("ADD", "int32"): "quantized_index",
}


def _there(words: str) -> Callable[[Operator], str]:
    return lambda operator: words


def _of_type(wanted: str, words: str) -> Callable[[Operator], str]:
    return lambda operator: words if dtype(operator) == wanted else ""


MISSING: tuple[Fault, ...] = (
    *(
        Fault(
            name=f"no_{operator.removeprefix('CUSTOM:').lower()}",
            where="tflm",
            operators=(operator,),
            holds=_there(f"an operator that came to TFLite Micro on {day}"),
            effect="refused",
            until=day,
            form=_FORMS.get((operator, ""), ""),
            remedy="take a newer TFLite Micro, or write the layer with other operators",
            source=f"{_RESOLVER}, {commit}",
            sure="read",
        )
        for operator, (day, commit) in FIRST_DAYS.items()
    ),
    *(
        Fault(
            name=f"no_{dtype}_{operator.lower()}",
            where="tflm",
            operators=(operator,),
            holds=_of_type(dtype, f"{dtype}, which came to this operator on {day}"),
            effect="refused",
            until=day,
            form=_FORMS.get((operator, dtype), ""),
            spared=_SPARED.get((operator, dtype), ()),
            remedy="take a newer TFLite Micro, or compute this layer in int8"
            if dtype == "int16"
            else "take a newer TFLite Micro, or write the layer with other operators",
            source=f"tflite-micro {commit}",
            sure="read",
        )
        for (operator, dtype), (day, commit) in FIRST_DAYS_OF_TYPES.items()
    ),
    *(
        Fault(
            name=f"no_kernel_of_{operator.lower()}",
            where="tflm",
            operators=(f"CUSTOM:{operator}",),
            holds=_there("an operator whose kernel this build leaves out"),
            effect="not linked",
            left_out=True,
            repeats=(f"no_{operator.lower()}",),
            remedy=f"add {sources} to the build, and register an edition of your own that is not without it; or do "
            "this step in front of the model",
            source="the build's list of sources: Zephyr's modules/tflite-micro/CMakeLists.txt, Himax's "
            "tflmtag2412_u55tag2411.mk",
            sure="read",
        )
        for operator, sources in _LEFT_OUT.items()
    ),
)
