// FULLY_CONNECTED, int8, with weights of 4 bits: two products in one multiplication.
#ifndef QTORCH_FULLY_CONNECTED_S4_H_
#define QTORCH_FULLY_CONNECTED_S4_H_

#include "dense_fields_s4.h"

// in int8 [rows][in_size], out int8 [rows][out_size], the rest as in q_dense_fields.
Q_KERNEL void fully_connected_s4(const int8_t *in, const int8_t *weights, const int32_t *channels, int form,
                                 int zero_point, int low, int high, int8_t *out, int rows, int in_size, int out_size) {
  for (int row = 0; row < rows; ++row) {
    q_dense_fields(in + row * in_size, weights, channels, form, zero_point, low, high, out + row * out_size, in_size,
                   out_size);
  }
}

#endif  // QTORCH_FULLY_CONNECTED_S4_H_
