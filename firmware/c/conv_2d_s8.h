// CONV_2D, int8, with groups and dilation. TFLM: kernels/internal/reference/integer_ops/conv.h.
#ifndef QTORCH_CONV_2D_S8_H_
#define QTORCH_CONV_2D_S8_H_

#include "dense.h"
#include "patch.h"

//   in            int8 [in_h][in_w][in_c]; its zero point, padding_code, is folded into the biases
//   weights       int8 [out_c][window_h][window_w][in_c / groups], in flash; of 4 bits for each group as in q_dense
//   weight_bits   8 or 4
//   channels      int32 [out_c][Q_CHANNEL_WORDS(form)], in flash
//   out           int8 [out_h][out_w][out_c]
//   patch         int8 [window_h][window_w][in_c / groups], working memory
Q_KERNEL void conv_2d_s8(const int8_t *in, const int8_t *weights, int weight_bits, const int32_t *channels, int form,
                         int zero_point, int low, int high, int8_t *out, int in_h, int in_w, int in_c, int out_h,
                         int out_w, int out_c, int window_h, int window_w, int stride_h, int stride_w, int dilation_h,
                         int dilation_w, int padding_top, int padding_left, int padding_code, int groups,
                         int8_t *patch) {
  const int depth = in_c / groups, size = window_h * window_w * depth, filters = out_c / groups;
  const int rows = weight_bits == 4 ? filters / 2 + filters % 2 : filters;
  for (int y = 0; y < out_h; ++y) {
    for (int x = 0; x < out_w; ++x) {
      for (int group = 0; group < groups; ++group) {
        q_patch(in + group * depth, patch, in_h, in_w, in_c, depth, y * stride_h - padding_top,
                x * stride_w - padding_left, window_h, window_w, dilation_h, dilation_w, padding_code);
        q_dense(patch, weights + group * rows * size, weight_bits,
                channels + group * filters * Q_CHANNEL_WORDS(form), form, zero_point, low, high, out, size, filters);
        out += filters;
      }
    }
  }
}

#endif  // QTORCH_CONV_2D_S8_H_
