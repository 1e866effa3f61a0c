// CONV_2D, int8, three pixels and two output channels at a time: see pairs.h.
#ifndef QTORCH_CONV_2D_PAIRS_S8_H_
#define QTORCH_CONV_2D_PAIRS_S8_H_

#include "pairs.h"

//   in        int8 [in_h][in_w][in_c]; its zero point, padding_code, is folded into the biases
//   channels  int32 [(out_c + 1) / 2][...], for two output channels each: [chunks][4 + 4 * blocks], where the sums
//             start and both channels' weights, two in a word, zeros behind the last; then
//             [2][Q_CHANNEL_WORDS(form)]. The second of an odd last pair is all zeros.
//   out       int8 [out_h][out_w][out_c]
//   pixels    working memory: uint32 [chunks][4 * blocks][2], and int8 [3][window_w][in_c] if padded, which says
//             that windows reach beyond the image
//
// At least three pixels.
Q_KERNEL void conv_2d_pairs_s8(const int8_t *in, const int32_t *channels, int form, int zero_point, int low, int high,
                               int8_t *out, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c,
                               int window_h, int window_w, int stride_h, int stride_w, int padding_top,
                               int padding_left, int padded, int padding_code, int chunks, int blocks,
                               int8_t *pixels) {
  const int count = out_h * out_w;
  uint32_t *const words = (uint32_t *)(void *)pixels;
  for (int start = 0; start < count; start += 3) {
    // The last three may be among those before: the same codes once more.
    const int first = start + 3 <= count ? start : count - 3;
    q_pair_windows(in, words, pixels + 32 * chunks * blocks, first, in_h, in_w, in_c, out_w, window_h, window_w,
                   stride_h, stride_w, padding_top, padding_left, padded, padding_code);
    q_pair_codes(channels, words, form, zero_point, low, high, chunks, blocks, out_c, out + first * out_c, out_c);
  }
}

#endif  // QTORCH_CONV_2D_PAIRS_S8_H_
