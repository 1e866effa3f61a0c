// MUL of int8 or int16 tensors whose shapes broadcast. TFLM: kernels/internal/reference/integer_ops/mul.h.
#ifndef QTORCH_MUL_H_
#define QTORCH_MUL_H_

#include "broadcast.h"
#include "requantize.h"

#if defined(__ARM_FEATURE_MVE)
// Codes of a row, four at a time: products of in less its zero point and of other less its own or, where other is 0, of
// factor.
//
//   numbers  zero point of the output, least and greatest code
//   right    of the shift, 1 at least
Q_KERNEL void q_row_of_products(const void *in, const void *other, int32_t factor, void *out, int width, int size,
                                int in_zero_point, int other_zero_point, int32_t mantissa, int right,
                                const int32_t *numbers) {
  const int8_t *x = (const int8_t *)in, *y = (const int8_t *)other;
  int8_t *to = (int8_t *)out;
#define Q_ROW(load, product, store)                                                                              \
  __asm__ volatile(                                                                                              \
      "ldr lr, [%[numbers]]\n\tvdup.32 q4, lr\n\tldr lr, [%[numbers], #4]\n\tvdup.32 q2, lr\n\t"               \
      "ldr lr, [%[numbers], #8]\n\tvdup.32 q3, lr\n\t"                                                          \
      "wlstp.32 lr, %[size], 2f\n"                                                                               \
      "1:\n\t" load("q0", "x") "vadd.i32 q0, q0, %[less_x]\n\t" product                                         \
      "vqrdmulh.s32 q0, q0, %[mantissa]\n\tvshr.s32 q1, q0, #31\n\tvadd.i32 q0, q0, q1\n\t"                    \
      "vrshl.s32 q0, %[shift]\n\tvadd.i32 q0, q0, q4\n\tvmax.s32 q0, q0, q2\n\tvmin.s32 q0, q0, q3\n\t" store  \
      "letp lr, 1b\n"                                                                                            \
      "2:"                                                                                                       \
      : [x] "+l"(x), [y] "+l"(y), [to] "+l"(to)                                                                  \
      : [size] "r"(size), [less_x] "r"(-in_zero_point), [by] "r"(y ? -other_zero_point : factor),                \
        [mantissa] "r"(mantissa), [shift] "r"(-right), [numbers] "r"(numbers)                                    \
      : "lr", "q0", "q1", "q2", "q3", "q4", "memory")
#define Q_BYTES(vector, from) "vldrb.s32 " vector ", [%[" from "]], #4\n\t"
#define Q_HALVES(vector, from) "vldrh.s32 " vector ", [%[" from "]], #8\n\t"
#define Q_BY_CODES(load) load("q1", "y") "vadd.i32 q1, q1, %[by]\n\tvmul.i32 q0, q0, q1\n\t"
#define Q_BY_FACTOR "vmul.i32 q0, q0, %[by]\n\t"
  if (width == 1 && y) {
    Q_ROW(Q_BYTES, Q_BY_CODES(Q_BYTES), "vstrb.32 q0, [%[to]], #4\n\t");
  } else if (width == 1) {
    Q_ROW(Q_BYTES, Q_BY_FACTOR, "vstrb.32 q0, [%[to]], #4\n\t");
  } else if (y) {
    Q_ROW(Q_HALVES, Q_BY_CODES(Q_HALVES), "vstrh.32 q0, [%[to]], #8\n\t");
  } else {
    Q_ROW(Q_HALVES, Q_BY_FACTOR, "vstrh.32 q0, [%[to]], #8\n\t");
  }
#undef Q_BY_FACTOR
#undef Q_BY_CODES
#undef Q_HALVES
#undef Q_BYTES
#undef Q_ROW
}
#endif

// Operands as Q_FOR_EACH_PAIR has them.
Q_KERNEL void mul(const void *in, const void *other, void *out, int width, int in_flash, int other_flash, int n_0,
                  int n_1, int n_2, int n_3, int in_0, int in_1, int in_2, int in_3, int other_0, int other_1,
                  int other_2, int other_3, int in_zero_point, int other_zero_point, int zero_point, int32_t mantissa,
                  int shift, int low, int high) {
#if defined(__ARM_FEATURE_MVE)
  if (Q_ROWS_IN_VECTORS && shift < 0) {
    const int32_t numbers[3] = {zero_point, low, high};
    Q_FOR_EACH_ROW {
      const int8_t *const x = (const int8_t *)in + a * width, *const y = (const int8_t *)other + b * width;
      int8_t *const to = (int8_t *)out + at * width;
      if (in_3 == 0) {
        const int32_t factor = q_get(in, a, width, in_flash) - in_zero_point;
        q_row_of_products(y, 0, factor, to, width, n_3, other_zero_point, 0, mantissa, -shift, numbers);
      } else {
        const int32_t factor = q_get(other, b, width, other_flash) - other_zero_point;
        q_row_of_products(x, other_3 ? y : 0, factor, to, width, n_3, in_zero_point, other_zero_point, mantissa, -shift,
                          numbers);
      }
    }
    return;
  }
#endif
  Q_FOR_EACH_PAIR {
    const int32_t x = q_get(in, a, width, in_flash) - in_zero_point;
    const int32_t product = x * (q_get(other, b, width, other_flash) - other_zero_point);
    q_put(out, at, width, q_clamp(zero_point + q_requantize(product, mantissa, shift), low, high));
  }
}

#endif  // QTORCH_MUL_H_
