// FULLY_CONNECTED, int8, on AVR.
#ifndef QTORCH_FULLY_CONNECTED_AVR_H_
#define QTORCH_FULLY_CONNECTED_AVR_H_

#include "dense_avr.h"

// in int8 [rows][in_size], out int8 [rows][out_size], the rest as in q_dense_avr.
Q_KERNEL void fully_connected_avr(const int8_t *in, const uint8_t *weights, int weight_bits,
                                  const uint8_t *channels, int form, int splits, int zero_point, int low, int high,
                                  int8_t *out, int rows, int in_size, int out_size) {
  for (int row = 0; row < rows; ++row, in += in_size, out += out_size) {
    q_dense_avr(in, weights, weight_bits, channels, form, splits, zero_point, low, high, out, in_size, out_size);
  }
}

#endif  // QTORCH_FULLY_CONNECTED_AVR_H_
