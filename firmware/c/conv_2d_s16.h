// CONV_2D with groups and dilation, int16 activations and int8 weights; DEPTHWISE_CONV_2D, whose groups are the input's
// channels; FULLY_CONNECTED, whose rows are an image's. TFLM: kernels/internal/reference/integer_ops/conv.h.
#ifndef QTORCH_CONV_2D_S16_H_
#define QTORCH_CONV_2D_S16_H_

#include "products_s16.h"

//   in        int16 [in_h][in_w][in_c], zero point 0, so that what lies outside adds nothing
//   weights   int8 [out_c][window_h][window_w][in_c / groups], in flash
//   channels  int32 [out_c][Q_WIDE_WORDS], in flash
//   out       int16 [out_h][out_w][out_c]
//
// Four outputs at a time share the load of an input.
Q_KERNEL void conv_2d_s16(const int16_t *in, const int8_t *weights, const int32_t *channels, int low, int high,
                          int16_t *out, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c, int window_h,
                          int window_w, int stride_h, int stride_w, int dilation_h, int dilation_w, int padding_top,
                          int padding_left, int groups) {
  const int depth = in_c / groups, filters = out_c / groups, filter = window_h * window_w * depth;
  // A window's pixels that lie side by side in memory, as do their weights, are one sum of products.
  const int together = depth == in_c && dilation_w == 1;
  const int fours = groups == 1 ? out_c - out_c % 4 : 0;  // outputs that are computed four at a time
  for (int y = 0; y < out_h; ++y) {
    const int top = y * stride_h - padding_top;
    for (int x = 0; x < out_w; ++x) {
      const int left = x * stride_w - padding_left;
      int first = 0, last = window_w;  // the window's columns inside the image
      while (first < last && left + first * dilation_w < 0) ++first;
      while (last > first && left + (last - 1) * dilation_w >= in_w) --last;
      const int run = together ? (last - first) * depth : depth, step = together ? window_w : 1;
      for (int c = 0; c < fours; c += 4) {
        const int32_t *const channel = channels + c * Q_WIDE_WORDS;
        int64_t sums[4] = {q_wide_bias(channel), q_wide_bias(channel + Q_WIDE_WORDS),
                           q_wide_bias(channel + 2 * Q_WIDE_WORDS), q_wide_bias(channel + 3 * Q_WIDE_WORDS)};
        for (int i = 0; i < window_h; ++i) {
          const int in_y = top + i * dilation_h;
          if (in_y < 0 || in_y >= in_h) continue;
          for (int j = first; j < last; j += step) {
            q_four_products_s16(in + (in_y * in_w + left + j * dilation_w) * in_c,
                                weights + c * filter + (i * window_w + j) * depth, filter, run, sums);
          }
        }
        for (int k = 0; k < 4; ++k) *out++ = q_wide_code(sums[k], channel + k * Q_WIDE_WORDS, low, high);
      }
      for (int c = fours; c < out_c; ++c) {
        const int32_t *const channel = channels + c * Q_WIDE_WORDS;
        int64_t sum = q_wide_bias(channel);
        for (int i = 0; i < window_h; ++i) {
          const int in_y = top + i * dilation_h;
          if (in_y < 0 || in_y >= in_h) continue;
          for (int j = first; j < last; j += step) {
            sum = q_products_s16(in + (in_y * in_w + left + j * dilation_w) * in_c + c / filters * depth,
                                 weights + c * filter + (i * window_w + j) * depth, run, sum);
          }
        }
        *out++ = q_wide_code(sum, channel, low, high);
      }
    }
  }
}

#endif  // QTORCH_CONV_2D_S16_H_
