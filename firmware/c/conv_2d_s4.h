// CONV_2D, int8, with weights of 4 bits, groups and dilation: two products in one multiplication.
#ifndef QTORCH_CONV_2D_S4_H_
#define QTORCH_CONV_2D_S4_H_

#include "dense_fields_s4.h"
#include "patch.h"

//   in            int8 [in_h][in_w][in_c]; its zero point, padding_code, is folded into the biases
//   weights       of each group as in q_dense_fields, in flash; groups are group_bytes apart
//   channels      int32 [out_c][Q_CHANNEL_WORDS(form)], in flash
//   out           int8 [out_h][out_w][out_c]
//   patch         int8 [window_h][window_w][in_c / groups], working memory
Q_KERNEL void conv_2d_s4(const int8_t *in, const int8_t *weights, const int32_t *channels, int form, int zero_point,
                         int low, int high, int8_t *out, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c,
                         int window_h, int window_w, int stride_h, int stride_w, int dilation_h, int dilation_w,
                         int padding_top, int padding_left, int padding_code, int groups, int group_bytes,
                         int8_t *patch) {
  const int depth = in_c / groups, size = window_h * window_w * depth, filters = out_c / groups;
  for (int y = 0; y < out_h; ++y) {
    for (int x = 0; x < out_w; ++x) {
      for (int group = 0; group < groups; ++group) {
        q_patch(in + group * depth, patch, in_h, in_w, in_c, depth, y * stride_h - padding_top,
                x * stride_w - padding_left, window_h, window_w, dilation_h, dilation_w, padding_code);
        q_dense_fields(patch, weights + group * group_bytes, channels + group * filters * Q_CHANNEL_WORDS(form), form,
                       zero_point, low, high, out, size, filters);
        out += filters;
      }
    }
  }
}

#endif  // QTORCH_CONV_2D_S4_H_
