// DEPTHWISE_CONV_2D, int8. TFLM: kernels/internal/reference/integer_ops/depthwise_conv.h.
#ifndef QTORCH_DEPTHWISE_CONV_2D_S8_H_
#define QTORCH_DEPTHWISE_CONV_2D_S8_H_

#include "requantize.h"

// What a byte of weights holds: one, one in its low half, or two.
#define Q_BYTE 0
#define Q_LOW_HALF 1
#define Q_BOTH_HALVES 2

// Adds to a sum, or to two, the products of those of the window's pixels that are inside the image.
//
//   code, weight          of the first pixel; of the second sum's channel the code is next codes behind
//   first_i .. last_j     rows and columns inside, the last ones excluded
//   row, step             codes from a row of the window to the next, and from a column to the next
//   across                bytes of weights from a column to the next
//   halves                what a byte of weights holds, a constant
Q_KERNEL void q_window_products(const int8_t *code, int next, const int8_t *weight, int first_i, int last_i,
                                int first_j, int last_j, int window_w, int row, int step, int across,
                                int in_zero_point, int halves, int32_t *sum, int32_t *second) {
  for (int i = first_i; i < last_i; ++i) {
    for (int j = first_j; j < last_j; ++j) {
      // At most 255 * 127, which fits 16 bits.
      if (halves == Q_BYTE) {
        *sum += (*code - in_zero_point) * q_flash_s8(weight);
      } else {
        const int8_t w = q_flash_s8(weight);
        *sum += (*code - in_zero_point) * ((int8_t)((uint8_t)w << 4) >> 4);
        if (halves == Q_BOTH_HALVES) *second += (code[next] - in_zero_point) * (w >> 4);
      }
      code += step;
      weight += across;
    }
    code += row - (last_j - first_j) * step;
    weight += (window_w - (last_j - first_j)) * across;
  }
}

//   in             int8 [in_h][in_w][in_c]
//   weights        int8 [window_h][window_w][in_c * multiplier], in flash; of 4 bits two channels to a byte, the first
//                  in its low half, the last of an odd number alone
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
  const int words = Q_CHANNEL_WORDS(form), across = weight_bits == 4 ? out_c / 2 + out_c % 2 : out_c;
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
      int c = 0;
      for (; weight_bits == 4 && c + 2 <= out_c; c += 2, channel += words) {
        int32_t sum = q_flash_s32(channel), second = q_flash_s32(channel + words);
        q_window_products(corner + c / multiplier, (c + 1) / multiplier - c / multiplier, filter + c / 2, first_i,
                          last_i, first_j, last_j, window_w, row, step, across, in_zero_point, Q_BOTH_HALVES, &sum,
                          &second);
        *out++ = q_code(sum, channel + 1, form, zero_point, low, high);
        channel += words;
        *out++ = q_code(second, channel + 1, form, zero_point, low, high);
      }
      for (; c < out_c; ++c, channel += words) {
        int32_t sum = q_flash_s32(channel);
        q_window_products(corner + c / multiplier, 0, filter + (weight_bits == 4 ? c / 2 : c), first_i, last_i, first_j,
                          last_j, window_w, row, step, across, in_zero_point, weight_bits == 4 ? Q_LOW_HALF : Q_BYTE,
                          &sum, 0);
        *out++ = q_code(sum, channel + 1, form, zero_point, low, high);
      }
    }
  }
}

#endif  // QTORCH_DEPTHWISE_CONV_2D_S8_H_
