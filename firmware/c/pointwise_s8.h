// CONV_2D with a window of one pixel, no padding and no groups: a matrix product for each pixel that it reads.
#ifndef QTORCH_POINTWISE_S8_H_
#define QTORCH_POINTWISE_S8_H_

#include "dense.h"

//   in           int8 [..][in_w][in_c]; its zero point is folded into the biases
//   weights      int8 [out_c][in_c], in flash; of 4 bits as in q_dense
//   weight_bits  8 or 4
//   channels     int32 [out_c][Q_CHANNEL_WORDS(form)], in flash
//   out          int8 [out_h][out_w][out_c]
Q_KERNEL void pointwise_s8(const int8_t *in, const int8_t *weights, int weight_bits, const int32_t *channels, int form,
                           int zero_point, int low, int high, int8_t *out, int in_w, int in_c, int out_h, int out_w,
                           int out_c, int stride_h, int stride_w) {
  for (int y = 0; y < out_h; ++y) {
    for (int x = 0; x < out_w; ++x, out += out_c) {
      q_dense(in + (y * stride_h * in_w + x * stride_w) * in_c, weights, weight_bits, channels, form, zero_point, low,
              high, out, in_c, out_c);
    }
  }
}

#endif  // QTORCH_POINTWISE_S8_H_
