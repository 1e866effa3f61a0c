// MEAN or SUM over all pixels, int8, from sums over rows. TFLM: kernels/internal/reference/reduce.h, QuantizedMeanOrSum.
#ifndef QTORCH_MEAN_OF_SUMS_H_
#define QTORCH_MEAN_OF_SUMS_H_

#include "requantize.h"

// out int8 [depth] from sums, working memory: int32 [depth], each of codes whose zero points add up to zeros.
Q_KERNEL void mean_of_sums(void *out, int depth, int32_t zeros, int32_t zero_point, int32_t mantissa, int shift,
                           int32_t low, int32_t high, int8_t *sums) {
  const int32_t *const all = (const int32_t *)(const void *)sums;
  int8_t *const codes = (int8_t *)out;
  for (int c = 0; c < depth; ++c) {
    codes[c] = (int8_t)q_clamp(zero_point + q_requantize(all[c] - zeros, mantissa, shift), low, high);
  }
}

#endif  // QTORCH_MEAN_OF_SUMS_H_
