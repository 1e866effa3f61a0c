"""Kernels for AVR, run instruction by instruction in simavr: every code as the reference has it."""

from __future__ import annotations

from dataclasses import replace as replaced
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.c.network import c_network
from export.c.requantization import thresholds
from export.c.short_requantization import Short, agrees, short_codes, short_requantization
from export.c.source import CSource, c_source
from export.c.targets.avr import _short
from export.c.targets.avr_immediates import immediates
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.rows import reference_outputs, runtime_arrays, sample_graph
from firmware.emulation import MACHINES, Options, Replay, available, replay
from qtorch.errors import UnsupportedLayer
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.kernel_call import Accumulators
from qtorch.row.row import Sample
from tests.avr_arithmetic import NUMBERS_OF_A_LEVEL, little, on_an_uno
from tests.shared_programs import failures
from tests.table_kernels import by_table

UNO = MACHINES["atmega328p"]
_MISSING = available(UNO)
on_avr = [pytest.mark.avr, pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING))]
either_way = pytest.mark.parametrize("speed", [False, True], ids=["default", "speed"])


def _replayed(
    graph: Graph,
    source: CSource,
    inputs: tuple[np.ndarray, ...],
    expected: tuple[np.ndarray, ...],
    optimize: str = "-Os",
) -> Replay:
    """Samples of a network with any number of inputs and outputs, as bytes through a function with one of each."""
    ends = (graph.inputs, graph.outputs)
    sizes = [[graph.values[n].bytes for n in names] for names in ends]
    pointers = [
        f"({qualifier}{graph.values[name].dtype}_t *)({qualifier}void *)({side} + {sum(counts[:i])})"
        for side, qualifier, names, counts in zip(("in", "out"), ("const ", ""), ends, sizes, strict=True)
        for i, name in enumerate(names)
    ]
    header = (
        f"#include <stdint.h>\n#define ALL_INPUT_SIZE {sum(sizes[0])}\n#define ALL_OUTPUT_SIZE {sum(sizes[1])}\n"
        "void all_invoke(const int8_t *in, int8_t *out);\n"
    )
    call = f"void all_invoke(const int8_t *in, int8_t *out) {{ net_invoke({', '.join(pointers)}); }}\n"
    files = {**source.files, "all_model.h": header, "all.c": f'#include "all_model.h"\n#include "net_model.h"\n{call}'}
    x, y = (
        np.concatenate([_bytes(a, graph.values[n].dtype) for a, n in zip(arrays, names, strict=True)], 1)
        for arrays, names in zip((inputs, expected), ends, strict=True)
    )
    return replay(UNO, files, "all", x, y, Options(optimize=(optimize,)))


def _bytes(codes: np.ndarray, dtype: str) -> np.ndarray:
    """A row of bytes for each sample, in the order of a little-endian machine."""
    rows = codes.reshape(len(codes), -1).astype(np.dtype(dtype).newbyteorder("<"))
    return np.ascontiguousarray(rows).view(np.int8)


def _layer(rng: np.random.Generator, inputs: int, outputs: int) -> Sample:
    """A fully connected layer whose scales, zero points, biases and activation reach their limits now and then."""
    s_in, s_w = 10.0 ** rng.uniform(-3, 0), 10.0 ** rng.uniform(-rng.choice([0.3, 0.3, 3]), 0, outputs)
    limit = int(rng.choice([1, 2**12, 2**12, 2**18, 2**30]))
    spread = np.sqrt(inputs) * 5000 * s_in * s_w.mean()
    s_out = spread / 127 * 10.0 ** rng.choice([-3, -1, 0, 0, 0.3, 0.3, 2])
    # A left shift must not take a sum out of int32.
    s_out = max(s_out, 1.1 * s_in * s_w.max() / (1 if limit == 2**30 else 64))
    z_in, z_out = (int(rng.choice([-128, 127, rng.integers(-128, 128)])) for _ in range(2))
    activation = str(rng.choice(["none", "relu", "relu6"]))
    source = QParams((float(np.float32(s_in)),), (z_in,))
    weight = QParams(tuple(float(s) for s in s_w.astype(np.float32)), (0,) * outputs, axis=0)
    grid = tuple(float(np.float32(s_in) * np.float32(s)) for s in s_w)
    arrays = {
        "input": rng.integers(-128, 128, (40, inputs), dtype=np.int8),
        "weight": rng.integers(-127, 128, (outputs, inputs), dtype=np.int8),
        "bias": rng.integers(-limit, limit, outputs, dtype=np.int32),
    }
    arrays["weight"][rng.random(arrays["weight"].shape) < rng.choice([0.0, 0.5])] = 0
    arrays["weight"][:, rng.integers(inputs)] = rng.choice([-127, -1, 0, 1, 127], outputs)
    # The ends of the range and, for the first outputs, the inputs with the least and the greatest sum.
    arrays["input"][0], arrays["input"][1] = -128, 127
    for output in range(min(outputs, 10)):
        positive = arrays["weight"][output] > 0
        arrays["input"][2 + 2 * output] = np.where(positive, 127, -128)
        arrays["input"][3 + 2 * output] = np.where(positive, -128, 127)
    qparams = {
        "input": source, "weight": weight, "output": QParams((float(np.float32(s_out)),), (z_out,)),
        "bias": QParams(grid, weight.zero_point, "int32", 0),
    }  # fmt: skip
    return Sample("random", {"activation": activation, "keep_num_dims": False}, arrays, qparams)


@pytest.mark.parametrize("seed", [*range(17), *(pytest.param(s, marks=pytest.mark.sweep) for s in range(17, 34))])
@either_way
class TestRandomLayers:
    pytestmark = on_avr

    def test_a_layer_is_the_reference(self, seed: int, speed: bool) -> None:
        rng = np.random.default_rng(seed)
        row = ROWS["fully_connected"]
        sample = _layer(rng, int(rng.choice([1, 2, rng.integers(3, 201)])), 1 + seed % 17)
        graph = sample_graph(row, sample)
        try:
            network = by_table(graph, "avr") if speed else c_network(graph, "avr", "size")
        except UnsupportedLayer as error:
            pytest.skip(str(error))
        found = _replayed(graph, c_source("net", network), (sample.arrays["input"],), reference_outputs(row, sample))
        assert found.mismatches == 0, found.first


#: Layer widths of the networks that run on such boards, and whether a softmax follows.
NETWORKS = {
    "gesture": ((150, 10, 5, 2), True),
    "sine": ((1, 16, 16, 1), False),
    "fuel": ((3, 32, 16, 8, 1), False),
}


def _network(name: str) -> Graph:
    widths, softmax = NETWORKS[name]
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    net = nn.Sequential(*layers[:-1], *[nn.Softmax(-1)] * softmax)
    qat = qtorch.prepare(net, torch.zeros(1, widths[0]))
    qtorch.calibrate(qat, [torch.randn(256, widths[0])])
    return integer_graph(qat)


def _inputs(graph: Graph) -> np.ndarray:
    """All codes of one input; else 256 rows of random codes, the first ones at the ends."""
    size = graph.values[graph.inputs[0]].elements
    if size == 1:
        return np.arange(-128, 128, dtype=np.int8)[:, None]
    found = np.random.default_rng(0).integers(-128, 128, (256, size), dtype=np.int8)
    found[0], found[1] = -128, 127
    return found


@pytest.mark.parametrize("optimize", ["-Os", "-O2"])
@pytest.mark.parametrize("name", NETWORKS)
@either_way
class TestNetworks:
    pytestmark = on_avr

    def test_a_network_is_the_reference(self, name: str, speed: bool, optimize: str) -> None:
        graph = _network(name)
        inputs = _inputs(graph)
        expected = interpret(graph, (inputs,))[graph.outputs[0]]
        network = by_table(graph, "avr") if speed else c_network(graph, "avr", "size")
        assert all(step.call.kernel.endswith("_avr") for step in network.steps if step.node.op == "fully_connected")
        source = c_source("net", network)
        found = _replayed(graph, source, (inputs,), (expected,), optimize)
        assert found.mismatches == 0, found.first
        assert len(np.unique(found.outputs)) > 5
        assert found.cost is not None
        assert found.stack is not None
        if name == "gesture":
            assert found.cost.max <= (13_500 if speed else 25_000)  # with copies from and to the rig's arrays
            assert source.scratch_bytes + found.stack < 400


def _fits(sample: Sample) -> bool:
    """Whether a case takes int8 and leaves room in 2 KB of RAM, which wider outputs take more of."""
    source, output = sample.qparams["input"], sample.qparams["output"]
    in_bytes = source is not None and output is not None and source.dtype == "int8"
    return in_bytes and sample.arrays["input"][0].size * np.dtype(output.dtype).itemsize < 1000  # type: ignore[union-attr]


#: Rows whose kernels are others on AVR.
OPS = ("fully_connected", "conv_2d", "depthwise_conv_2d", "average_pool_2d", "add", "softmax")


@pytest.mark.parametrize("op", OPS)
class TestRows:
    pytestmark = on_avr

    def test_every_kernel_computes_the_same_where_int_has_16_bits(self, op: str) -> None:
        row, cases = ROWS[op], {}
        for sample in filter(_fits, row.samples()):
            graph = sample_graph(row, sample)
            network = c_network(graph, "avr")
            cases[f"{len(cases)}: {sample.label}"] = (
                network,
                runtime_arrays(graph, sample),
                reference_outputs(row, sample),
            )
        assert failures("atmega328p", cases) == {}


def _accumulators(name: str) -> list[Accumulators]:
    calls = [step.call.arguments.get("channels") for step in c_network(_network(name)).steps]
    return [found for found in calls if isinstance(found, Accumulators)]


@pytest.mark.parametrize("name", NETWORKS)
class TestProof:
    def test_what_is_proven_at_thresholds_holds_for_every_sum(self, name: str) -> None:
        for accumulators in _accumulators(name):
            short = short_requantization(accumulators)
            assert short is not None
            for channel in range(len(accumulators.bias)):
                sums = np.arange(accumulators.least[channel], accumulators.greatest[channel] + 1, 7)[None]
                one = _channel(short, channel)
                expected = _codes(accumulators, channel, sums)
                np.testing.assert_array_equal(short_codes(one, sums, accumulators.low, accumulators.high), expected)

    def test_constants_that_are_wrong_somewhere_are_refused(self, name: str) -> None:
        for accumulators in _accumulators(name):
            short = short_requantization(accumulators)
            assert short is not None
            assert agrees(accumulators, short)
            steps = 1 << 24
            for wrong in (
                replaced(short, multiplier=short.multiplier + short.multiplier // 64),
                replaced(short, multiplier=short.multiplier - short.multiplier // 64),
                replaced(short, above=short.above + steps // 64, below=short.below + steps // 64),
                replaced(short, above=short.above - steps // 64, below=short.below - steps // 64),
                replaced(short, origin=short.origin + 100),
                replaced(short, origin=short.origin - (1 << 24)),
            ):
                assert not agrees(accumulators, wrong)

    def test_one_wrong_channel_is_enough(self, name: str) -> None:
        accumulators = _accumulators(name)[0]
        short = short_requantization(accumulators)
        assert short is not None
        multiplier = short.multiplier.copy()
        multiplier[-1] += multiplier[-1] // 64
        assert not agrees(accumulators, replaced(short, multiplier=multiplier))


def _channel(short: Short, channel: int) -> Short:
    at = slice(channel, channel + 1)
    return replaced(
        short, origin=short.origin[at], multiplier=short.multiplier[at], above=short.above[at], below=short.below[at]
    )


def _codes(accumulators: Accumulators, channel: int, sums: np.ndarray) -> np.ndarray:
    """TFLite Micro's, in Python's own integers, rounded twice as gemmlowp's functions round."""
    mantissa, shift = (int(t[channel]) for t in accumulators.multiplier)
    assert shift <= 0
    codes = []
    for total in sums[0].tolist():
        high = (total * mantissa + (1 << 30 if total >= 0 else 1 - (1 << 30))) / 2**31
        doubled = int(high)  # towards zero, as C divides
        mask, remainder = (1 << -shift) - 1, doubled & ((1 << -shift) - 1)
        code = (doubled >> -shift) + (remainder > (mask >> 1) + (doubled < 0))
        codes.append(min(max(code + accumulators.zero_point, accumulators.low), accumulators.high))
    return np.array([codes])


class TestLayers:
    def test_negative_sums_round_otherwise_and_need_a_fraction_of_their_own(self) -> None:
        logits = _accumulators("gesture")[-1]
        short = short_requantization(logits)
        assert short is not None
        assert short.splits
        for fraction in (short.above, short.below):
            assert not agrees(logits, replaced(short, above=fraction, below=fraction))

    def test_a_weight_of_zero_takes_no_instruction_and_equal_magnitudes_one_product(self) -> None:
        accumulators = _accumulators("sine")[1]
        short = short_requantization(accumulators)
        assert short is not None
        dense = np.random.default_rng(0).integers(2, 128, (16, 16))
        sparse, equal = dense.copy(), np.full_like(dense, 77)
        sparse[:, ::2] = 0
        made = [immediates(weights, accumulators, short, 1) for weights in (dense, sparse, equal)]
        assert made[1].cycles < made[0].cycles * 0.6
        assert made[2].cycles < made[0].cycles * 0.7

    def test_a_layer_too_large_for_immediates_has_a_table(self) -> None:
        sample = _layer(np.random.default_rng(11), 200, 17)
        network = by_table(sample_graph(ROWS["fully_connected"], sample), "avr")
        assert network.steps[0].call.kernel == "fully_connected_avr"


def test_constants_beyond_the_reach_of_lpm_do_not_compile_on_avr() -> None:
    for inputs, refused in ((300, False), (400, True)):
        graph = sample_graph(ROWS["fully_connected"], _layer(np.random.default_rng(0), inputs, 180))
        text = c_source("net", c_network(graph, "avr")).files["net_model.c"]
        assert ('#error "expected less than 64512 bytes of constants on AVR' in text) == refused


class TestArithmetic:
    pytestmark = on_avr

    def test_levels_change_where_the_last_bit_says(self) -> None:
        rng = np.random.default_rng(0)
        moved, multiplier, fraction = [], [], []
        for bits in (16, 24, 32):
            for _ in range(400):
                sum_ = int(rng.integers(1 << int(rng.integers(1, 17 if bits == 16 else 24))))
                factor = int(rng.integers(1 << int(rng.integers(8, 33))))
                if bits == 32 and sum_ > 1 << 17 and rng.random() < 0.7:
                    factor = (1 << 48) // sum_  # where the level takes its third byte
                taken = (sum_ & 0xFFFF, factor) if bits == 16 else (sum_, factor & 0xFFFFFF if bits == 24 else factor)
                # Just enough for the next level, one less, and more, so that an earlier product carries.
                edge = -(taken[0] * taken[1] >> 8) % (1 << 24)
                more = int(rng.integers(1 << int(rng.integers(1, 25))))
                moved += [sum_] * 3
                multiplier += [factor] * 3
                fraction += [(edge + plus) % (1 << 24) for plus in (0, -1, more)]
        numbers = zip(moved, multiplier, fraction, strict=True)
        levels = [
            [min(((a * b >> 8) + f) >> 24, 255) for a, b in ((s & 0xFFFF, m), (s, m & 0xFFFFFF), (s, m))]
            for s, m, f in numbers
        ]
        inputs = np.concatenate([little(moved, 3), little(multiplier, 4), little(fraction, 3)], 1)
        body = f"""\
{NUMBERS_OF_A_LEVEL}  out[0] = (int8_t)q_level_of_16_avr((uint16_t)moved, multiplier, fraction);
  out[1] = (int8_t)q_level_of_24_avr(moved, (__uint24)multiplier, fraction);
  out[2] = (int8_t)q_level_of_32_avr(moved, multiplier, fraction);
"""
        expected = np.array(levels, np.uint8).view(np.int8)
        found = on_an_uno("requantize_avr", body, inputs, expected)
        assert found.mismatches == 0, found.first

    def test_the_high_word_of_a_product_is_exact(self) -> None:
        rng = np.random.default_rng(0)
        a = [-(2**31), 2**31 - 1, -1, 0, 1, *rng.integers(-(2**31), 2**31, 400).tolist()]
        b = [2**31 - 1, 2**31 - 1, 1, 0, 255, *rng.integers(0, 2**31, 400).tolist()]
        a, b = a * 2, b * 2
        high = rng.integers(-(2**30), 2**30, len(a)).tolist()
        half = len(a) // 2
        # Words that carry to the next by one, and that fall short of it by one.
        low = [(-x * y - (i >= half)) % 2**32 for i, (x, y) in enumerate(zip(a, b, strict=True))]
        words = [(x * y + (h << 32) + s) >> 32 for x, y, h, s in zip(a, b, high, low, strict=True)]
        inputs = np.concatenate([little(column, 4) for column in (a, b, high, low)], 1)
        body = """\
  int32_t number[3];
  uint32_t low;
  memcpy(number, in, 12);
  memcpy(&low, in + 12, 4);
  const int32_t word = q_high_word(number[0], number[1], number[2], low);
  memcpy(out, &word, 4);
"""
        found = on_an_uno("requantize", body, inputs, little(words, 4))
        assert found.mismatches == 0, found.first

    @pytest.mark.parametrize("name", NETWORKS)
    def test_codes_are_the_reference_s_on_both_sides_of_every_threshold(self, name: str) -> None:
        for accumulators in _accumulators(name):
            short = short_requantization(accumulators)
            assert short is not None
            found = thresholds(accumulators)
            channels, at = np.nonzero(found.occurs)
            picked = np.concatenate([found.sums[channels, at], found.sums[channels, at] - 1])
            channels = np.tile(channels, 2)
            arguments, table = _short(replaced(accumulators, bias=np.zeros_like(accumulators.bias)), short)
            body = f"""\
  static const uint8_t channels[] Q_FLASH = {{{", ".join(str(n) for n in table.reshape(-1))}}};
  __uint24 sum;
  memcpy(&sum, in, 3);
  out[0] = q_level_code_avr(sum, channels + in[3] * {table.shape[1]}, {arguments["form"]}, {arguments["splits"]},
                            {accumulators.low}, {accumulators.high});
"""
            exact = [_codes(accumulators, c, np.array([[s]]))[0, 0] for c, s in zip(channels, picked, strict=True)]
            inputs = np.concatenate([little(picked.tolist(), 3), channels[:, None].astype(np.int8)], 1)
            result = on_an_uno("requantize_avr", body, inputs, np.array(exact, np.int8)[:, None])
            assert result.mismatches == 0, result.first
