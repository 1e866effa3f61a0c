// CONV_2D, int8, with groups and dilation, on AVR.
#ifndef QTORCH_CONV_2D_AVR_H_
#define QTORCH_CONV_2D_AVR_H_

#include "dense_avr.h"
#include "patch.h"

//   in        int8 [in_h][in_w][in_c]; its zero point, padding_code, is folded into the biases
//   weights   for each group as in q_dense_avr, a filter's inputs in the order [window_h][window_w][in_c / groups]
//   channels  of all groups
//   out       int8 [out_h][out_w][out_c]
//   patch     int8 [window_h][window_w][in_c / groups], working memory
Q_KERNEL void conv_2d_avr(const int8_t *in, const uint8_t *weights, int weight_bits, const uint8_t *channels, int form,
                          int splits, int zero_point, int low, int high, int8_t *out, int in_h, int in_w, int in_c,
                          int out_h, int out_w, int out_c, int window_h, int window_w, int stride_h, int stride_w,
                          int dilation_h, int dilation_w, int padding_top, int padding_left, int padding_code,
                          int groups, int8_t *patch) {
  const int depth = in_c / groups, size = window_h * window_w * depth, filters = out_c / groups;
  const int rows = weight_bits == 4 ? filters / 2 + filters % 2 : filters;
  for (int y = 0; y < out_h; ++y) {
    for (int x = 0; x < out_w; ++x) {
      for (int group = 0; group < groups; ++group) {
        q_patch(in + group * depth, patch, in_h, in_w, in_c, depth, y * stride_h - padding_top,
                x * stride_w - padding_left, window_h, window_w, dilation_h, dilation_w, padding_code);
        q_dense_avr(patch, weights + (uint16_t)(group * rows * size), weight_bits,
                    channels + group * filters * Q_CHANNEL_BYTES_AVR(form, splits), form, splits, zero_point, low,
                    high, out, size, filters);
        out += filters;
      }
    }
  }
}

#endif  // QTORCH_CONV_2D_AVR_H_
