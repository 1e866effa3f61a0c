// FULLY_CONNECTED, int8. TFLM: kernels/internal/reference/integer_ops/fully_connected.h.
#ifndef QTORCH_FULLY_CONNECTED_S8_H_
#define QTORCH_FULLY_CONNECTED_S8_H_

#include "dense.h"

// in int8 [rows][in_size], out int8 [rows][out_size], the rest as in q_dense.
Q_KERNEL void fully_connected_s8(const int8_t *in, const int8_t *weights, int weight_bits, const int32_t *channels,
                                 int form, int zero_point, int low, int high, int8_t *out, int rows, int in_size,
                                 int out_size) {
  for (int row = 0; row < rows; ++row) {
    q_dense(in + row * in_size, weights, weight_bits, channels, form, zero_point, low, high, out + row * out_size,
            in_size, out_size);
  }
}

#endif  // QTORCH_FULLY_CONNECTED_S8_H_
