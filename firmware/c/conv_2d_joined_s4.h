// CONV_2D, int8 with weights of 4 bits, two pixels and four output channels at a time: see joined_s4.h.
#ifndef QTORCH_CONV_2D_JOINED_S4_H_
#define QTORCH_CONV_2D_JOINED_S4_H_

#include "joined_s4.h"

//   in        int8 [in_h][in_w][in_c]; its zero point, padding_code, is folded into the biases
//   channels  int32 [(out_c + 3) / 4][steps + 4 * Q_CHANNEL_WORDS(form)], for four output channels each: their weights
//             in halfwords, [window_h][window_w * in_c] in the order of q_widened; then the words of the form
//   out       int8 [out_h][out_w][out_c]
//   steps     words of a channel's weights, up to a multiple of 4
//   pixels    working memory: uint32 [steps][2], and int8 [window_w][in_c] if padded, which says that windows reach
//             beyond the image
//
// At least two pixels.
Q_KERNEL void conv_2d_joined_s4(const int8_t *in, const int32_t *channels, int form, int zero_point, int low, int high,
                                int8_t *out, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c,
                                int window_h, int window_w, int stride_h, int stride_w, int padding_top,
                                int padding_left, int padded, int padding_code, int steps, int8_t *pixels) {
  const int count = out_h * out_w, words = Q_CHANNEL_WORDS(form), size = steps + 4 * words;
  uint32_t *const codes = (uint32_t *)(void *)pixels;
  int8_t *const copy = pixels + 8 * steps;
  for (int start = 0; start < count; start += 2) {
    // The last two may be among those before: the same codes once more.
    const int first = start + 2 <= count ? start : count - 2;
    int32_t less[2];
    for (int k = 0; k < 2; ++k) {
      const int y = (first + k) / out_w, x = first + k - y * out_w;
      uint32_t *to = codes + k;
      for (int i = 0; i < window_h; ++i) {
        const int8_t *const row = q_window_row(in, copy, in_h, in_w, in_c, y * stride_h - padding_top + i,
                                               x * stride_w - padding_left, window_w, padded, padding_code);
        to = q_widened(row, window_w * in_c, 2, to);
      }
      for (; to != codes + k + 2 * steps; to += 2) *to = 0;
      less[k] = q_eight_times(codes + k, 2, steps);
    }
    const int32_t *channel = channels;
    int8_t *const to = out + first * out_c;
    int o = 0;
#if defined(Q_JOINED_IN_THUMB)
    if (form == Q_STARTED && low == -128 && high == 127 && out_c >= 4) {
      q_joined_pair_started_s4(channel, codes, to, out_c, steps, out_c / 4, less);
      o = out_c / 4 * 4;
    } else if (form == Q_EXACT && low == -128 && high == 127 && out_c >= 4) {
      q_joined_pair_exact_s4(channel, codes, to, out_c, steps, out_c / 4, less);
      o = out_c / 4 * 4;
    }
    channel += o / 4 * size;
#endif
    for (; o < out_c; o += 4, channel += size) {
      for (int k = 0; k < 2; ++k) {
        int32_t sums[4];
        q_joined_sums_s4(channel, codes + k, 2, steps, less[k], sums);
        for (int i = 0; i < 4 && o + i < out_c; ++i) {
          to[k * out_c + o + i] =
              q_joined_code((uint32_t)sums[i], 0, channel + steps + i * words, form, zero_point, low, high);
        }
      }
    }
  }
}

#endif  // QTORCH_CONV_2D_JOINED_S4_H_
