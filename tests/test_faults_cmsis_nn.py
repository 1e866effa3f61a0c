"""What CMSIS-NN and its wrappers compute otherwise: each by the smallest operator that has it and one beside it.

The conditions on rows and on transposed convolutions are held against what the library's own C computed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from export.faults import cmsis_nn_conditions as conditions
from export.faults.cmsis_nn import FAULTS
from export.faults.fault import Operator
from qtorch.editions.edition import Edition
from tests.fault_operators import Case, T, conv, dense, depthwise, operator, transposed

_MEASURED = Path(__file__).with_name("measured")
_FAULTS = {fault.name: fault for fault in FAULTS}


def _pool(batch: int) -> Operator:
    return operator(
        "AVERAGE_POOL_2D", [T((batch, 4, 4, 4))], T((batch, 2, 2, 4)), "Pool2DOptions",
        padding=1, strideH=2, strideW=2, filterHeight=2, filterWidth=2,
    )  # fmt: skip


def _matmul(left: tuple[int, ...], right: tuple[int, ...], transpose: bool = False) -> Operator:
    out = (*left[:-2], left[-1] if transpose else left[-2], right[-1])
    return operator("BATCH_MATMUL", [T(left), T(right)], T(out), "BatchMatMulOptions", adjX=transpose)


def _plain(name: str, *shapes: tuple[int, ...], dtype: str = "int8") -> Operator:
    return operator(name, [T(each, dtype) for each in shapes[:-1]], T(shapes[-1], dtype))


def _lstm(dtype: str) -> Operator:
    return _plain("UNIDIRECTIONAL_SEQUENCE_LSTM", (1, 5, 4), (1, 5, 3), dtype=dtype)


CASES = [
    Case("conv_1xn_refused", conv((1, 18), (1, 4), (1, 3)), "2 columns", conv((1, 17), (1, 4), (1, 3))),
    # Three columns times three channels are no multiple of 4, which keeps off the path.
    Case("conv_1xn_refused", conv((1, 18), (1, 4), (1, 3)), "2 c", conv((1, 18), (1, 4), (1, 3), channels=3)),
    Case("conv_1xn_refused", conv((1, 18), (1, 4), (1, 3)), "2 c", conv((2, 18), (1, 4), (1, 3))),
    Case("conv_1xn_refused", conv((1, 18), (1, 4), (1, 3)), "2 c", conv((1, 18), (1, 4), (1, 3), groups=2)),
    Case("conv_1xn_refused", conv((1, 24), (1, 4), (1, 3)), "2 c", conv((1, 24), (1, 4), (1, 3), dilation=(1, 2))),
    Case("conv_1xn_refused", conv((1, 18), (1, 4), (1, 3)), "2 c", conv((1, 18), (1, 4), (1, 3), dtype="int16")),
    Case("conv_1xn_few_windows", conv((1, 3), (1, 5), same=True), "2 and 2", conv((1, 4), (1, 5), same=True)),
    Case(
        "conv_1xn_few_windows_of_four_bits",
        conv((1, 2), (1, 5), same=True, weights="int4"),
        "2 and 2 padded",
        conv((1, 2), (1, 5), same=True),
    ),
    Case(
        "depthwise_conv_of_four_bits",
        depthwise((3, 3), (3, 3), weights="int4"),
        "3x3 of four bits on 16 channels",
        depthwise((3, 3), (3, 3)),
    ),
    Case(
        "depthwise_conv_of_four_bits_odd_channels",
        depthwise((3, 3), (3, 3), channels=5, multiplier=2, weights="int4"),
        "2 outputs of each of 5 channels",
        depthwise((3, 3), (3, 3), channels=6, multiplier=2, weights="int4"),
    ),
    Case("conv_1xn_last_window", conv((1, 8), (1, 3), (1, 2)), "a column behind", conv((1, 7), (1, 3), (1, 2))),
    Case(
        "conv_1xn_last_window",
        conv((1, 13), (1, 5), (1, 2), same=True),
        "past the end",
        conv((1, 13), (1, 5), same=True),
    ),
    Case(
        "conv_1xn_last_window",
        conv((1, 12), (1, 7), (1, 2), same=True),
        "scratch",
        conv((1, 12), (1, 3), (1, 2), same=True),
    ),
    Case("conv_1xn_last_window", conv((1, 8), (1, 3), (1, 2)), "", conv((8, 1), (3, 1), (2, 1))),
    Case("conv_1xn_of_several_rows", conv((1, 4), (3, 3), same=True), "3x3", conv((1, 5), (3, 3), same=True)),
    Case("conv_1xn_of_several_rows", conv((1, 4), (3, 3), same=True), "4 col", conv((1, 4), (1, 3), same=True)),
    Case("conv_grouped", conv((3, 3), (3, 3), groups=2), "2 groups", conv((3, 3), (3, 3))),
    Case("conv_grouped_as_ungrouped", conv((3, 3), (3, 3), groups=2), "2 groups", conv((3, 3), (3, 3))),
    Case(
        "conv_grouped_of_four_bits",
        conv((3, 3), (3, 3), groups=2, weights="int4"),
        "2 groups",
        conv((3, 3), (3, 3), groups=2),
    ),
    Case(
        "conv_grouped_of_four_bits",
        conv((3, 3), (3, 3), groups=2, weights="int4"),
        "2",
        conv((3, 3), (3, 3), weights="int4"),
    ),
    Case(
        "conv_grouped_of_sixteen_bits",
        conv((3, 3), (3, 3), groups=2, dtype="int16"),
        "2 groups",
        conv((3, 3), (3, 3), groups=2),
    ),
    Case(
        "conv_grouped_of_sixteen_bits",
        conv((3, 3), (3, 3), groups=2, dtype="int16"),
        "2",
        conv((3, 3), (3, 3), dtype="int16"),
    ),
    Case(
        "softmax_int16_of_one",
        operator("SOFTMAX", [T((2, 1), "int16")], T((2, 1), "int16")),
        "one element",
        operator("SOFTMAX", [T((2, 2), "int16")], T((2, 2), "int16")),
    ),
    Case(
        "softmax_int16_of_one",
        operator("SOFTMAX", [T((2, 1), "int16")], T((2, 1), "int16")),
        "one",
        _plain("SOFTMAX", (2, 1), (2, 1)),
    ),
    Case("conv_grouped_1x1_scratch", conv((3, 3), (1, 1), groups=2), "1x1 in 2 groups", conv((3, 3), (1, 1))),
    Case("conv_grouped_1x1_scratch", conv((3, 3), (1, 1), groups=2), "1x1", conv((3, 3), (3, 3), groups=2)),
    Case("conv_grouped_1xn_scratch", conv((1, 9), (1, 3), groups=2), "1x3", conv((3, 9), (1, 3), groups=2)),
    Case("conv_grouped_1xn_scratch", conv((1, 9), (1, 3), groups=2), "2 groups", conv((1, 9), (1, 3))),
    Case(
        "conv_int16_narrow_bias",
        conv((3, 3), (3, 3), dtype="int16"),
        "int32 under int16",
        conv((3, 3), (3, 3), dtype="int16", bias="int64"),
    ),
    Case("conv_int16_narrow_bias", conv((3, 3), (3, 3), dtype="int16"), "int32", conv((3, 3), (3, 3))),
    Case(
        "depthwise_conv_int16_narrow_bias",
        depthwise((3, 3), (3, 3), dtype="int16"),
        "int32",
        depthwise((3, 3), (3, 3), dtype="int16", bias="int64"),
    ),
    Case(
        "transpose_conv_padding_off_strides",
        transposed((4, 4), (4, 4), (2, 2), (8, 8)),
        "padding 1 above with stride 2",
        transposed((4, 4), (3, 3), (2, 2), (8, 8)),
    ),
    Case(
        "transpose_conv_padding_off_strides",
        transposed((4, 4), (4, 4), (2, 2), (8, 8)),
        "4 channels",
        transposed((4, 4), (4, 4), (2, 2), (8, 8), channels=17),
    ),
    Case(
        "transpose_conv_few_rows",
        transposed((1, 4), (5, 1), (1, 1), (1, 4)),
        "padding 2 above of 1 rows",
        transposed((2, 4), (5, 1), (1, 1), (2, 4)),
    ),
    Case(
        "transpose_conv_past_output",
        transposed((4, 4), (2, 2), (2, 2), (7, 7)),
        "8 rows are written of 7",
        transposed((4, 4), (2, 2), (2, 2), (8, 8)),
    ),
    Case(
        "transpose_conv_wide_stride",
        transposed((4, 4), (2, 2), (2, 3), (8, 12)),
        "stride 2x3",
        transposed((4, 4), (2, 2), (3, 2), (12, 8)),
    ),
    Case("fully_connected_per_channel", dense(8, scales=4), "4 scales", dense(8)),
    Case("fully_connected_per_channel_not_int8", dense(8, scales=4, dtype="int16"), "int16", dense(8, scales=4)),
    Case("fully_connected_per_channel_not_int8", dense(8, scales=4, weights="int4"), "int4", dense(8, weights="int4")),
    Case("fully_connected_int16_narrow_bias", dense(8, dtype="int16"), "int32", dense(8, dtype="int16", bias="int64")),
    Case("fully_connected_as_1x1", dense(8, rows=(1, 2)), "rank 3 and rows of 8", dense(8, rows=(2,))),
    Case("fully_connected_as_1x1", dense(8, rows=(1, 2)), "rank 3", dense(7, rows=(1, 2))),
    Case("fully_connected_as_1x1", dense(8, rows=(1, 2)), "rank 3", dense(8, rows=(1, 2), scales=4)),
    Case("fully_connected_int16_long_rows", dense(513, dtype="int16"), "513", dense(512, dtype="int16")),
    Case("softmax_several_rows", _plain("SOFTMAX", (2, 4), (2, 4)), "2 rows", _plain("SOFTMAX", (1, 4), (1, 4))),
    Case("batch_matmul_left_not_square", _matmul((2, 3, 4), (2, 4, 5)), "3x4", _matmul((2, 3, 3), (2, 3, 5))),
    Case(
        "batch_matmul_transposed_broadcast",
        _matmul((2, 4, 3), (1, 4, 5), transpose=True),
        "[2, 4, 3] over",
        _matmul((2, 3, 4), (1, 4, 5)),
    ),
    Case(
        "batch_matmul_transposed_broadcast",
        _matmul((2, 4, 3), (1, 4, 5), transpose=True),
        "[1, 4, 5]",
        _matmul((2, 4, 3), (2, 4, 5), transpose=True),
    ),
    Case(
        "batch_matmul_rank",
        _matmul((1, 1, 2, 3, 3), (1, 1, 2, 3, 3)),
        "rank 5",
        _matmul((1, 2, 3, 3), (1, 2, 3, 3)),
    ),
    Case("pool_several_samples", _pool(2), "batch of 2", _pool(1)),
    Case("transpose_rank", _plain("TRANSPOSE", (1,) * 5, (1,) * 5), "rank 5", _plain("TRANSPOSE", (1,) * 4, (1,) * 4)),
    Case("pad_rank", _plain("PAD", (2, 3), (2, 5)), "rank 2", _plain("PAD", (1, 1, 2, 3), (1, 1, 2, 5))),
    Case("pad_rank", _plain("PAD", (2, 3), (2, 5)), "rank 2", _plain("PAD", (2, 3), (2, 5), dtype="int16")),
    Case(
        "minimum_maximum_rank",
        _plain("MINIMUM", (2, 3), (3,), (2, 3)),
        "rank 1, 3 elements",
        _plain("MINIMUM", (2, 3), (1,), (2, 3)),
    ),
    Case("minimum_maximum_rank", _plain("MAXIMUM", (2, 3), (3,), (2, 3)), "rank 1", _plain("MAXIMUM", *[(2, 3)] * 3)),
    Case("conv_1xn_of_several_rows", conv((1, 4), (2, 3), same=True), "2x3", conv((2, 4), (2, 3), same=True)),
    Case("conv_grouped", conv((3, 3), (3, 3), groups=2), "2 groups", conv((3, 3), (3, 3), groups=2, dtype="int16")),
    Case(
        "conv_int16_narrow_bias",
        conv((3, 3), (3, 3), dtype="int16"),
        "int32",
        conv((3, 3), (3, 3), dtype="int16", bias=""),
    ),
    Case(
        "transpose_conv_padding_off_strides",
        transposed((4, 4), (4, 4), (2, 2), (8, 8), channels=16),
        "16 channels",
        transposed((4, 4), (4, 4), (2, 2), (8, 8), channels=17),
    ),
    Case(
        "transpose_conv_padding_off_strides",
        transposed((4, 4), (4, 4), (2, 3), (8, 12), channels=17),
        "stride 2",
        transposed((4, 4), (4, 4), (2, 1), (8, 4), channels=17),
    ),
    Case(
        "transpose_conv_padding_off_strides",
        transposed((4, 4), (5, 5), (3, 2), (12, 8), channels=17),
        "stride 3",
        transposed((4, 4), (5, 5), (1, 2), (4, 8), channels=17),
    ),
    Case(
        "transpose_conv_wide_stride",
        transposed((4, 4), (2, 2), (2, 3), (8, 12)),
        "2 wide",
        transposed((4, 4), (2, 2), (3, 3), (12, 12)),
    ),
    Case("fully_connected_per_channel", dense(8, 2, scales=2), "2 scales", dense(8, 2, scales=2, dtype="int16")),
    Case("fully_connected_as_1x1", dense(8, rows=(1, 2)), "rank 3", dense(8, 2, rows=(1, 2), scales=2)),
    Case("fully_connected_as_1x1", dense(8, rows=(1, 2)), "rank 3", dense(8, rows=(1, 2), dtype="int16")),
    Case("batch_matmul_left_not_square", _matmul((3, 4), (4, 5)), "3x4", _matmul((3, 3), (3, 5))),
    Case("pad_rank", _plain("PAD", (3,), (5,)), "rank 1", _plain("PAD", (1, 1, 1, 3), (1, 1, 1, 5))),
    Case(
        "minimum_maximum_rank",
        _plain("MINIMUM", *[(1, 1, 1, 2, 3)] * 3),
        "rank 5",
        _plain("MINIMUM", *[(1, 1, 2, 3)] * 3),
    ),
    Case("minimum_maximum_rank", _plain("MINIMUM", *[(3,)] * 3), "rank 1", _plain("MINIMUM", *[(1, 2, 3)] * 3)),
    Case(
        "minimum_maximum_rank", _plain("MINIMUM", *[(3,)] * 3), "rank 1", _plain("MINIMUM", *[(3,)] * 3, dtype="int16")
    ),
    Case("lstm_state", _lstm("int8"), "int8", _lstm("int16")),
    Case("lstm_int16_state", _lstm("int16"), "int16", _lstm("int8")),
    Case("lstm_sums", _lstm("int8"), "int8", _lstm("int16")),
    Case("svdf_products", _plain("SVDF", (1, 4), (1, 4)), "int8", _plain("SVDF", (1, 4), (1, 4), dtype="float32")),
    Case("svdf_state", _plain("SVDF", (1, 4), (1, 4)), "int8", _plain("SVDF", (1, 4), (1, 4), dtype="float32")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fault)
def test_a_fault_is_seen_and_is_not_seen_beside(case: Case) -> None:
    fault = _FAULTS[case.fault]
    for each in (case.hit, case.beside):
        assert each.name in fault.operators
    found = fault.holds(case.hit)
    assert found
    assert case.words in found
    assert fault.holds(case.beside) == ""


def test_every_fault_has_a_case() -> None:
    assert {case.fault for case in CASES} == set(_FAULTS)
    assert len(_FAULTS) == len(FAULTS)


def test_operators_whose_shapes_nobody_knows_have_none() -> None:
    unknown = [
        operator(name, [T(()), T(()), T(()), None][:inputs], T(()))
        for name, inputs in (("CONV_2D", 3), ("TRANSPOSE_CONV", 3), ("FULLY_CONNECTED", 2), ("SOFTMAX", 1), ("PAD", 1))
    ]
    unknown += [replace(each, outputs=()) for each in unknown]
    assert not [
        fault.name for fault in FAULTS for each in unknown if each.name in fault.operators and fault.holds(each)
    ]


def test_conditions_on_rows_are_what_the_library_computes() -> None:
    lines = [line for line in (_MEASURED / "cmsis_nn_1xn.txt").read_text().splitlines() if line[0] != "#"]
    told, right = [], []
    for line in lines:
        head, cells, _ = line.split("|")
        kernel, stride, padding = head.split()
        for size, cell in enumerate(cells, 2):
            if cell == " ":
                continue
            one = conv((1, size), (1, int(kernel)), (1, int(stride)), same=padding == "SAME")
            ours = "-" if conditions.row_refused(one) else "x" if conditions.last_window(one) else "."
            told.append((line, size, ours))
            right.append((line, size, cell))
    assert told == right
    assert {cell for *_, cell in right} == set(".x-")


def test_conditions_on_transposed_convolutions_are_what_the_library_computes() -> None:
    lines = [line for line in (_MEASURED / "cmsis_nn_transpose_conv.txt").read_text().splitlines() if line[0] != "#"]
    for line in lines:
        kernel, stride, padding, rows, out, differs = line.split()
        one = transposed((int(rows), 1), (int(kernel), 1), (int(stride), 1), (int(out), 1), same=padding == "SAME")
        few = bool(conditions.few_rows(one))
        old = few or bool(conditions.padding_off_strides(one))
        past = bool(conditions.rows_past_output(one))
        assert ("o" if old else ".") + ("n" if few else ".") + ("p" if past else ".") == differs, line
    assert len(lines) > 200


def _edition(library_day: date | None, day: date = date(2026, 8, 1)) -> Edition:
    return Edition("e", "an edition", day, "cmsis_nn" if library_day else "reference", library_day)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.since and fault.until], ids=lambda f: f.name)
def test_a_fault_begins_and_ends_on_its_days(fault: object) -> None:
    assert isinstance(fault, type(FAULTS[0]))
    core = fault.cores[0] if fault.cores else "cortex-m0"
    assert fault.since is not None
    assert fault.until is not None
    assert fault.since < fault.until
    for day, there in ((fault.since, True), (fault.since - timedelta(1), False), (fault.until, False)):
        edition = _edition(day) if fault.where == "cmsis_nn" else _edition(date(2025, 1, 1), day)
        assert fault.is_in(edition, core) is there
        assert not fault.is_in(_edition(None, day), core)


def test_rows_go_wrong_where_there_are_vectors_alone() -> None:
    today = _edition(date(2026, 7, 15))
    fault = _FAULTS["conv_1xn_last_window"]
    cores = ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "cortex-m85")
    assert [core for core in cores if fault.is_in(today, core)] == ["cortex-m55", "cortex-m85"]
    assert all(_FAULTS["transpose_conv_past_output"].is_in(today, core) for core in cores)
