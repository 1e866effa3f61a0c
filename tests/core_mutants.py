"""Small faults in kernels that one processor has of its own, and the runs on that processor that have to catch them."""

from __future__ import annotations

from tests.mutant import Mutant, selected

__all__ = ["CORE_MUTANTS"]


def _samples(ops: str, machine: str) -> tuple[str, ...]:
    """Samples of rows on an emulated machine."""
    return selected("test_samples_on_machines", f"{machine} and ({ops})")


_M0 = selected("test_four_bits_in_c", "eight_outputs and cortex_m0 and fully_connected")
_M3 = selected("test_four_bits_in_c", "eight_outputs and cortex_m3 and fully_connected")
_RV32 = selected("test_four_bits_in_c", "eight_outputs and riscv32 and fully_connected")
_M4 = selected("test_four_bits_in_c", "TestFourWeightsInAHalfword and cortex_m4")
_M55 = selected("test_four_bits_in_c", "eight_outputs and cortex_m55 and fully_connected")
_HERE = selected("test_four_bits_in_c", "TestFourWeightsInAHalfword and host")
_LSTM = selected("test_mve_kernels", "lstm and O2")
_SUMS_S16 = selected("test_mve_kernels", "sums_of_int16 and O2")

_FOUR_BITS = (
    # Of sums in two halves of a word the lower one's sign goes into the upper one.
    Mutant("firmware/c/dense_fields_s4.h", "b += ((int32_t)low - first) >> 16;", "b += (int32_t)low >> 16;", _M3),
    Mutant("firmware/c/dense_fields_s4.h", "size < 16 ? size : 16", "size < 32 ? size : 32", _RV32),
    Mutant("firmware/c/dense_fields_s4.h", r"""bls 2f\n\tmovs r4, #16\n""", r"""bls 2f\n\tmovs r4, #18\n""", _M0),
    Mutant("firmware/c/dense_fields_s4.h", r"""lsls r4, #31\n\tbeq 5f""", r"""lsls r4, #31\n\tbne 5f""", _M0),
    Mutant("firmware/c/dense_fields_s4.h", r"""subs " both ", r4\n\t""", r"""subs " both ", #0\n\t""", _M0),
    Mutant("firmware/c/dense_fields_s4.h", 'Q_OF_FIELD(", lsr #8", "low")', 'Q_OF_FIELD(", lsr #8", "high")', _M3),
    Mutant("firmware/c/dense_fields_s4.h", 'Q_TWO_CODES("4", "2", "3")', 'Q_TWO_CODES("4", "3", "2")', _RV32),
    Mutant("firmware/c/dense_fields_s4.h", "weights += (in_size + 1) / 2 * 4;", "weights += in_size / 2 * 4;", _M3),
    Mutant("firmware/c/joined_s4.h", "(int32_t)d - less;", "(int32_t)d;", _HERE),
    Mutant("firmware/c/joined_s4.h", "#0xF000F000", "#0xE000F000", _M4),
    Mutant(
        "firmware/c/joined_s4.h",
        r"""rsb " c ", " less ", " c ", asr #4""",
        r"""rsb " c ", " less ", " c ", asr #5""",
        _M4,
    ),
    Mutant("firmware/c/dense_s4.h", r"""vmov.i8 q2, #15\n\t""", r"""vmov.i8 q2, #7\n\t""", _M55),
)

_SEQUENCES = (
    Mutant(
        "firmware/c/four_columns.h",
        "odd >> 16 | (beside & 0xffff0000u);\n      }\n    } else",
        "odd >> 16 | beside << 16;\n      }\n    } else",
        _samples("batch_matmul", "cortex_m4"),
    ),
    Mutant(
        "firmware/c/four_columns.h",
        "i = depth & 3; i > 0",
        "i = depth & 1; i > 0",
        _samples("batch_matmul", "cortex_m4"),
    ),
    Mutant(
        "firmware/c/four_columns.h", "words[7], ones, d", "words[3], ones, d", _samples("batch_matmul", "cortex_m4")
    ),
    Mutant(
        "firmware/c/four_columns.h",
        "depth - k < 16 ? depth - k : 16;",
        "16;",
        _samples("batch_matmul", "cortex_m55"),
    ),
    Mutant("firmware/c/four_columns.h", r"""vaddva.s8 r8, q0\n\t""", "", _samples("batch_matmul", "cortex_m55")),
    Mutant(
        "firmware/c/four_columns.h",
        r"""vmov q0[2], q0[0], r0, r4""",
        r"""vmov q0[2], q0[0], r4, r0""",
        _samples("batch_matmul", "cortex_m55"),
    ),
    Mutant(
        "firmware/c/softmax_row.h",
        'most __asm__("r0") = -128',
        'most __asm__("r0") = 0',
        _samples("softmax", "cortex_m55"),
    ),
    Mutant(
        "firmware/c/softmax_row.h", "vrshrt.s32 q2, q2, #12", "vshrt.s32 q2, q2, #12", _samples("softmax", "cortex_m55")
    ),
    Mutant("firmware/c/softmax_row.h", r"""vmin.s32 q2, q2, q3\n\t""", "", _samples("softmax", "cortex_m55")),
    Mutant("firmware/c/lookup_s8.h", r"""veor q0, q0, q2\n\t""", "", _samples("table", "cortex_m55")),
    Mutant("firmware/c/mul.h", r"""vadd.i32 q0, q0, q4\n\t""", "", _samples("mul", "cortex_m55")),
    Mutant(
        "firmware/c/mul.h", r"""vshr.s32 q1, q0, #31\n\tvadd.i32 q0, q0, q1""", "nop", _samples("mul", "cortex_m55")
    ),
    Mutant("firmware/c/extremum.h", 'extremum ".s" bits', 'extremum ".u" bits', _samples("maximum", "cortex_m55")),
    Mutant("firmware/c/add_short_mve_s8.h", r"""vmax.s32 q0, q0, q2\n\t""", "", _samples("add or sub", "cortex_m55")),
    Mutant("firmware/c/lstm_mve.h", r"""vrshr.s32 q1, q1, #14""", r"""vshr.s32 q1, q1, #14""", _LSTM),
    Mutant("firmware/c/lstm_mve.h", r"""vbic.i32 q1, #0x800000\n\t""", "", _LSTM),
    Mutant("firmware/c/lstm_mve.h", r"""vrshr.s32 q0, q0, #10""", r"""vshr.s32 q0, q0, #10""", _LSTM),
    Mutant("firmware/c/add.h", r"""vand q1, q1, " goes "\n\t""", '" "', _SUMS_S16),
    Mutant("firmware/c/add.h", "low, high, in_goes, other_goes", "low, high, other_goes, in_goes", _SUMS_S16),
    Mutant("firmware/c/add.h", "out_shift, sign * code, n_3", "out_shift, code, n_3", _SUMS_S16),
)

CORE_MUTANTS = (*_FOUR_BITS, *_SEQUENCES)
