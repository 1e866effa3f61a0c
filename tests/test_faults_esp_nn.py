"""What ESP-NN and its wrappers compute otherwise: each by the smallest operator that has it and one beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from export.faults.esp_nn import FAULTS
from export.faults.fault import Operator
from export.faults.found import operators
from export.rows.samples import sample_graph
from export.tflite.contents import read_contents
from export.tflite.writer import write_tflite
from qtorch.editions.edition import Edition
from qtorch.ops import ROWS
from tests.fault_operators import Case, T, conv, dense, depthwise, operator

_FAULTS = {fault.name: fault for fault in FAULTS}


def _softmax(*shape: int, dtype: str = "int8") -> Operator:
    return operator("SOFTMAX", [T(shape, dtype)], T(shape, dtype))


#: 3x3 with stride 2 on an even size: nothing above and on the left, 1 below and on the right.
_BEHIND = conv((8, 8), (3, 3), (2, 2), same=True)
#: 5x5 with stride 2 on an even size: 1 above and on the left, 2 below and on the right.
_TWO_SIDES = conv((8, 8), (5, 5), (2, 2), same=True)
_ALIKE = conv((9, 9), (3, 3), (2, 2), same=True)
_NONE = conv((9, 9), (3, 3), (2, 2))


def _behind(*names: str) -> Operator:
    return replace(_NONE, before=frozenset(names))


def _with_constant(begins: int, elements: int = 8, dtype: str = "int8") -> Operator:
    tensors = [T((1, elements), dtype), T((1, elements), dtype, constant=True)]
    return replace(operator("ADD", tensors, tensors[0]), offsets={1: begins})


CASES = [
    # A row of 33 codes is three vectors, one of 32 two.
    Case("conv_s3", conv((9, 9), (3, 3), channels=11), "33 codes", conv((9, 9), (2, 2), channels=16)),
    Case("conv_s3", conv((9, 9), (3, 1), channels=33), "33 codes", conv((9, 9), (1, 1), channels=40)),
    Case("conv_s3", conv((9, 9), (3, 3), channels=11), "33 codes", conv((9, 9), (3, 3), channels=11, dtype="int16")),
    Case("conv_s3", conv((9, 9), (3, 3), channels=11), "33", conv((9, 9), (3, 3), channels=11, dilation=(1, 2))),
    Case("conv_s3_padding_behind", _BEHIND, "0 above, 1 below, 0 left and 1 right", _ALIKE),
    Case("conv_s3_padding_behind", _TWO_SIDES, "1 above, 2 below", _NONE),
    Case("conv_s3_padding_behind", _BEHIND, "3x3", conv((8, 8), (3, 3), (2, 2), same=True, dtype="int16")),
    Case("conv_s3_padding_on_two_sides", _TWO_SIDES, "1 above, 2 below, 1 left and 2 right", _BEHIND),
    Case("conv_s3_padding_on_two_sides", conv((8, 9), (3, 3), (2, 2), same=True, channels=8), "0 above", _ALIKE),
    # Three channels of 5x5: less than a vector in a row of the kernel, more in the whole of it.
    Case("conv_s3_padding_on_two_sides", _TWO_SIDES, "", conv((8, 8), (5, 5), (2, 2), same=True, channels=3)),
    Case("conv_s3_padding_height", conv((9, 9), (5, 5), same=True), "2 above", conv((9, 9), (3, 3), same=True)),
    Case("conv_s3_padding_height", conv((9, 9), (1, 3), same=True), "0 above, 0 below, 1 left", _NONE),
    Case("conv_p4_padding_behind", _BEHIND, "1 below", _TWO_SIDES),
    Case("conv_p4_padding_behind", _BEHIND, "1 below", _NONE),
    Case("conv_grouped", conv((3, 3), (3, 3), groups=2), "2 groups of 4", conv((3, 3), (3, 3))),
    Case("conv_grouped", conv((5, 5), (3, 3), groups=2), "2 groups", conv((5, 5), (3, 3), groups=2, dilation=(2, 1))),
    Case("esp_no_int16_conv_2d", conv((9, 9), (3, 3), dtype="int16"), "int16", conv((9, 9), (3, 3))),
    Case(
        "esp_no_int16_depthwise_conv_2d", depthwise((9, 9), (3, 3), dtype="int16"), "int16", depthwise((9, 9), (3, 3))
    ),
    Case(
        "esp_no_int16_mul",
        operator("MUL", [T((1, 4), "int16"), T((1, 4), "int16")], T((1, 4), "int16")),
        "int16",
        operator("MUL", [T((1, 4)), T((1, 4))], T((1, 4))),
    ),
    Case("esp_no_int16_fully_connected", dense(8, 2, dtype="int16"), "int16", dense(8, 2)),
    Case(
        "esp_no_int32_add",
        operator("ADD", [T((1, 4), "int32"), T((1, 4), "int32")], T((1, 4), "int32")),
        "int32",
        operator("ADD", [T((1, 4)), T((1, 4))], T((1, 4))),
    ),
    Case("esp_no_int4_conv_2d", conv((9, 9), (3, 3), weights="int4"), "int4", conv((9, 9), (3, 3))),
    Case("esp_no_int4_depthwise_conv_2d", depthwise((3, 3), (3, 3), weights="int4"), "int4", depthwise((3, 3), (3, 3))),
    Case("esp_no_int4_fully_connected", dense(8, 2, weights="int4"), "int4", dense(8, 2)),
    Case("conv_memory", _NONE, "3x3", conv((9, 9), (3, 3), dtype="int16")),
    # A RESHAPE asks for no record, so that the convolution's stays the first.
    Case("conv_memory", _behind("RESHAPE"), "4 bytes short", _behind("RESHAPE", "QUANTIZE")),
    Case("conv_no_bias", conv((3, 3), (3, 3), bias=""), "3x3", conv((3, 3), (3, 3))),
    Case("conv_no_bias", depthwise((3, 3), (3, 3), bias=""), "3x3", depthwise((3, 3), (3, 3))),
    Case(
        "depthwise_s3_scratch",
        depthwise((9, 9), (4, 4), channels=2, multiplier=4),
        "4 outputs per channel: 16 bytes",
        depthwise((9, 9), (4, 4), channels=8),
    ),
    Case(
        "depthwise_s3_scratch",
        depthwise((9, 9), (3, 3), channels=5, multiplier=4),
        "8 bytes",
        depthwise((9, 9), (3, 3), channels=2, multiplier=4),
    ),
    Case(
        "depthwise_s3_3x3_padding",
        depthwise((9, 8), (3, 3), (2, 2), same=True),
        "1 above, 1 below, 0 left and 1 right",
        depthwise((9, 9), (3, 3), (2, 2), same=True),
    ),
    Case(
        "depthwise_s3_3x3_padding",
        depthwise((9, 8), (3, 3), (2, 2), same=True),
        "16 channels",
        depthwise((8, 8), (3, 3), (2, 2), same=True),
    ),
    Case(
        "depthwise_s3_3x3_padding",
        depthwise((9, 8), (3, 3), (2, 2), same=True),
        "16 channels",
        depthwise((9, 8), (3, 3), (2, 2), same=True, channels=8),
    ),
    Case(
        "depthwise_s3_tiles",
        depthwise((40, 40), (5, 5), same=True),
        "52000 bytes",
        depthwise((37, 40), (5, 5), same=True),
    ),
    Case(
        "depthwise_s3_tiles",
        depthwise((40, 40), (5, 5), same=True),
        "zero point 3",
        depthwise((40, 40), (5, 5), same=True, zero_point=0),
    ),
    Case("depthwise_s3_tiles", depthwise((40, 40), (5, 5), same=True), "2 above", depthwise((40, 40), (5, 5))),
    Case(
        "depthwise_s3_tiles",
        depthwise((40, 40), (5, 5), same=True),
        "5x5",
        depthwise((40, 40), (3, 3), same=True),
    ),
    # Rows of the kernel that are one vector; fewer than a vector in the whole of it; just one in it.
    Case(
        "conv_s3_padding_on_two_sides",
        conv((8, 8), (4, 4), same=True),
        "1 above, 2 below",
        conv((8, 8), (4, 4), same=True, channels=1),
    ),
    Case(
        "conv_s3_padding_on_two_sides",
        conv((8, 8), (4, 3), same=True, channels=1),
        "2 below",
        conv((8, 8), (4, 3), same=True, channels=2),
    ),
    Case(
        "depthwise_s3_tiles",
        depthwise((36, 42), (5, 5), same=True),
        "49184 bytes",
        depthwise((1, 1511), (5, 5), same=True),
    ),
    Case(
        "depthwise_s3_tiles", depthwise((40, 40), (5, 1), same=True), "0 left", depthwise((40, 40), (1, 5), same=True)
    ),
    Case(
        "depthwise_s3_tiles",
        depthwise((40, 40), (2, 1), same=True),
        "0 above, 1 below",
        depthwise((40, 40), (1, 2), same=True),
    ),
    Case("elementwise_s3_unaligned_constant", _with_constant(20), "8 codes at byte 20", _with_constant(32)),
    Case("elementwise_s3_unaligned_constant", _with_constant(24, 9), "9 codes", _with_constant(24, 7)),
    Case("elementwise_s3_unaligned_constant", _with_constant(24), "24", _with_constant(24, dtype="int16")),
    Case("fully_connected_per_channel", dense(16, 2, scales=2), "2 scales", dense(16, 2)),
    Case("softmax_scratch", _softmax(1, 2, 1, 10), "8 bytes for 40", _softmax(1, 10, 1, 10)),
    Case("fully_connected_s3_short_rows", dense(7), "rows of 7", dense(8)),
    Case("fully_connected_s3_odd_vectors", dense(50), "rows of 50: 3 vectors", dense(48)),
    Case("fully_connected_s3_odd_vectors", dense(50), "50", dense(66)),
    Case("fully_connected_s3_odd_vectors", dense(50), "50", dense(18)),
    Case("fully_connected_s3_unaligned_rows", dense(12, rows=(2,)), "2 rows of 12", dense(12)),
    Case("fully_connected_s3_unaligned_rows", dense(12, rows=(2,)), "2 rows", dense(16, rows=(2,))),
    Case("fully_connected_per_channel", dense(16, scales=4), "4 scales", dense(16)),
    Case("fully_connected_per_channel", dense(16, scales=4), "4 s", dense(16, scales=4, dtype="int16", bias="int64")),
    Case(
        "fully_connected_int16_per_channel",
        dense(16, scales=4, dtype="int16", bias="int64"),
        "4 scales",
        dense(16, scales=4),
    ),
    Case(
        "fully_connected_int16_per_channel",
        dense(16, scales=4, dtype="int16", bias="int64"),
        "4 scales",
        dense(16, dtype="int16", bias="int64"),
    ),
    Case("fully_connected_rank", dense(16, rows=(1, 2)), "rank 3", dense(16, rows=(2,))),
    Case("softmax_scratch", _softmax(1, 1, 1, 10), "4 bytes for 40", _softmax(1, 10)),
    Case("softmax_scratch", _softmax(10), "no second axis", _softmax(1, 10, 4)),
    Case("softmax_scratch", _softmax(1, 1, 1, 10), "[1, 1, 1, 10]", _softmax(1, 1, 1, 10, dtype="int16")),
    Case("softmax_s3_several_rows", _softmax(2, 40), "2 rows of 40", _softmax(1, 40)),
    Case("softmax_s3_several_rows", _softmax(2, 40), "2 rows", _softmax(2, 48)),
    Case("softmax_s3_several_rows", _softmax(2, 40), "2 rows", _softmax(2, 31)),
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
        operator(name, [T(()), T(()), None][:inputs], T(()))
        for name, inputs in (("CONV_2D", 3), ("DEPTHWISE_CONV_2D", 3), ("FULLY_CONNECTED", 2), ("SOFTMAX", 1))
    ]
    unknown += [replace(each, outputs=()) for each in unknown]
    assert not [
        fault.name for fault in FAULTS for each in unknown if each.name in fault.operators and fault.holds(each)
    ]


def test_where_constants_begin_is_read_in_the_file() -> None:
    sample = next(each for each in ROWS["add"].samples() if each.label == "int8 constant first")
    model = write_tflite(sample_graph(ROWS["add"], sample))
    (read,) = operators(read_contents(model))
    assert read.offsets
    for position, held in read.constants.items():
        assert model[read.offsets[position] :][: len(held)] == held


def _edition(library_day: date | None, day: date = date(2026, 8, 1)) -> Edition:
    return Edition("e", "an edition", day, "esp_nn" if library_day else "reference", library_day)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.since and fault.until], ids=lambda f: f.name)
def test_a_fault_begins_and_ends_on_its_days(fault: object) -> None:
    assert isinstance(fault, type(FAULTS[0]))
    core = fault.cores[0] if fault.cores else "xtensa"
    assert fault.since is not None
    assert fault.until is not None
    assert fault.since < fault.until
    for day, there in ((fault.since, True), (fault.since - timedelta(1), False), (fault.until, False)):
        edition = _edition(day) if fault.where == "esp_nn" else _edition(date(2025, 9, 1), day)
        assert fault.is_in(edition, core) is there
        assert not fault.is_in(_edition(None, day), core)


def test_vectors_have_faults_of_their_own() -> None:
    of_release = _edition(date(2026, 4, 27))
    there = {
        core: {fault.name for fault in FAULTS if fault.is_in(of_release, core)}
        for core in ("xtensa", "riscv32", "riscv32-p4", "xtensa-s3")
    }
    assert there["xtensa"] == there["riscv32"] == {
        "conv_grouped", "conv_no_bias", "fully_connected_int16_per_channel", "softmax_scratch",
    }  # fmt: skip
    assert there["xtensa-s3"] > there["xtensa"]
    assert "depthwise_s3_3x3_padding" in there["xtensa-s3"]
