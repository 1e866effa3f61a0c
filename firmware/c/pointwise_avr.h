// CONV_2D with a window of one pixel, no padding and no groups, on AVR.
#ifndef QTORCH_POINTWISE_AVR_H_
#define QTORCH_POINTWISE_AVR_H_

#include "dense_avr.h"

// in int8 [..][in_w][in_c], out int8 [out_h][out_w][out_c], the rest as in q_dense_avr.
Q_KERNEL void pointwise_avr(const int8_t *in, const uint8_t *weights, int weight_bits, const uint8_t *channels,
                            int form, int splits, int zero_point, int low, int high, int8_t *out, int in_w, int in_c,
                            int out_h, int out_w, int out_c, int stride_h, int stride_w) {
  for (int y = 0; y < out_h; ++y) {
    for (int x = 0; x < out_w; ++x, out += out_c) {
      q_dense_avr(in + (y * stride_h * in_w + x * stride_w) * in_c, weights, weight_bits, channels, form, splits,
                  zero_point, low, high, out, in_c, out_c);
    }
  }
}

#endif  // QTORCH_POINTWISE_AVR_H_
