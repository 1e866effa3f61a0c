// AVERAGE_POOL_2D over all pixels, int8, from sums over rows. TFLM: kernels/internal/reference/integer_ops/pooling.h.
#ifndef QTORCH_AVERAGE_OF_SUMS_H_
#define QTORCH_AVERAGE_OF_SUMS_H_

#include "pool_window.h"

// out int8 [depth] from sums, working memory: int32 [depth], each of count codes.
Q_KERNEL void average_of_sums(int8_t *out, int depth, int32_t count, int8_t *sums) {
  const int32_t *const all = (const int32_t *)(const void *)sums;
  for (int c = 0; c < depth; ++c) out[c] = (int8_t)q_mean(all[c], count);
}

#endif  // QTORCH_AVERAGE_OF_SUMS_H_
