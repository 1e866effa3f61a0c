"""Faults of TFLite Micro's own kernels: found where its packages of old days computed otherwise, and not beside."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.faults import products
from export.faults.fault import Fault, Operator
from export.faults.found import faults_by_edition, faults_in, operators
from export.faults.tflm import FAULTS
from export.faults.tflm_missing import FIRST_DAYS, FIRST_DAYS_OF_TYPES
from export.rows.samples import sample_graph
from export.tflite.contents import read_contents
from export.tflite.writer import nodes_of_operators, write_tflite
from qtorch.editions.edition import Edition
from qtorch.editions.known import edition
from qtorch.families.convolution import weighted_sample
from qtorch.numbers.fixedpoint import quantize_multiplier, requantize
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.row import Sample, TFLite

_RUN = Path(__file__).with_name("editions_run.txt")

#: What may be found of a file that a package computed exactly on the codes that the sample has: it holds for others.
_OF_OTHER_CODES = {
    "fully_connected_first_scale", "fully_connected_scales_in_float32", "batch_matmul_scales_in_float32",
    "sub_scales_in_float32", "unidirectional_sequence_lstm_scales_in_float32",
    "div_scales_in_float32", "div_by_zero",
}  # fmt: skip


def file_of(op: str, sample: Sample) -> bytes:
    return write_tflite(sample_graph(ROWS[op], sample))


def sample(op: str, label: str) -> bytes:
    return next(file_of(op, each) for each in ROWS[op].samples() if each.label == label)


def operator(op: str, label: str) -> Operator:
    return operators(read_contents(sample(op, label)))[0]


def test_found_is_what_packages_of_old_days_computed_otherwise_or_refused() -> None:
    """Each row's samples were run in each package; what is found has to be there, and little else."""
    lines = [line for line in _RUN.read_text().splitlines() if not line.startswith("#")]
    days, states = lines[0].split(), {name: row for row, name in (line.split(" ", 1) for line in lines[1:])}
    editions = [Edition(day, day, date(int(day[:4]), int(day[4:6]), int(day[6:]))) for day in days]
    assert len(states) > 100
    seen, missed, over = set[str](), list[str](), list[str]()
    for op, row in ROWS.items():
        if not isinstance(row.tflite, TFLite):
            continue
        for each in row.samples():
            name = f"{op}: {each.label}"
            graph = sample_graph(row, each)
            if any(value.dtype.startswith("float") for value in graph.values.values()):
                continue
            found = faults_by_edition(write_tflite(graph), editions, "host")
            seen.add(name)
            for day, state in zip(days, states.get(name, "." * len(days)), strict=True):
                names = {finding.fault.name for finding in found[day]}
                if state != "." and not names:
                    missed.append(f"{day} {name}: {state}")
                if state == "." and names - _OF_OTHER_CODES:
                    over.append(f"{day} {name}: {names}")
    assert not missed
    assert not over
    assert set(states) <= seen


#: By fault: a file of one operator that meets it, and one beside it that does not.
_PAIRS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "fully_connected_first_scale": (("fully_connected", "per channel"), ("fully_connected", "per tensor")),
    "fully_connected_per_channel_refused": (("fully_connected", "relu"), ("fully_connected", "one by one")),
    "fully_connected_int16_per_channel_refused": (
        ("fully_connected", "int16, per channel True"), ("fully_connected", "int16, per channel False"),
    ),
    "fully_connected_weight_zero_point": (("fully_connected", "weights about 127"), ("fully_connected", "per tensor")),
    "fully_connected_per_channel_rank": (("fully_connected", "rank 4"), ("fully_connected", "relu")),
    "transpose_conv_activation_left_out": (("transpose_conv", "relu"), ("transpose_conv", "same")),
    "resize_nearest_neighbor_half_pixel_centers": (
        ("resize_nearest_neighbor", "int8 (2, 3) False True"), ("resize_nearest_neighbor", "int8 (6, 8) False False"),
    ),
    "reduced_axes": (
        ("sum", "int8 (3, 7, 3, 5) over (1, 2, 3), kept True, TFLM alone"),
        ("sum", "int8 (3, 4, 4, 5) over (1, 2), kept True, TFLM alone"),
    ),
    "div_least_zero_point": (
        ("div", "int8 every pair, 0.05@-128 by 0.03@-128, TFLM alone"),
        ("div", "int8 every pair, 0.05@3 by 0.07@-20, TFLM alone"),
    ),
    "div_by_zero": (
        ("div", "int8 every pair, 0.05@3 by 0.07@-20, TFLM alone"), ("div", "int8 constant vector, TFLM alone"),
    ),
    "div_scales_in_float32": (
        ("div", "int8 relu at the end, TFLM alone"), ("div", "int8 every pair, 0.05@3 by 0.07@-20, TFLM alone"),
    ),
    "svdf_scales_in_float32": (
        ("svdf", "rank 2, no float form, TFLM alone"), ("svdf", "plain, no float form, TFLM alone"),
    ),
    "mul_int16_without_multiplier": (("mul", "int16 alike shapes"), ("mul", "int8 alike shapes")),
    "fully_connected_scales_in_float32": (
        ("fully_connected", "product in float32 or double"), ("fully_connected", "per channel"),
    ),
    "batch_matmul_scales_in_float32": (("batch_matmul", "product in double, below"), ("batch_matmul", "int8 plain")),
    "relu_scales_in_float32": (
        ("relu", "0.05142120271921158@0 to 0.03428080305457115@0"), ("relu", "0.05@-3 to 0.02@-128"),
    ),
    "hard_swish_scales_in_float32": (
        ("hard_swish", "int8 1.296613335609436@37 to 0.45706045627593994@-128"),
        ("hard_swish", "int8 0.05@-3 to 0.03@-100"),
    ),
    "rsqrt_scales_in_float32": (
        ("rsqrt", "int8 0.0011196136474609375 to 0.008453369140625@-128"), ("rsqrt", "int8 0.05 to 0.02@-128"),
    ),
    "sub_scales_in_float32": (("sub", "int8 alike shapes"), ("sub", "int8 saturating")),
}  # fmt: skip


def named(name: str) -> Fault:
    return next(fault for fault in FAULTS if fault.name == name)


@pytest.mark.parametrize("name", _PAIRS)
def test_a_fault_is_found_in_one_file_and_not_in_the_one_beside(name: str) -> None:
    fault, (meets, beside) = named(name), _PAIRS[name]
    assert fault.holds(operator(*meets))
    assert not fault.holds(operator(*beside))


def test_words_have_the_operators_numbers() -> None:
    assert "5 weight scales" in named("fully_connected_first_scale").holds(operator("fully_connected", "per channel"))
    assert "relu, which holds codes" in named("transpose_conv_activation_left_out").holds(
        operator("transpose_conv", "relu")
    )
    words = named("resize_nearest_neighbor_half_pixel_centers").holds(
        operator("resize_nearest_neighbor", "int8 (2, 3) False True")
    )
    # Of 3 rows 2 are taken, from the middle of each at 0.75 and 2.25; without half a pixel from 0 and 1.5. Columns: of
    # 4 are 3, from 0.67, 2 and 3.33, or from 0, 1.33 and 2.67.
    assert words == "half_pixel_centers is taken for false: row 1 of 2 is 1 of 3 instead of 2"


def test_an_activation_that_holds_no_code_is_none_to_miss() -> None:
    meets = operator("transpose_conv", "relu")
    (output,) = meets.outputs
    lowest = replace(output, zero_point=(-128,))
    assert not named("transpose_conv_activation_left_out").holds(replace(meets, outputs=(lowest,)))


@pytest.mark.parametrize(("op", "shape"), [("fully_connected", (3, 5)), ("conv_2d", (3, 1, 1, 5))])
@pytest.mark.parametrize("bias", [0, 2**20])
def test_16_bits_without_a_bias_are_found(op: str, shape: tuple[int, ...], bias: int) -> None:
    attrs: dict[str, Any] = {"activation": "none", "keep_num_dims": False}
    if op == "conv_2d":
        sizes = dict.fromkeys(("stride_h", "stride_w", "dilation_h", "dilation_w"), 1)
        attrs = {"activation": "none", "padding": "valid", **sizes}
    image = (2, 5) if op == "fully_connected" else (2, 1, 1, 5)
    each = weighted_sample(
        np.random.default_rng(0), "int16", attrs, image, shape, channel_axis=0, dtype="int16", input=(1e-4, 0),
        output=(3e-4, 0), per_channel=False, bias=bias,
    )  # fmt: skip
    found = {finding.fault.name for finding in faults_in(file_of(op, each), _of(date(2026, 5, 1)), "host")}
    assert (f"{op}_int16_no_bias" in found) is (bias == 0)


def test_a_bias_of_32_bits_is_found_where_64_are_read() -> None:
    meets = operator("fully_connected", "int16, per channel False")
    bias = meets.inputs[2]
    assert bias is not None
    fault = named("fully_connected_int16_bias_int32")
    assert not fault.holds(meets)
    assert fault.holds(replace(meets, inputs=(*meets.inputs[:2], replace(bias, kind=2))))


@pytest.mark.parametrize(
    ("count", "source", "output", "words"),
    [
        # The multiplier of a quarter rounds a half and then a half of that; of a quarter of two it rounds nothing.
        (4, (0.0625, 0), (0.0625, 5), "a sum of 1 over 4 codes becomes 5 in float32, 6 by a multiplier; so do 122 of"),
        (4, (0.0625, 0), (0.03125, -128), ""),
        (7, (0.0625, 0), (0.0625, 5), "a sum of -892 over 7 codes becomes -122 in float32, -123 by"),
        (1, (0.0625, 3), (0.0625, 3), ""),
        (2, (0.0625, 0), (0.0625, 0), "a sum of 1 over 2 codes becomes 0 by a division that cuts off, 1 by"),
    ],
)
def test_a_mean_of_floats_is_held_against_all_sums(
    count: int, source: tuple[float, int], output: tuple[float, int], words: str
) -> None:
    grids = {role: QParams((scale,), (zero,)) for role, (scale, zero) in (("input", source), ("output", output))}
    codes = {"input": np.zeros((1, count, 3), np.int8)}
    file = file_of("mean", Sample("", {"axes": (1,), "keep_dims": True}, codes, grids))
    found = [finding for finding in faults_in(file, _of(date(2023, 1, 1)), "host") if "mean" in finding.fault.name]
    assert bool(found) is bool(words)
    assert not found or found[0].words.startswith(words), found[0].words


def test_operators_before_another_are_told() -> None:
    graph = sample_graph(ROWS["table"], next(iter(ROWS["table"].samples())))
    before = [each.before for each in operators(read_contents(write_tflite(graph)))]
    assert before == [frozenset(), {"CAST"}, {"CAST", "ADD"}]


@pytest.mark.parametrize("op", ["mean", "unidirectional_sequence_lstm"])
def test_kernels_of_before_they_were_redesigned_are_found_by_their_day(op: str) -> None:
    fault = next(f for f in FAULTS if f.name in ("mean_in_float32", "lstm_before_it_was_redesigned") and
                 f.operators[0] == ROWS[op].tflite.operator)  # type: ignore[union-attr]  # fmt: skip
    file = file_of(op, next(iter(ROWS[op].samples())))
    assert fault.until is not None
    for day, there in ((fault.until - timedelta(1), True), (fault.until, False)):
        found = {finding.fault.name for finding in faults_in(file, _of(day), "host")}
        assert (fault.name in found) is there


def _of(day: date) -> Edition:
    return Edition("of_a_day", "a day", day)


@pytest.mark.parametrize("name", FIRST_DAYS)
def test_an_operator_is_absent_until_its_day(name: str) -> None:
    fault = next(fault for fault in FAULTS if fault.operators == (name,) and fault.holds(_bare(name)) and
                 fault.name.startswith("no_"))  # fmt: skip
    day, commit = FIRST_DAYS[name]
    assert str(day) in fault.holds(_bare(name))
    assert commit in fault.source
    assert fault.is_in(_of(day - timedelta(1)), "host")
    assert not fault.is_in(_of(day), "host")


def _bare(name: str) -> Operator:
    return Operator(0, name, 1, {}, (), (), {})


@pytest.mark.parametrize(("name", "dtype"), FIRST_DAYS_OF_TYPES)
def test_a_type_is_absent_until_its_day_and_others_are_there(name: str, dtype: str) -> None:
    fault = next(fault for fault in FAULTS if fault.name == f"no_{dtype}_{name.lower()}")
    source = operator("relu", "0.05@-3 to 0.02@-128").inputs[0]
    assert source is not None
    kinds = {"int8": 9, "int16": 7, "int32": 2}
    for other, kind in kinds.items():
        said = fault.holds(replace(_bare(name), inputs=(replace(source, kind=kind),)))
        assert bool(said) is (other == dtype)


def test_what_a_library_has_of_its_own_is_no_fault_there() -> None:
    fault = next(fault for fault in FAULTS if fault.name == "no_int16_depthwise_conv_2d")
    assert not fault.is_in(edition("python-2023-10"), "host")
    assert fault.is_in(replace(edition("chirale"), library="reference", library_source=None), "cortex-m4")
    assert not fault.is_in(edition("chirale"), "cortex-m4")
    assert fault.is_in(edition("edge-impulse-espressif"), "xtensa")


def test_a_sum_that_tells_a_product_of_float32_from_one_of_double_is_found_as_counting_finds_it() -> None:
    """Every sum in reach, counted, against the search for where codes begin."""
    rng, told = np.random.default_rng(3), 0
    for _ in range(40):
        s_in, s_w = rng.uniform(0.01, 0.1, 2).astype(np.float32)
        s_out = np.float32(rng.choice([4.0, 64.0]) * s_in * s_w)
        # A multiplier whose last bits matter within reach of few sums.
        single, double = (quantize_multiplier(factor) for factor in products._products(s_in, s_w, s_out))
        reach, sums = (-60_000, 60_000), torch.arange(-60_000, 60_001)
        grid, limits = QParams((float(s_out),), (3,)).grid, (-128, 127)
        codes = [(requantize(sums.clone(), each) + 3).clamp(*limits) for each in (single, double)]
        apart = (codes[0] != codes[1]).nonzero()
        words = products._differing_multipliers(single, double, reach, grid, limits, False)
        assert bool(words) is bool(len(apart))
        if words:
            told += 1
            assert f"{int(sums[apart[0]]):,}" in words
    assert told


def test_scales_on_12_bits_have_products_that_float32_holds() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        scales = (np.round(rng.uniform(2**11, 2**12, 3)) * 2.0**-18).astype(np.float32)
        single, double = products._products(*scales)
        assert torch.equal(single, double)


def test_operators_are_told_of_the_nodes_that_they_stand_for() -> None:
    for op, each_node in (("table", 3), ("fully_connected", 1), ("unidirectional_sequence_lstm", 3)):
        graph = sample_graph(ROWS[op], next(iter(ROWS[op].samples())))
        (node,) = graph.nodes
        assert nodes_of_operators(graph) == (node.output,) * each_node
        assert len(operators(read_contents(write_tflite(graph)))) == each_node
