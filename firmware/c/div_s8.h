// DIV of int8 tensors whose shapes broadcast. TFLM: kernels/internal/reference/div.h.
#ifndef QTORCH_DIV_S8_H_
#define QTORCH_DIV_S8_H_

#include "broadcast.h"
#include "gemmlowp.h"
#include "requantize.h"

// Operands as Q_FOR_EACH_PAIR has them, width 1. A quotient is shifted to the right by 0 to 31 bits.
Q_KERNEL void div_s8(const void *in, const void *other, void *out, int width, int in_flash, int other_flash, int n_0,
                     int n_1, int n_2, int n_3, int in_0, int in_1, int in_2, int in_3, int other_0, int other_1,
                     int other_2, int other_3, int in_zero_point, int other_zero_point, int zero_point,
                     int32_t mantissa, int shift, int low, int high) {
  Q_FOR_EACH_PAIR {
    int32_t x = (int32_t)q_get(in, a, width, in_flash) - in_zero_point;
    int32_t y = (int32_t)q_get(other, b, width, other_flash) - other_zero_point;
    if (y < 0) {
      x = -x;
      y = -y;
    }
    // The divisor as 2^whole * (1 + fraction), the fraction in Q0.31. Of 0 there is no such form, and TFLM's wraps.
    int whole = -1;
    int32_t inverse = -1515870788;
    if (y > 0) {
      whole = 0;
      while (y >> whole > 1) ++whole;
      inverse = q_one_over_one_plus((int32_t)(((uint32_t)y << (31 - whole)) - 0x80000000u));
    }
    int headroom = 0;
    const int32_t magnitude = x < 0 ? -x - 1 : x;
    while (headroom < 31 && magnitude >> (30 - headroom) == 0) ++headroom;
    const int32_t quotient = q_multiply((int32_t)((uint32_t)x << headroom), inverse);
    const int32_t code = q_divide_by_power_of_two(q_multiply(quotient, mantissa), whole + headroom - shift);
    q_put(out, at, width, q_clamp(zero_point + code, low, high));
  }
}

#endif  // QTORCH_DIV_S8_H_
