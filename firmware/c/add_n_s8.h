// ADD_N, int8: up to four tensors of one grid. TFLM: kernels/internal/reference/add_n.h.
#ifndef QTORCH_ADD_N_S8_H_
#define QTORCH_ADD_N_S8_H_

#include "requantize.h"

// in_0 ... in_3 int8 [size], of which count, 2 to 4, are summed up; zeros is taken from each sum; out int8 [size].
Q_KERNEL void add_n_s8(const int8_t *in_0, const int8_t *in_1, const int8_t *in_2, const int8_t *in_3, int8_t *out,
                       int count, int size, int zeros, int zero_point, int32_t mantissa, int shift, int low, int high) {
  for (int i = 0; i < size; ++i) {
    int32_t sum = (int32_t)in_0[i] + in_1[i] - zeros;
    if (count > 2) sum += in_2[i];
    if (count > 3) sum += in_3[i];
    out[i] = (int8_t)q_clamp(zero_point + q_requantize(sum * ((int32_t)1 << 19), mantissa, shift), low, high);
  }
}

#endif  // QTORCH_ADD_N_S8_H_
