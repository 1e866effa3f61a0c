// CONV_2D with a window of one pixel, weights of 4 bits, no padding and no groups: two products in one multiplication.
#ifndef QTORCH_POINTWISE_S4_H_
#define QTORCH_POINTWISE_S4_H_

#include "dense_fields_s4.h"

//   in        int8 [..][in_w][in_c]; its zero point is folded into the biases
//   weights   as in q_dense_fields, in flash
//   channels  int32 [out_c][Q_CHANNEL_WORDS(form)], in flash
//   out       int8 [out_h][out_w][out_c]
Q_KERNEL void pointwise_s4(const int8_t *in, const int8_t *weights, const int32_t *channels, int form, int zero_point,
                           int low, int high, int8_t *out, int in_w, int in_c, int out_h, int out_w, int out_c,
                           int stride_h, int stride_w) {
  for (int y = 0; y < out_h; ++y) {
    for (int x = 0; x < out_w; ++x, out += out_c) {
      q_dense_fields(in + (y * stride_h * in_w + x * stride_w) * in_c, weights, channels, form, zero_point, low, high,
                     out, in_c, out_c);
    }
  }
}

#endif  // QTORCH_POINTWISE_S4_H_
