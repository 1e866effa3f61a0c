// DEPTHWISE_CONV_2D, int8, one channel after the other, each of which lies by itself in working memory, padding and all.
#ifndef QTORCH_DEPTHWISE_CONV_2D_PLANES_S8_H_
#define QTORCH_DEPTHWISE_CONV_2D_PLANES_S8_H_

#include "requantize.h"
#include "window_of_plane.h"

// Of an image whose rows may be what its caller calls columns: pixels of it are in_row and in_column bytes apart, those of
// the output out_row and out_column.
Q_KERNEL void q_planes(const int8_t *in, const int8_t *weights, int weight_bits, const int32_t *channels, int form,
                       int zero_point, int low, int high, int8_t *out, int in_h, int in_w, int in_c, int in_row,
                       int in_column, int out_h, int out_w, int out_row, int out_column, int window_h, int window_w,
                       int stride_h, int stride_w, int dilation_h, int dilation_w, int padding_top, int padding_left,
                       int padding_code, int8_t *plane) {
  const int plane_h = (out_h - 1) * stride_h + (window_h - 1) * dilation_h + 1;
  const int plane_w = (out_w - 1) * stride_w + (window_w - 1) * dilation_w + 1;
  uint8_t *const codes = (uint8_t *)(void *)plane;
  const int bottom = in_h + padding_top < plane_h ? in_h : plane_h - padding_top;
  const int right = in_w + padding_left < plane_w ? in_w : plane_w - padding_left;
  const int area = window_h * window_w;
  int8_t *const unpacked = plane + plane_h * plane_w;
  memset(codes, padding_code + 128, (size_t)(plane_h * plane_w));
  for (int c = 0; c < in_c; ++c, channels += Q_CHANNEL_WORDS(form)) {
    const int8_t *const filter = weight_bits == 4 ? unpacked : weights + c * area;
    for (int i = 0; weight_bits == 4 && i < area; ++i) {
      const int8_t two = q_flash_s8(weights + c / 2 * area + i);
      unpacked[i] = (int8_t)(c % 2 == 0 ? (int8_t)((uint8_t)two << 4) >> 4 : two >> 4);
    }
    for (int y = 0; y < bottom; ++y) {
      const int8_t *from = in + y * in_row + c;
      uint8_t *to = codes + (y + padding_top) * plane_w + padding_left;
      for (const uint8_t *end = to + right; to != end; from += in_column) *to++ = (uint8_t)(*from + 128);
    }
    for (int y = 0; y < out_h; ++y) {
      for (int x = 0; x < out_w; x += 4) {
        // The last four may have some of those before among them.
        const int first = x + 4 <= out_w ? x : out_w - 4;
        int32_t sums[4];
        q_four_windows(codes + y * stride_h * plane_w + first * stride_w, filter, plane_w, window_h, window_w, stride_w,
                       dilation_h, dilation_w, q_flash_s32(channels), sums);
        int8_t *to = out + y * out_row + x * out_column + c;
        for (const int32_t *sum = sums + (x - first); sum != sums + 4; ++sum, to += out_column) {
          *to = q_code(*sum, channels + 1, form, zero_point, low, high);
        }
      }
    }
  }
}

//   in            int8 [in_h][in_w][in_c]
//   weights       int8 [in_c][window_h][window_w], in flash, or [in_c][window_w][window_h] where turned; of 4 bits two
//                 channels' in the bytes of one, the first one's in their low halves
//   weight_bits   8 or 4
//   channels      int32 [in_c][Q_CHANNEL_WORDS(form)], in flash; the input's zero point, padding_code, is folded into
//                 the biases
//   out           int8 [out_h][out_w][in_c]; out_w is 4 at least, or out_h where turned
//   turned        whether four windows that are computed at once are below each other
//   plane         working memory, uint8: a channel of the image as far as windows reach, codes 128 too large, which the
//                 biases know of, and the weights of a channel where they have 4 bits
Q_KERNEL void depthwise_conv_2d_planes_s8(const int8_t *in, const int8_t *weights, int weight_bits,
                                          const int32_t *channels, int form, int zero_point, int low, int high,
                                          int8_t *out, int in_h, int in_w, int in_c, int out_h, int out_w, int window_h,
                                          int window_w, int stride_h, int stride_w, int dilation_h, int dilation_w,
                                          int padding_top, int padding_left, int padding_code, int turned,
                                          int8_t *plane) {
  if (turned) {
    q_planes(in, weights, weight_bits, channels, form, zero_point, low, high, out, in_w, in_h, in_c, in_c, in_w * in_c,
             out_w, out_h, in_c, out_w * in_c, window_w, window_h, stride_w, stride_h, dilation_w, dilation_h,
             padding_left, padding_top, padding_code, plane);
  } else {
    q_planes(in, weights, weight_bits, channels, form, zero_point, low, high, out, in_h, in_w, in_c, in_w * in_c, in_c,
             out_h, out_w, out_w * in_c, in_c, window_h, window_w, stride_h, stride_w, dilation_h, dilation_w,
             padding_top, padding_left, padding_code, plane);
  }
}

#endif  // QTORCH_DEPTHWISE_CONV_2D_PLANES_S8_H_
