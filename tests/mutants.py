"""Small faults in arithmetic, C writer, kernels and files, and the tests that have to catch each of them.

Data alone: :mod:`tests.mutation` puts them, one at a time, into a copy of the tree. A fault that no input can tell from
what is right says why; it is run all the same, and a test that fails on it makes the reason a mistake.
"""

from __future__ import annotations

from tests.core_mutants import CORE_MUTANTS
from tests.mutant import Mutant, selected

__all__ = ["MUTANTS"]


def _rows(ops: str) -> tuple[str, ...]:
    """Samples of ops against TFLite Micro."""
    return selected("test_rows", f"what_tflm and ({ops})")


def _c(ops: str) -> tuple[str, ...]:
    """Samples of ops, compiled, against the reference."""
    return selected("test_compiled_c", f"kernel_is_the_reference and ({ops})")


_FIXED, _FUNCTIONAL = selected("test_fixedpoint"), selected("test_functional")
_SUMS = _rows("fully_connected")
_REQUANTIZATION = selected("test_requantization")
_C_NETWORKS = ("tests/test_random_c.py::test_random_networks_are_exact_in_c[from 0]",)
_C_STATES = selected("test_states", "copy_of_a_state")
_ROW_BY_ROW = selected("test_row_by_row")
_MEMORY = selected("test_memory_plan")
_TWO_MEMORIES = selected("test_two_memories", "split or sound")

_ARITHMETIC = (
    Mutant("qtorch/numbers/fixedpoint.py", "fraction * 2.0**31 + 0.5", "fraction * 2.0**31", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", "mantissa >> 1, mantissa)", "mantissa, mantissa)", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", "torch.where(carry, shift + 1, shift)", "shift", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", "flushed = shift < -31", "flushed = shift < -30", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", "flushed = shift < -31", "flushed = shift < -32", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", "low < _INT32_MIN or high > _INT32_MAX", "high > _INT32_MAX", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", "low < _INT32_MIN or high > _INT32_MAX", "low < _INT32_MIN", _FIXED),
    Mutant(
        "qtorch/numbers/fixedpoint.py", "total = 31 - shift.clamp_max(30)", "total = 31 - shift.clamp_max(0)", _FIXED
    ),
    Mutant("qtorch/numbers/fixedpoint.py", "(half << 31) + 2**30", "(half << 31)", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", "<< exponent >> 1\n    total", "<< exponent >> 2\n    total", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", "negative * rounds, alpha=2**31", "negative, alpha=2**31", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", "alpha=2**31)", "alpha=0)", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", "(mantissa + 2**15) >> 16", "mantissa >> 16", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", ".clamp_max(2**15 - 1)", "", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", "int(shift.max()) > 7:", "int(shift.max()) > 8:", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", "x.abs().max()) >= 2**47", "x.abs().max()) >= 2**48", _FIXED),
    Mutant("qtorch/numbers/fixedpoint.py", "total = 15 - shift", "total = 16 - shift", _FIXED),
    Mutant("qtorch/numbers/gemmlowp.py", "(a * b + 2**30) >> 31", "(a * b) >> 31", selected("test_gemmlowp")),
    Mutant(
        "qtorch/numbers/gemmlowp.py", "-((-x + half) >> exponent)", "(x + half) >> exponent", _rows("softmax or hard")
    ),
    Mutant(
        "qtorch/numbers/gemmlowp.py",
        "x3, x4 = multiply(x2, x), multiply(x2, x2)",
        "x3, x4 = multiply(x2, x), x2 * 0",
        selected("test_gemmlowp"),
    ),
    Mutant("qtorch/numbers/gemmlowp.py", "-1: 1302514674", "-1: 1302514675", selected("test_gemmlowp")),
    Mutant("qtorch/numbers/gemmlowp.py", "4: 242", "4: 243", selected("test_gemmlowp")),
    Mutant(
        "qtorch/numbers/gemmlowp.py",
        "torch.where(a == 0, torch.full_like(a, _ONE), result)",
        "result",
        _rows("softmax"),
    ),
    Mutant("qtorch/numbers/gemmlowp.py", "x = a + 2**28", "x = a + 2**27", _rows("logistic")),
    Mutant("qtorch/numbers/gemmlowp.py", "for _ in range(3):", "for _ in range(2):", _rows("logistic or softmax")),
    Mutant(
        "qtorch/numbers/gemmlowp.py",
        "torch.where(total >= 0, 1, -1)",
        "1",
        selected("test_gemmlowp"),
        equivalent="the sum of a number from 0 on and 1 is never negative",
    ),
    Mutant(
        "qtorch/numbers/gemmlowp.py",
        "torch.where(a == 0, torch.full_like(a, 2**30), result)",
        "result",
        selected("test_gemmlowp"),
    ),
    Mutant("qtorch/numbers/gemmlowp.py", "torch.where(a < 0, -magnitude, magnitude)", "magnitude", _rows("tanh")),
    Mutant(
        "qtorch/numbers/gemmlowp.py",
        "torch.where(a == 0, torch.zeros_like(a), result)",
        "result",
        selected("test_gemmlowp"),
    ),
    Mutant("qtorch/numbers/gemmlowp.py", "torch.minimum(rest_a, rest_b)", "rest_a", _rows("log_softmax")),
    Mutant("qtorch/numbers/gemmlowp.py", "sum_bits = 6 ", "sum_bits = 7 ", _rows("log_softmax")),
    Mutant("qtorch/numbers/gemmlowp.py", "for _ in range(5):", "for _ in range(4):", _rows("rsqrt or l2")),
    Mutant("qtorch/numbers/gemmlowp.py", "one = x <= 1", "one = x < 1", selected("test_gemmlowp")),
    Mutant("qtorch/numbers/functional.py", "0.5 - 2.0**-25", "0.5", _FUNCTIONAL),
    Mutant("qtorch/numbers/functional.py", "alpha=_BELOW_HALF[x.dtype]", "alpha=0.0", _FUNCTIONAL),
    Mutant("qtorch/numbers/functional.py", "steps.nan_to_num(0.0)", "steps.nan_to_num(1.0)", _FUNCTIONAL),
    Mutant("qtorch/numbers/functional.py", ".clamp(-(2.0**31), 2.0**31)", "", _FUNCTIONAL),
    Mutant(
        "qtorch/numbers/functional.py",
        "+ grid.zero_point).clamp(low, high)",
        "+ grid.zero_point).clamp(low, high - 1)",
        _FUNCTIONAL,
    ),
    Mutant(
        "qtorch/numbers/functional.py",
        "scale = along(grid.scale, axis, codes.dim()).to(torch.float64)",
        "scale = along(grid.scale, axis, codes.dim())",
        _FUNCTIONAL,
    ),
    Mutant(
        "qtorch/numbers/functional.py", "low.to(torch.float64).clamp(max=0.0)", "low.to(torch.float64)", _FUNCTIONAL
    ),
    Mutant(
        "qtorch/numbers/functional.py", "high.to(torch.float64).clamp(min=0.0)", "high.to(torch.float64)", _FUNCTIONAL
    ),
    Mutant(
        "qtorch/numbers/functional.py", "torch.maximum(-low64, high64) if symmetric", "high64 if symmetric", _FUNCTIONAL
    ),
    Mutant("qtorch/numbers/functional.py", "span > 2.0**-60", "span > -1", _FUNCTIONAL),
    Mutant("qtorch/numbers/functional.py", ".clamp_min(smallest)", "", _FUNCTIONAL),
    Mutant(
        "qtorch/numbers/functional.py",
        "code_high if symmetric else code_high - code_low",
        "code_high - code_low",
        _FUNCTIONAL,
    ),
    Mutant("qtorch/numbers/functional.py", "BIAS_LIMIT = 2**29", "BIAS_LIMIT = 2**33", _FUNCTIONAL),
    Mutant("qtorch/numbers/functional.py", "(-(2**40), 2**40)", "(-(2**31), 2**31)", _FUNCTIONAL),
    Mutant(
        "qtorch/numbers/functional.py",
        "bias.to(torch.float64), grid.scale.to(torch.float64)",
        "bias, grid.scale",
        _FUNCTIONAL,
    ),
    Mutant("qtorch/families/accumulator.py", "bound < 2**24 and largest <= 2**8", "True", _rows("cancelled")),
    Mutant("qtorch/families/accumulator.py", "bound < 2**24 and largest", "bound < 2**26 and largest", _SUMS),
    Mutant("qtorch/families/accumulator.py", "sub_(int(grid.zero_point))", "sub_(0)", _SUMS),
    Mutant("qtorch/families/accumulator.py", 'accumulator.add_(codes["bias"])', "pass", _SUMS),
    Mutant(
        "qtorch/families/accumulator.py",
        "source.to(torch.float64) * weight.to(torch.float64) / output.to(torch.float64)",
        "(source * weight).to(torch.float64) / output.to(torch.float64)",
        _SUMS,
    ),
    Mutant(
        "qtorch/families/accumulator.py",
        "shift = sum_multiplier(grids).shift.clamp_min(0)\n",
        "shift = torch.zeros(1)\n",
        selected("test_accumulator"),
    ),
    Mutant("qtorch/families/accumulator.py", "worst = worst + bias.abs()", "pass", selected("test_accumulator")),
    Mutant(
        "qtorch/families/accumulator.py",
        "int(largest.max()) >= 2**31",
        "int(largest.max()) >= 2**33",
        selected("test_accumulator"),
    ),
    Mutant("qtorch/families/accumulator.py", "(255 if not folded else 128)", "128", selected("test_accumulator")),
    Mutant(
        "qtorch/ops/average_pool_2d.py",
        "(0, 3, 1, 2).to(torch.float64)",
        "(0, 3, 1, 2).to(torch.float32)",
        _rows("average_pool"),
    ),
    Mutant("qtorch/ops/mean.py", "(mantissa << bits) // count", "mantissa * 2.0**bits / count", _rows("mean")),
    Mutant(
        "qtorch/families/arithmetic.py",
        "2 * torch.maximum(s_input, s_other)",
        "torch.maximum(s_input, s_other)",
        _rows("add or sub"),
    ),
    Mutant("qtorch/families/arithmetic.py", "return 15 if dtype", "return 20 if dtype", _rows("add or sub")),
    Mutant(
        "qtorch/network/quantizer.py",
        ', ("smallest", self.smallest)):',
        "):",
        selected("test_network_state", "scales_lower_bound"),
    ),
)

_FILES = (
    Mutant("export/tflite/writer.py", "= max(each.version,", "= min(each.version,", selected("test_file_details")),
    Mutant("export/tflite/writer.py", "ALIGNMENT = 16", "ALIGNMENT = 4", selected("test_rows", "aligned")),
    Mutant(
        "export/tflite/writer.py",
        'min(code, 127), "Version"',
        'code % 128, "Version"',
        selected("test_file_details"),
        equivalent="no operator of a row has a code of 128 or more",
    ),
    Mutant("export/graph/bytes.py", "nibbles[0::2] | nibbles[1::2] << 4", "nibbles[1::2] | nibbles[0::2] << 4", _SUMS),
    Mutant(
        "export/tflite/reader.py", "if index and buffer.offset % ALIGNMENT:", "if False:", selected("test_file_details")
    ),
    Mutant("export/tflite/reader.py", "        if aligned:\n", "        if False:\n", selected("test_file_details")),
    Mutant("export/tflite/contents.py", "number = max(code", "number = min(code", selected("test_file_details")),
    Mutant("export/tflite/reader.py", "len(contents.subgraphs) != 1", "False", selected("test_file_details")),
)

_WRITER = (
    Mutant("export/c/memory_plan.py", "if first > last:", "if first >= last:", _MEMORY),
    Mutant("export/c/memory_plan.py", "if start <= before:", "if start <= behind:", _MEMORY),
    Mutant("export/c/memory_plan.py", "max(start, aligned(behind, alignment))", "max(start, behind)", _MEMORY),
    Mutant(
        "export/c/memory_plan.py",
        "max((offsets[buffer.name] + buffer.size for",
        "max((offsets[buffer.name] for",
        _MEMORY,
    ),
    Mutant("export/c/memory_plan.py", "int((high - other_low)", "int((low - other_low)", _ROW_BY_ROW),
    Mutant("export/c/by_rows/schedule.py", "np.minimum(found, first), found)", "first, found)", _ROW_BY_ROW),
    Mutant(
        "export/c/by_rows/schedule.py",
        "until = window.first(steps[place]) + window.window",
        "until = window.first(steps[place]) + 1",
        _ROW_BY_ROW,
    ),
    Mutant("export/c/by_rows/text.py", 'f"q_lower({needed}, {row})"', "needed", _ROW_BY_ROW),
    Mutant("export/c/by_rows/section.py", "if name in later or name not in read}", "if name in later}", _ROW_BY_ROW),
    Mutant("firmware/c/row_lines.h", "if (made - first < most)", "if (made - first <= most)", _ROW_BY_ROW),
    Mutant("export/c/placement.py", "ends <= index)", "True)", _C_NETWORKS),
    Mutant(
        "export/c/placement.py",
        "size <= room and",
        "True and",
        _C_NETWORKS,
        equivalent="every kernel that may work in place writes as many bytes as it reads",
    ),
    Mutant("export/c/placement.py", "max(ends, until, index)", "index", _C_NETWORKS),
    Mutant(
        "export/c/placement.py",
        "else max(call.scratch for call in kernels)",
        "else min(call.scratch for call in kernels)",
        _C_NETWORKS,
        equivalent="nodes of several calls fill and copy: none of them has working memory",
    ),
    Mutant(
        "export/c/places.py",
        "frozenset.intersection(*(",
        "frozenset.union(*(",
        _C_NETWORKS,
        equivalent="nodes of several calls fill and copy boxes: none of them works in place",
    ),
    Mutant("export/c/placement.py", "and source in settled:", "and source not in names:", _C_STATES),
    Mutant(
        "export/c/written_calls.py",
        "value == -(2**31)",
        "False",
        selected("test_c_text"),
        equivalent="C99 gives the literal a longer type, whose negative the table holds; the name is for readers",
    ),
    Mutant(
        "export/c/written_calls.py",
        'tuple(numbers.get(p, "") for p in parameters), tuple(types',
        "(), tuple(types",
        _C_NETWORKS,
    ),
    Mutant("export/c/scratch_arrays.py", "fast = aligned(plan.peak) if", "fast = plan.peak // 4 * 4 if", _MEMORY),
    Mutant("export/c/scratch_arrays.py", "{offset - plan.fast}", "{offset - plan.fast + 4}", _TWO_MEMORIES),
    Mutant(
        "export/c/scratch_arrays.py",
        "#if {macro} < {size}",
        "#if {macro} < {size - 4}",
        selected("test_shared_memory", "small"),
    ),
    Mutant("export/c/division.py", "start + buffer.size > self.fast", "start > self.fast", _TWO_MEMORIES),
    Mutant(
        "export/c/source.py",
        ">= MOST_AVR_CONSTANTS:",
        ">= 2 * MOST_AVR_CONSTANTS:",
        selected("test_avr_kernels", "lpm"),
    ),
    Mutant("export/c_language/text.py", ".9g}", ".8g}", selected("test_c_text")),
    Mutant("export/c_language/text.py", 'and c != "\\\\"', "", selected("test_c_text")),
    Mutant(
        "export/c/requantization.py",
        "accumulators.least[:, None] - 1, acc",
        "accumulators.least[:, None], acc",
        _REQUANTIZATION,
    ),
    Mutant(
        "export/c/requantization.py",
        "exact_codes(accumulators, middle) >= codes",
        "exact_codes(accumulators, middle) > codes",
        _REQUANTIZATION,
    ),
    Mutant("export/c/requantization.py", "(-shift >= 2) &", "(-shift >= 1) &", _REQUANTIZATION),
    Mutant(
        "export/c/requantization.py", "(np.int64(1) << (right - 2))", "(np.int64(1) << (right - 1))", _REQUANTIZATION
    ),
    Mutant("export/c/requantization.py", "table.max() >= 2**32", "table.max() >= 2**40", _REQUANTIZATION),
    Mutant("export/c/requantization.py", "(products - tried[:, None]) - 1", "products - 1", _REQUANTIZATION),
)

_KERNELS = (
    Mutant("firmware/c/pool_2d_s16.h", "x * stride_w", "x * stride_h", _c("pool")),
    Mutant("firmware/c/pool_2d_s16.h", "y * stride_h", "y * stride_w", _c("pool")),
    Mutant("firmware/c/pool_2d_s16.h", "window_w, in_w", "window_h, in_w", _c("pool")),
    Mutant("firmware/c/pool_2d_s16.h", "padding_left, window", "padding_top, window", _c("pool")),
    Mutant("firmware/c/pool_2d_s16.h", "int16_t most = INT16_MIN;", "int16_t most = 0;", _c("pool")),
    Mutant("firmware/c/pool_window.h", "sum - count / 2", "sum + count / 2", _c("average_pool")),
    Mutant("firmware/c/pool_window.h", "start < 0 ? 0 : start", "start", _c("pool")),
    Mutant(
        "firmware/c/average_pool_2d_s8.h",
        "window_h * window_w <= 257",
        "window_h * window_w <= 600",
        selected("test_cortex_m_kernels", "pass_16_bits"),
    ),
    Mutant("firmware/c/average_pool_2d_s8.h", "x * stride_w", "x * stride_h", _c("average_pool")),
    Mutant("firmware/c/max_pool_2d_s8.h", "x * stride_w", "x * stride_h", _c("max_pool")),
    Mutant("firmware/c/conv_2d_s16.h", "x * stride_w", "x * stride_h", _c("conv_2d")),
    Mutant(
        "firmware/c/conv_2d_s16.h",
        "left + j * dilation_w) * in_c,\n                                weights",
        "left + j * dilation_h) * in_c,\n                                weights",
        _c("conv_2d"),
    ),
    Mutant("firmware/c/conv_2d_s16.h", "c / filters * depth", "c * depth", _c("conv_2d")),
    Mutant("firmware/c/conv_2d_s16.h", "int64_t sums[4]", "int32_t sums[4]", _c("conv_2d")),
    Mutant("firmware/c/products_s16.h", "SUM 508", "SUM 2048", selected("test_wide_kernels", "dense")),
    Mutant("firmware/c/wide.h", "((int64_t)1 << (shift - 1))", "0", _c("fully")),
    Mutant("firmware/c/conv_2d_s8.h", "x * stride_w", "x * stride_h", _c("conv_2d")),
    Mutant("firmware/c/conv_2d_s8.h", "group * rows * size", "group * size", _c("conv_2d")),
    Mutant("firmware/c/depthwise_conv_2d_s8.h", "x * stride_w", "x * stride_h", _c("depthwise")),
    Mutant("firmware/c/depthwise_conv_2d_s8.h", "c / multiplier, 0", "c % multiplier, 0", _c("depthwise")),
    Mutant("firmware/c/depthwise_conv_2d_s8.h", "(c + 1) / multiplier - c / multiplier", "1", _c("depthwise")),
    Mutant("firmware/c/depthwise_conv_2d_s8.h", "((int8_t)((uint8_t)w << 4) >> 4)", "(w & 15)", _c("depthwise")),
    Mutant(
        "firmware/c/depthwise_conv_2d_s8.h",
        "(last_i - 1) * dilation_h >= in_h",
        "last_i * dilation_h >= in_h",
        _c("depthwise"),
    ),
    Mutant("firmware/c/pointwise_s8.h", "x * stride_w", "x * stride_h", _c("conv_2d")),
    Mutant("firmware/c/dense.h", "for (; o < out_size; ++o", "for (; o + 1 < out_size; ++o", _c("fully")),
    Mutant("firmware/c/dense_s4.h", "  sums[1] = (whole - low) >> 4;", "  sums[1] = whole >> 4;", _c("fully")),
    Mutant("firmware/c/dense_s4.h", "8 * q_sum_s8(in, in_size)", "8 * in[0]", _c("conv_2d")),
    Mutant("firmware/c/dense_s4.h", "weights += in_size;", "weights += 2 * in_size;", _c("fully")),
    Mutant("firmware/c/conv_2d_s8.h", "filters / 2 + filters % 2", "filters / 2", _c("conv_2d")),
    Mutant("export/c/targets/halves.py", "rows[:, :even:2] + 8", "rows[:, :even:2] + 7", _c("fully")),
    Mutant("firmware/c/requantize.h", "if (x < 0) total -= (int64_t)1 << 31;", "", _c("mul")),
    Mutant("firmware/c/requantize.h", "mantissa) + ((int64_t)1 << 30)", "mantissa)", _c("mul")),
    Mutant("firmware/c/requantize.h", "if (right > 0) {", "if (right > 1) {", _c("mul")),
    Mutant("firmware/c/requantize.h", "sum < 0 ? -1 : 0;", "0;", _c("fully or conv_2d")),
    Mutant("firmware/c/mean.h", "int32_t sum = -zeros;", "int32_t sum = zeros;", _c("mean")),
    Mutant("firmware/c/add.h", "x + sign * y", "x + y", _c("sub")),
    Mutant("firmware/c/softmax_row.h", "most - in[i] < terms) total", "most - in[i] <= terms) total", _c("softmax")),
    Mutant("firmware/c/softmax_row.h", "code > -1 - least ? -1 - least : code", "code", _c("softmax")),
    Mutant("firmware/c/strided_copy.h", "+ i_3 * out_3", "+ i_3 * in_3", _c("transpose or concatenation")),
)

MUTANTS = (*_ARITHMETIC, *_FILES, *_WRITER, *_KERNELS, *CORE_MUTANTS)
