// CONV_2D with a window of one pixel, no padding and no groups, of inputs in blocks of 16: two pixels at a time.
#ifndef QTORCH_POINTWISE_MVE_S8_H_
#define QTORCH_POINTWISE_MVE_S8_H_

#include "mve.h"

//   in        int8 [..][in_w][16 * blocks]; its zero point is folded into the biases
//   channels  as in q_two_pixels
//   out       int8 [out_h][out_w][out_c]
Q_KERNEL void pointwise_mve_s8(const int8_t *in, const int32_t *channels, int form, int zero_point, int low, int high,
                               int8_t *out, int in_w, int blocks, int out_h, int out_w, int out_c, int stride_h,
                               int stride_w) {
  const int in_c = 16 * blocks, across = stride_w * in_c;
  for (int y = 0; y < out_h; ++y, in += stride_h * in_w * in_c) {
    const int8_t *pixel = in;
    for (int x = 0; x < out_w; x += 2, pixel += 2 * across, out += 2 * out_c) {
      const int last = x + 1 == out_w;
      q_two_pixels(pixel, last ? pixel : pixel + across, channels, form, zero_point, low, high, out,
                   last ? out : out + out_c, out_c, blocks);
    }
    out -= out_w % 2 * out_c;
  }
}

#endif  // QTORCH_POINTWISE_MVE_S8_H_
