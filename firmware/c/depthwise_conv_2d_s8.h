// DEPTHWISE_CONV_2D, int8. TFLM: kernels/internal/reference/integer_ops/depthwise_conv.h.
#ifndef QTORCH_DEPTHWISE_CONV_2D_S8_H_
#define QTORCH_DEPTHWISE_CONV_2D_S8_H_

#include "halves.h"
#include "requantize.h"

//   in             int8 [in_h][in_w][in_c]
//   weights        int8 [window_h][window_w][in_c * multiplier], in flash; of 4 bits two channels' in a byte, the last of
//                  an odd number alone
//   weight_bits    8 or 4
//   channels       int32 [in_c * multiplier][Q_CHANNEL_WORDS(form)], in flash; biases as they are
//   out            int8 [out_h][out_w][in_c * multiplier]
//   in_zero_point  subtracted here and not folded, so that pixels outside the image add nothing and are skipped
Q_KERNEL void depthwise_conv_2d_s8(const int8_t *in, const int8_t *weights, int weight_bits, const int32_t *channels,
                                   int form, int zero_point, int low, int high, int8_t *out, int in_h, int in_w,
                                   int in_c, int out_h, int out_w, int multiplier, int window_h, int window_w,
                                   int stride_h, int stride_w, int dilation_h, int dilation_w, int padding_top,
                                   int padding_left, int in_zero_point) {
  const int out_c = in_c * multiplier, row = in_w * in_c * dilation_h, step = in_c * dilation_w;
  const int words = Q_CHANNEL_WORDS(form), at_once = weight_bits == 4 ? 2 : 1, across = (out_c + at_once - 1) / at_once;
  for (int y = 0; y < out_h; ++y) {
    const int top = y * stride_h - padding_top;
    int first_i = 0, last_i = window_h;  // the window's rows inside the image
    while (first_i < last_i && top + first_i * dilation_h < 0) ++first_i;
    while (last_i > first_i && top + (last_i - 1) * dilation_h >= in_h) --last_i;
    for (int x = 0; x < out_w; ++x) {
      const int left = x * stride_w - padding_left;
      int first_j = 0, last_j = window_w;
      while (first_j < last_j && left + first_j * dilation_w < 0) ++first_j;
      while (last_j > first_j && left + (last_j - 1) * dilation_w >= in_w) --last_j;
      const int8_t *const corner = in + ((top + first_i * dilation_h) * in_w + left + first_j * dilation_w) * in_c;
      const int8_t *const filter = weights + (first_i * window_w + first_j) * across;
      const int32_t *channel = channels;
      for (int c = 0; c < out_c; c += at_once, channel += at_once * words) {
        const int8_t *code = corner + c / multiplier, *weight = filter + c / at_once;
        const int pair = at_once == 2 && c + 1 < out_c;
        const int next = pair ? (c + 1) / multiplier - c / multiplier : 0;
        int32_t sum = q_flash_s32(channel), second = pair ? q_flash_s32(channel + words) : 0;
        for (int i = first_i; i < last_i; ++i) {
          for (int j = first_j; j < last_j; ++j) {
            const int8_t w = q_flash_s8(weight);
            sum += (*code - in_zero_point) * (at_once == 2 ? q_low_s4(w) : w);  // up to 255 * 127, which fits 16 bits
            if (at_once == 2) second += (code[next] - in_zero_point) * q_high_s4(w);
            code += step;
            weight += across;
          }
          code += row - (last_j - first_j) * step;
          weight += (window_w - (last_j - first_j)) * across;
        }
        *out++ = q_code(sum, channel + 1, form, zero_point, low, high);
        if (pair) *out++ = q_code(second, channel + words + 1, form, zero_point, low, high);
      }
    }
  }
}

#endif  // QTORCH_DEPTHWISE_CONV_2D_S8_H_
