"""Scratch buffers of CMSIS-NN: at least what its own size functions give, in the release that an edition has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.arena.cmsis_nn import cmsis_nn
from export.arena.kernels import Call
from export.tflite.file_data import FileTensor
from tests.cmsis_nn_sizes import INSTRUCTIONS, Sizes
from tests.tflm_projects import require

_TYPES = {"int8": 9, "int16": 7, "int4": 17}
_STEADY, _FIRST = date(2024, 11, 11), date(2022, 8, 7)


def tensor(dtype: str, *shape: int) -> FileTensor:
    made = FileTensor(0, "", _TYPES[dtype], shape, (), True, 0, 0, (1.0,), (0,), None, False)
    assert made.dtype == dtype
    return made


def scratch(call: Call, unit: str, day: date | None) -> tuple[int, ...]:
    """The largest of builds for speed and for size."""
    builds = next(each for each in cmsis_nn(day) if each[0].name == f"cmsis_nn_{unit}")
    return max((kernels.rules[call.name](call).scratch for kernels in builds), key=sum)


def sliding(op: str, weights: str, dtype: str, at: tuple[int, ...], *, same: bool) -> Call:
    """A convolution of height, width, channels, kernel, strides, outputs (of a depthwise one: for each channel)."""
    height, width, channels, rows, columns, down, across, outputs = at
    shape = (-(-height // down), -(-width // across)) if same else (
        (height - rows) // down + 1, (width - columns) // across + 1,
    )  # fmt: skip
    options = {"StrideH": down, "StrideW": across, "Padding": 0 if same else 1}
    if op == "CONV_2D":
        kernel = tensor(weights, outputs, rows, columns, channels)
    else:
        kernel, outputs = tensor(weights, 1, rows, columns, channels * outputs), channels * outputs
    ends = tensor(dtype, 1, height, width, channels), tensor(dtype, 1, *shape, outputs)
    return Call(op, options, (ends[0], kernel, None), (ends[1],))


def transposed(at: tuple[int, ...]) -> Call:
    height, width, channels, rows, columns, down, across, outputs = at
    ends = (
        tensor("int8", 1, height, width, channels),
        tensor("int8", 1, (height - 1) * down + rows, (width - 1) * across + columns, outputs),
    )
    kernel = tensor("int8", outputs, rows, columns, channels)
    return Call("TRANSPOSE_CONV", {"StrideH": down, "StrideW": across}, (None, kernel, ends[0]), (ends[1],))


#: Of each operator what compiled functions of CMSIS-NN returned, by the day of their source.
_TIME = (1, 49, 128, 1, 10, 1, 4, 64)
_SAME = {"same": True}
_SAID: tuple[tuple[str, Call, str, Mapping[date, int]], ...] = (
    (
        "along one row, vectors", sliding("CONV_2D", "int8", "int8", _TIME, **_SAME), "mve",
        {date(2022, 8, 7): 5120, date(2023, 2, 13): 5120, date(2023, 5, 8): 0, date(2026, 7, 15): 1792},
    ),
    (
        "along one row, weights of 4 bits", sliding("CONV_2D", "int4", "int8", _TIME, **_SAME), "mve",
        {date(2023, 11, 14): 5120, date(2025, 2, 18): 1792, date(2026, 6, 17): 0},
    ),
    (
        "depthwise, three by three", sliding("DEPTHWISE_CONV_2D", "int8", "int8", (1, 3, 173, 3, 3, 4, 2, 1), **_SAME),
        "dsp", {date(2022, 11, 17): 3114, date(2023, 2, 13): 0, date(2026, 7, 15): 0},
    ),
    (
        "depthwise, many channels", sliding("DEPTHWISE_CONV_2D", "int8", "int8", (8, 8, 297, 7, 10, 1, 1, 1), **_SAME),
        "mve", {date(2022, 8, 7): 83164, date(2022, 9, 30): 34720, date(2026, 7, 15): 34720},
    ),
    (
        "turned", transposed((8, 8, 24, 3, 3, 2, 2, 16)), "dsp",
        {date(2023, 11, 14): 36864, date(2024, 6, 2): 36864, date(2024, 11, 11): 864, date(2026, 7, 15): 864},
    ),
    (
        "turned, few channels", transposed((8, 8, 8, 3, 3, 2, 2, 16)), "mve",
        {date(2024, 6, 2): 36864, date(2024, 11, 11): 3264, date(2026, 7, 15): 3264},
    ),
)  # fmt: skip


@pytest.mark.parametrize(("call", "unit", "said"), [each[1:] for each in _SAID], ids=[each[0] for each in _SAID])
def test_no_release_asks_for_more(call: Call, unit: str, said: Mapping[date, int]) -> None:
    for day, size in said.items():
        first = (*scratch(call, unit, day), 0)[0]
        assert size <= first <= max(2 * size, 5120), day


def test_before_7_0_0_a_turned_convolution_has_sums_beside() -> None:
    call = transposed((8, 8, 24, 3, 3, 2, 2, 16))
    sums = 4 * 17 * 17 * 16
    assert scratch(call, "dsp", date(2023, 5, 8)) == (sums,)
    assert scratch(call, "dsp", date(2024, 6, 2)) == (36864, sums)
    assert scratch(call, "dsp", _STEADY) == scratch(call, "dsp", None) == (864, 24 * 3 * 3 * 16)


def test_a_build_of_unknown_release_is_taken_to_be_of_7_0_0_or_newer() -> None:
    call = sliding("CONV_2D", "int8", "int8", _TIME, same=True)
    assert scratch(call, "mve", None) == scratch(call, "mve", _STEADY) == (1792,)
    assert scratch(call, "mve", _FIRST) == (5120,)


def drawn(count: int) -> Iterator[tuple[tuple[int, ...], bool]]:
    rng = np.random.default_rng(0)
    while count:
        height, width = (int(rng.choice([1, 1, 2, 7, 8, 16, 49, rng.integers(1, 128)])) for _ in range(2))
        rows, columns = (int(rng.choice([1, 1, 2, 3, 3, 4, 5, 10])) for _ in range(2))
        down, across = (int(rng.choice([1, 1, 1, 2, 3, 4])) for _ in range(2))
        if rng.random() < 0.3:
            height = rows = 1
        channels = int(rng.choice([1, 1, 3, 4, 8, 16, 17, 24, 64, 128, rng.integers(1, 300)]))
        same = bool(rng.random() < 0.6)
        if same or (rows <= height and columns <= width):
            count -= 1
            at = (height, width, channels, rows, columns, down, across, int(rng.choice([1, 2, 8, 16, 64])))
            yield at, same


@pytest.mark.parametrize("unit", INSTRUCTIONS)
def test_at_least_what_the_librarys_own_functions_say(unit: str, tmp_path: Path) -> None:
    root, stated = os.environ.get("CMSIS_NN_ROOT"), os.environ.get("CMSIS_NN_DAY")
    if not root or not stated:
        pytest.skip("CMSIS_NN_ROOT has no source tree of CMSIS-NN, with the day of its source in CMSIS_NN_DAY")
    require("gcc")
    sizes, day = Sizes(Path(root), tmp_path, unit), date.fromisoformat(stated)
    tried = 0
    for at, same in drawn(1000):
        calls: tuple[tuple[str, Call], ...] = (
            ("arm_convolve_wrapper_s8_get_buffer_size", sliding("CONV_2D", "int8", "int8", at, same=same)),
            ("arm_convolve_wrapper_s4_get_buffer_size", sliding("CONV_2D", "int4", "int8", at, same=same)),
            ("arm_convolve_wrapper_s16_get_buffer_size", sliding("CONV_2D", "int8", "int16", at, same=same)),
            ("arm_depthwise_conv_wrapper_s8_get_buffer_size",
             sliding("DEPTHWISE_CONV_2D", "int8", "int8", at, same=same)),
            ("arm_depthwise_conv_wrapper_s4_get_buffer_size",
             sliding("DEPTHWISE_CONV_2D", "int4", "int8", at, same=same)),
            ("arm_transpose_conv_s8_get_buffer_size", transposed(at)),
        )  # fmt: skip
        for name, call in calls:
            if name in sizes.names:
                expected = sizes.of(name, *_values(call))
                assert (*scratch(call, unit, day), 0)[0] >= expected, (name, at, same)
                tried += 1
    assert tried >= 3000


def _values(call: Call) -> tuple[Any, ...]:
    """In the order in which the compiled functions take them."""
    source = call.input(2 if call.name == "TRANSPOSE_CONV" else 0).shape
    kernel = call.input(1).shape
    padding = (0, 0) if call.name == "TRANSPOSE_CONV" else call.leading_padding((kernel[1], kernel[2]))
    multiplier = kernel[3] // source[3] if call.name == "DEPTHWISE_CONV_2D" else 1
    return (*source, *kernel, *call.output.shape, *call.strides, *padding, 1, 1, multiplier)
