// SOFTMAX along the last axis, int8 to int16. TFLM: kernels/internal/reference/softmax.h.
#ifndef QTORCH_SOFTMAX_S8_S16_H_
#define QTORCH_SOFTMAX_S8_S16_H_

#include "gemmlowp.h"

// As softmax_s8, but for out: int16 [rows][size], from -2^15 on.
Q_KERNEL void softmax_s8_s16(const int8_t *in, const int32_t *exponentials, int16_t *out, int rows, int size,
                             int terms) {
  for (int row = 0; row < rows; ++row, in += size, out += size) {
    int most = in[0];
    for (int i = 1; i < size; ++i) most = in[i] > most ? in[i] : most;
    int32_t total = 0;  // Q12.19
    for (int i = 0; i < size; ++i) {
      if (most - in[i] < terms) total += q_divide_by_power_of_two(q_flash_s32(exponentials + (most - in[i])), 12);
    }
    // The sum as 2^bits * (1 + fraction), the fraction in Q0.31.
    int headroom = 0;
    uint32_t shifted = (uint32_t)total;
    while ((shifted & 0x80000000u) == 0) {
      shifted <<= 1;
      ++headroom;
    }
    const int32_t scale = q_one_over_one_plus((int32_t)(shifted - 0x80000000u));
    for (int i = 0; i < size; ++i) {
      int32_t code = INT16_MIN;
      if (most - in[i] < terms) {
        const int32_t share = q_multiply(scale, q_flash_s32(exponentials + (most - in[i])));
        code += q_divide_by_power_of_two(share, 12 - headroom + 31 - 16);
      }
      out[i] = (int16_t)(code > INT16_MAX ? INT16_MAX : code);
    }
  }
}

#endif  // QTORCH_SOFTMAX_S8_S16_H_
