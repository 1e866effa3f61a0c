// BATCH_MATMUL, int16: products of matrices computed at run time. TFLM: kernels/internal/reference/batch_matmul.h.
#ifndef QTORCH_BATCH_MATMUL_S16_H_
#define QTORCH_BATCH_MATMUL_S16_H_

#include "batch_matmul.h"
#include "wide.h"

// Operands as Q_FOR_EACH_SUM has them; zero points are 0. The sums have 48 bits; mantissa is Q15, shift to the right.
Q_KERNEL void batch_matmul_s16(const int16_t *in, const int16_t *other, int16_t *out, int n_0, int n_1, int n_2,
                               int in_0, int in_1, int in_2, int in_flash, int other_0, int other_1, int other_2,
                               int other_flash, int rows, int columns, int depth, int in_row, int in_step,
                               int other_step, int other_column, int32_t mantissa, int shift) {
  Q_FOR_EACH_SUM {
    int64_t sum = 0;
    for (int k = 0; k < depth; ++k) {
      // At most 2^30.
      const int32_t x = (int32_t)q_get(in, a + k * in_step, 2, in_flash);
      sum += x * (int32_t)q_get(other, b + k * other_step, 2, other_flash);
    }
    const int64_t code = (q_wide_product(sum, mantissa) + ((int64_t)1 << (shift - 1))) >> shift;
    out[at] = (int16_t)(code < -32768 ? -32768 : code > 32767 ? 32767 : code);
  }
}

#endif  // QTORCH_BATCH_MATMUL_S16_H_
