// ADD of int8 or int16 tensors whose shapes broadcast, and SUB.
// TFLM: kernels/internal/reference/integer_ops/add.h, sub.h.
#ifndef QTORCH_ADD_H_
#define QTORCH_ADD_H_

#include "broadcast.h"
#include "requantize.h"

#if defined(__ARM_FEATURE_MVE)
// A row of int16 codes without zero points, four at a time: those of in, brought to a grid 2^15 times finer, or, where in
// is 0, start, with those of other added or, where sign is -1, taken away. Shifts are 0 or negative, the output's negative.
//
//   numbers  least and greatest code; -1 where in's and other's shift is not 0, else 0; the output's mantissa and shift;
//            start; size
Q_KERNEL void q_row_of_sums(const int16_t *in, const int16_t *other, int16_t *out, int sign, int32_t in_mantissa,
                            int in_shift, int32_t other_mantissa, int other_shift, const int32_t *numbers) {
  // Where no compiler optimizes, it finds no registers by itself.
  register const int16_t *x __asm__("r0") = in;
  register const int16_t *y __asm__("r1") = other;
  register int16_t *to __asm__("r2") = out;
  register const int32_t *shared __asm__("r3") = numbers;
  register int32_t x_mantissa __asm__("r5") = in_mantissa;
  register int x_shift __asm__("r6") = in_shift;
  register int32_t y_mantissa __asm__("r8") = other_mantissa;
  register int y_shift __asm__("r9") = other_shift;
#define Q_NUMBER(vector, at) "ldr lr, [%[shared], #" at "]\n\tvdup.32 " vector ", lr\n\t"
  // As q_requantize: a negative number that goes to the right loses one first, so that its ties go down.
#define Q_FINE(x, of, goes)                                                                                   \
  "vshl.i32 " x ", " x ", #15\n\tvqrdmulh.s32 " x ", " x ", %[" of "_mantissa]\n\tvshr.s32 q1, " x ", #31\n\t" \
  "vand q1, q1, " goes "\n\tvadd.i32 " x ", " x ", q1\n\tvrshl.s32 " x ", %[" of "_shift]\n\t"
#define Q_ROW(before, mantissa, first, sum)                                                                   \
  __asm__ volatile(                                                                                           \
      Q_NUMBER("q4", "0") Q_NUMBER("q5", "4") Q_NUMBER("q7", "12") Q_NUMBER(mantissa, "16") before            \
      "ldr lr, [%[shared], #28]\n\tldr %[shared], [%[shared], #20]\n\twlstp.32 lr, lr, 2f\n"                  \
      "1:\n\t" first "vldrh.s32 q2, [%[y]], #8\n\t" Q_FINE("q2", "y", "q7") sum "q0, q0, q2\n\t"              \
      "vqrdmulh.s32 q0, q0, " mantissa "\n\tvshr.s32 q1, q0, #31\n\tvadd.i32 q0, q0, q1\n\t"                  \
      "vrshl.s32 q0, %[shared]\n\tvmax.s32 q0, q0, q4\n\tvmin.s32 q0, q0, q5\n\tvstrh.32 q0, [%[to]], #8\n\t" \
      "letp lr, 1b\n"                                                                                         \
      "2:"                                                                                                    \
      : [x] "+r"(x), [y] "+r"(y), [to] "+r"(to), [shared] "+r"(shared)                                        \
      : [x_mantissa] "r"(x_mantissa), [x_shift] "r"(x_shift), [y_mantissa] "r"(y_mantissa), [y_shift] "r"(y_shift) \
      : "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "memory")
#define Q_ROWS_OF(sum)                                                                                        \
  do {                                                                                                        \
    if (in) {                                                                                                 \
      Q_ROW(Q_NUMBER("q6", "8"), "q3", "vldrh.s32 q0, [%[x]], #8\n\t" Q_FINE("q0", "x", "q6"), sum);          \
    } else {                                                                                                  \
      Q_ROW(Q_NUMBER("q3", "24"), "q6", "vmov q0, q3\n\t", sum);                                              \
    }                                                                                                         \
  } while (0)
  if (sign > 0) {
    Q_ROWS_OF("vadd.i32 ");
  } else {
    Q_ROWS_OF("vsub.i32 ");
  }
#undef Q_ROWS_OF
#undef Q_ROW
#undef Q_FINE
#undef Q_NUMBER
}
#endif

// Both on a grid 2^bits times finer than codes, added, and brought to the output's. Operands as Q_FOR_EACH_PAIR has them;
// sign is 1 or -1, that of the second.
Q_KERNEL void add(const void *in, const void *other, void *out, int width, int in_flash, int other_flash, int n_0,
                  int n_1, int n_2, int n_3, int in_0, int in_1, int in_2, int in_3, int other_0, int other_1,
                  int other_2, int other_3, int bits, int sign, int in_zero_point, int32_t in_mantissa, int in_shift,
                  int other_zero_point, int32_t other_mantissa, int other_shift, int zero_point, int32_t out_mantissa,
                  int out_shift, int low, int high) {
  const int32_t unit = (int32_t)1 << bits;
#if defined(__ARM_FEATURE_MVE)
  if (Q_ROWS_IN_VECTORS && width == 2 && bits == 15 && in_zero_point == 0 && other_zero_point == 0 && zero_point == 0 &&
      in_shift <= 0 && other_shift <= 0 && out_shift < 0) {
    const int32_t in_goes = -(in_shift < 0), other_goes = -(other_shift < 0);
    int32_t numbers[8] = {low, high, in_goes, other_goes, out_mantissa, out_shift, 0, n_3};
    Q_FOR_EACH_ROW {
      const int16_t *const x = (const int16_t *)in + a, *const y = (const int16_t *)other + b;
      int16_t *const to = (int16_t *)out + at;
      if (other_3 != 0) {
        numbers[6] = q_requantize(q_get(in, a, width, in_flash) * unit, in_mantissa, in_shift);
        q_row_of_sums(in_3 ? x : 0, y, to, sign, in_mantissa, in_shift, other_mantissa, other_shift, numbers);
      } else {
        const int32_t code = q_requantize(q_get(other, b, width, other_flash) * unit, other_mantissa, other_shift);
        const int32_t turned[8] = {low, high, 0, in_goes, out_mantissa, out_shift, sign * code, n_3};
        q_row_of_sums(0, x, to, 1, 0, 0, in_mantissa, in_shift, turned);
      }
    }
    return;
  }
#endif
  Q_FOR_EACH_PAIR {
    const int32_t x = q_requantize((q_get(in, a, width, in_flash) - in_zero_point) * unit, in_mantissa, in_shift);
    const int32_t y =
        q_requantize((q_get(other, b, width, other_flash) - other_zero_point) * unit, other_mantissa, other_shift);
    const int32_t code = zero_point + q_requantize(x + sign * y, out_mantissa, out_shift);
    q_put(out, at, width, q_clamp(code, low, high));
  }
}

#endif  // QTORCH_ADD_H_
