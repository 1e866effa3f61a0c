// DEPTHWISE_CONV_2D, int8, one channel after the other, each of which lies by itself in working memory, padding and all.
#ifndef QTORCH_DEPTHWISE_CONV_2D_PLANES_S8_H_
#define QTORCH_DEPTHWISE_CONV_2D_PLANES_S8_H_

#include "requantize.h"
#include "window_of_plane.h"

//   in            int8 [in_h][in_w] pixels that are in_row and in_column bytes apart, of in_c channels each
//   weights       int8 [in_c][window_h][window_w], in flash
//   channels      int32 [in_c][Q_CHANNEL_WORDS(form)], in flash; the input's zero point, padding_code, is folded into
//                 the biases
//   out           int8 [out_h][out_w] pixels that are out_row and out_column bytes apart; out_w is 4 at least
//   plane         working memory, uint8 [plane_h][plane_w]: a channel of the image as far as windows reach, codes 128
//                 too large, which the biases know of
// Rows may be the image's columns.
Q_KERNEL void depthwise_conv_2d_planes_s8(const int8_t *in, const int8_t *weights, const int32_t *channels, int form,
                                          int zero_point, int low, int high, int8_t *out, int in_h, int in_w, int in_c,
                                          int in_row, int in_column, int out_h, int out_w, int out_row, int out_column,
                                          int window_h, int window_w, int stride_h, int stride_w, int dilation_h,
                                          int dilation_w, int padding_top, int padding_left, int padding_code,
                                          int plane_h, int plane_w, int8_t *plane) {
  uint8_t *const codes = (uint8_t *)(void *)plane;
  const int bottom = in_h + padding_top < plane_h ? in_h : plane_h - padding_top;
  const int right = in_w + padding_left < plane_w ? in_w : plane_w - padding_left;
  memset(codes, padding_code + 128, (size_t)(plane_h * plane_w));
  for (int c = 0; c < in_c; ++c, channels += Q_CHANNEL_WORDS(form), weights += window_h * window_w) {
    for (int y = 0; y < bottom; ++y) {
      const int8_t *from = in + y * in_row + c;
      uint8_t *to = codes + (y + padding_top) * plane_w + padding_left;
      for (const uint8_t *end = to + right; to != end; from += in_column) *to++ = (uint8_t)(*from + 128);
    }
    for (int y = 0; y < out_h; ++y) {
      for (int x = 0; x < out_w; x += 4) {
        // The last four may be among those before: the same codes once more.
        const int first = x + 4 <= out_w ? x : out_w - 4;
        int32_t sums[4];
        q_four_windows(codes + y * stride_h * plane_w + first * stride_w, weights, plane_w, window_h, window_w, stride_w,
                       dilation_h, dilation_w, q_flash_s32(channels), sums);
        int8_t *const to = out + y * out_row + first * out_column + c;
        to[0] = q_code(sums[0], channels + 1, form, zero_point, low, high);
        to[out_column] = q_code(sums[1], channels + 1, form, zero_point, low, high);
        to[2 * out_column] = q_code(sums[2], channels + 1, form, zero_point, low, high);
        to[3 * out_column] = q_code(sums[3], channels + 1, form, zero_point, low, high);
      }
    }
  }
}

#endif  // QTORCH_DEPTHWISE_CONV_2D_PLANES_S8_H_
