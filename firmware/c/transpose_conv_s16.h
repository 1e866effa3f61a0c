// TRANSPOSE_CONV, int16 activations and int8 weights. TFLM: kernels/internal/reference/integer_ops/transpose_conv.h.
// Gathers as transpose_conv_s8.h does.
#ifndef QTORCH_TRANSPOSE_CONV_S16_H_
#define QTORCH_TRANSPOSE_CONV_S16_H_

#include "products_s16.h"

//   in        int16 [in_h][in_w][in_c]
//   weights   int8 [out_c][window_h][window_w][in_c], in flash
//   channels  int32 [out_c][Q_WIDE_WORDS], in flash
//   out       int16 [out_h][out_w][out_c]; cut_top rows and cut_left columns before it are not computed
//
// Four outputs at a time share the load of an input.
Q_KERNEL void transpose_conv_s16(const int16_t *in, const int8_t *weights, const int32_t *channels, int low, int high,
                                 int16_t *out, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c,
                                 int window_h, int window_w, int stride_h, int stride_w, int cut_top, int cut_left) {
  const int filter = window_h * window_w * in_c;
  for (int y = cut_top; y < cut_top + out_h; ++y) {
    for (int x = cut_left; x < cut_left + out_w; ++x) {
      for (int c = 0; c < out_c; c += 4) {
        const int32_t *const channel = channels + c * Q_WIDE_WORDS;
        const int count = out_c - c < 4 ? out_c - c : 4;
        int64_t sums[4];
        for (int k = 0; k < count; ++k) sums[k] = q_wide_bias(channel + k * Q_WIDE_WORDS);
        // The window's elements under which an input pixel comes to lie: every stride-th.
        for (int i = y % stride_h; i < window_h; i += stride_h) {
          const int in_y = (y - i) / stride_h;
          if (y < i || in_y >= in_h) continue;
          for (int j = x % stride_w; j < window_w; j += stride_w) {
            const int in_x = (x - j) / stride_w;
            if (x < j || in_x >= in_w) continue;
            const int16_t *const from = in + (in_y * in_w + in_x) * in_c;
            const int8_t *const weight = weights + c * filter + (i * window_w + j) * in_c;
            if (count == 4) {
              q_four_products_s16(from, weight, filter, in_c, sums);
            } else {
              for (int k = 0; k < count; ++k) sums[k] = q_products_s16(from, weight + k * filter, in_c, sums[k]);
            }
          }
        }
        for (int k = 0; k < count; ++k) *out++ = q_wide_code(sums[k], channel + k * Q_WIDE_WORDS, low, high);
      }
    }
  }
}

#endif  // QTORCH_TRANSPOSE_CONV_S16_H_
