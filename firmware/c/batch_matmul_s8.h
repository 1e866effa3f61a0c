// BATCH_MATMUL, int8: products of matrices computed at run time. TFLM: kernels/internal/reference/batch_matmul.h.
#ifndef QTORCH_BATCH_MATMUL_S8_H_
#define QTORCH_BATCH_MATMUL_S8_H_

#include "batch_matmul.h"
#include "requantize.h"

// Operands as Q_FOR_EACH_SUM has them. The sums fit int32, and no factor shifts them to the left.
Q_KERNEL void batch_matmul_s8(const int8_t *in, const int8_t *other, int8_t *out, int n_0, int n_1, int n_2, int in_0,
                              int in_1, int in_2, int in_flash, int other_0, int other_1, int other_2, int other_flash,
                              int rows, int columns, int depth, int in_row, int in_step, int other_step,
                              int other_column, int in_zero_point, int other_zero_point, int zero_point,
                              int32_t mantissa, int shift) {
  Q_FOR_EACH_SUM {
    int32_t sum = 0;
    for (int k = 0; k < depth; ++k) {
      const int32_t x = q_get(in, a + k * in_step, 1, in_flash) - in_zero_point;
      sum += x * (q_get(other, b + k * other_step, 1, other_flash) - other_zero_point);
    }
    out[at] = (int8_t)q_clamp(zero_point + q_requantize(sum, mantissa, shift), -128, 127);
  }
}

#endif  // QTORCH_BATCH_MATMUL_S8_H_
