// CONV_2D, int8, three pixels and two output channels at a time, with weights that take no more flash: see joined.h.
#ifndef QTORCH_CONV_2D_JOINED_S8_H_
#define QTORCH_CONV_2D_JOINED_S8_H_

#include "joined.h"

//   in        int8 [in_h][in_w][in_c]; its zero point, padding_code, is folded into the biases
//   channels  int32 [(out_c + 1) / 2][2 * blocks + 2 * Q_CHANNEL_WORDS(form)], for two output channels each: both
//             channels' weights in halfwords, [window_h][window_w * in_c] in the order of q_widened, zeros behind the
//             last; then the words of the form. An odd last channel is the second of two.
//   out       int8 [out_h][out_w][out_c]
//   pixels    working memory: uint32 [2 * blocks][3], and int8 [3][window_w][in_c] if padded, which says that windows
//             reach beyond the image
//
// At least three pixels.
Q_KERNEL void conv_2d_joined_s8(const int8_t *in, const int32_t *channels, int form, int zero_point, int low, int high,
                                int8_t *out, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c,
                                int window_h, int window_w, int stride_h, int stride_w, int padding_top,
                                int padding_left, int padded, int padding_code, int blocks, int8_t *pixels) {
  const int count = out_h * out_w, width = window_w * in_c, size = 2 * blocks + 2 * Q_CHANNEL_WORDS(form);
  uint32_t *const words = (uint32_t *)(void *)pixels;
  int8_t *const copies = pixels + 24 * blocks;
  for (int start = 0; start < count; start += 3) {
    // The last three may be among those before: the same codes once more.
    const int first = start + 3 <= count ? start : count - 3;
    const q_corners at = q_three_corners(in, first, in_h, in_w, in_c, out_w, window_h, window_w, stride_h, stride_w,
                                         padding_top, padding_left, padded);
    uint32_t *to = words;
    for (int i = 0; i < window_h; ++i) {
      const int8_t *row[3];
      for (int k = 0; k < 3; ++k) {
        row[k] = q_row_of_three(&at, k, i, in, copies + k * width, in_h, in_w, in_c, window_w, padded, padding_code);
      }
      to = q_widened_three(row[0], row[1], row[2], width, to);
    }
    const int32_t *channel = channels;
    int8_t *codes = out + first * out_c;
    int o = 0;
#if defined(Q_JOINED_IN_THUMB)
    if (form == Q_STARTED && low == -128 && high == 127 && out_c >= 2) {
      q_joined_three_started(channel, words, codes, out_c, blocks, out_c / 2);
      o = out_c / 2 * 2;
    } else if (form == Q_EXACT && low == -128 && high == 127 && out_c >= 2) {
      q_joined_three_exact(channel, words, codes, out_c, blocks, out_c / 2);
      o = out_c / 2 * 2;
    }
    channel += o / 2 * size;
#endif
    for (; o < out_c; o += 2, channel += size) {
      const int32_t *const one = channel + 2 * blocks, *const other = one + Q_CHANNEL_WORDS(form);
      for (int k = 0; k < 3; ++k) {
        uint32_t sum, second;
        q_joined_sums(channel, 1, words + k, 3, 2 * blocks, &sum, &second);
        int8_t *code = codes + k * out_c + o;
        if (o + 1 < out_c) *code++ = q_joined_code(sum, 1, one, form, zero_point, low, high);
        *code = q_joined_code(second, 0, other, form, zero_point, low, high);
      }
    }
  }
}

#endif  // QTORCH_CONV_2D_JOINED_S8_H_
