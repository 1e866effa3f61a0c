// CONV_2D, int8, with dilation: windows of two pixels at a time, side by side in memory.
#ifndef QTORCH_CONV_2D_MVE_S8_H_
#define QTORCH_CONV_2D_MVE_S8_H_

#include "mve.h"
#include "mve_patch.h"

#define Q_PARAMETERS                                                                                              \
  const int8_t *in, const int32_t *channels, int zero_point, int low, int high, int8_t *out, int in_h, int in_w,    \
      int in_c, int out_h, int out_w, int out_c, int window_h, int window_w, int stride_h, int stride_w,            \
      int dilation_h, int dilation_w, int padding_top, int padding_left, int padding_code, int blocks, int8_t *patches
#define Q_HANDED                                                                                                   \
  in, channels, zero_point, low, high, out, in_h, in_w, in_c, out_h, out_w, out_c, window_h, window_w, stride_h,     \
      stride_w, dilation_h, dilation_w, padding_top, padding_left, padding_code, blocks, patches

Q_KERNEL void q_conv_2d_mve(int weight_bits, int form, int whole, Q_PARAMETERS) {
  const int8_t *const last = in + in_h * in_w * in_c - 16 * blocks;
  const int one = window_h == 1 && window_w == 1 && padding_top == 0 && padding_left == 0;
  const int close = dilation_h == 1 && dilation_w == 1, widest = in_w - window_w;
  const int across = stride_w * in_c, pitch = in_w * in_c, row = window_w * in_c;
  const int8_t *first = 0;
  int8_t *patch = patches;
  for (int y = 0; y < out_h; ++y) {
    const int top = y * stride_h - padding_top, inside = close && top >= 0 && top + window_h <= in_h;
    // The window's first pixel, where that is within the image.
    const int8_t *corner = in + (top * in_w - padding_left) * in_c;
    int left = -padding_left;
    for (int x = out_w; x > 0; --x, left += stride_w, corner += across) {
      const int8_t *code = corner;
      // What is read beyond a window of one pixel has weights of zero; beyond the image nothing may be read.
      if (!one || code > last) {
        if (inside && left >= 0 && left <= widest) {
          q_mve_rows(corner, pitch, patch, window_h, row);
        } else {
          q_mve_patch(in, patch, in_h, in_w, in_c, top, left, window_h, window_w, dilation_h, dilation_w, padding_code);
        }
        code = patch;
      }
      if (!first && (x > 1 || y + 1 < out_h)) {
        first = code;
        patch = patches + 16 * blocks;
        continue;
      }
      // The last pixel of an odd number stands for both.
      int8_t *const other = first ? out + out_c : out;
      q_two_pixels(first ? first : code, code, weight_bits, channels, form, whole, 3, zero_point, low, high, out, other,
                   out_c, blocks);
      out = other + out_c;
      first = 0;
      patch = patches;
    }
  }
}

Q_SHARED void q_conv_2d_up(Q_PARAMETERS) { q_conv_2d_mve(8, Q_TIES_UP, 0, Q_HANDED); }
Q_SHARED void q_conv_2d_up_whole(Q_PARAMETERS) { q_conv_2d_mve(8, Q_TIES_UP, 1, Q_HANDED); }
Q_SHARED void q_conv_2d_away(Q_PARAMETERS) { q_conv_2d_mve(8, Q_TIES_AWAY, 0, Q_HANDED); }
Q_SHARED void q_conv_2d_away_whole(Q_PARAMETERS) { q_conv_2d_mve(8, Q_TIES_AWAY, 1, Q_HANDED); }
Q_SHARED void q_conv_2d_left(Q_PARAMETERS) { q_conv_2d_mve(8, Q_LEFT_TOO, 0, Q_HANDED); }
Q_SHARED void q_conv_2d_s4_up(Q_PARAMETERS) { q_conv_2d_mve(4, Q_TIES_UP, 0, Q_HANDED); }
Q_SHARED void q_conv_2d_s4_up_whole(Q_PARAMETERS) { q_conv_2d_mve(4, Q_TIES_UP, 1, Q_HANDED); }
Q_SHARED void q_conv_2d_s4_away(Q_PARAMETERS) { q_conv_2d_mve(4, Q_TIES_AWAY, 0, Q_HANDED); }
Q_SHARED void q_conv_2d_s4_away_whole(Q_PARAMETERS) { q_conv_2d_mve(4, Q_TIES_AWAY, 1, Q_HANDED); }
Q_SHARED void q_conv_2d_s4_left(Q_PARAMETERS) { q_conv_2d_mve(4, Q_LEFT_TOO, 0, Q_HANDED); }

//   in            int8 [in_h][in_w][in_c]; its zero point, padding_code, is folded into the biases
//   weight_bits   8 or 4
//   channels      as in q_two_pixels
//   out           int8 [out_h][out_w][out_c]
//   blocks        of 16 that a window's inputs fill
//   patches       int8 [2][16 * blocks], working memory
Q_KERNEL void conv_2d_mve_s8(const int8_t *in, int weight_bits, const int32_t *channels, int form, int zero_point,
                             int low, int high, int8_t *out, int in_h, int in_w, int in_c, int out_h, int out_w,
                             int out_c, int window_h, int window_w, int stride_h, int stride_w, int dilation_h,
                             int dilation_w, int padding_top, int padding_left, int padding_code, int blocks,
                             int8_t *patches) {
  if (form == Q_LEFT_TOO) {
    Q_OF_BITS(q_conv_2d, left)(Q_HANDED);
  } else if (out_c % 4 == 0) {
    (form == Q_TIES_UP ? Q_OF_BITS(q_conv_2d, up_whole) : Q_OF_BITS(q_conv_2d, away_whole))(Q_HANDED);
  } else {
    (form == Q_TIES_UP ? Q_OF_BITS(q_conv_2d, up) : Q_OF_BITS(q_conv_2d, away))(Q_HANDED);
  }
}
#undef Q_PARAMETERS
#undef Q_HANDED

#endif  // QTORCH_CONV_2D_MVE_S8_H_
