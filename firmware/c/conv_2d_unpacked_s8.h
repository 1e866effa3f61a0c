// CONV_2D, int8, three pixels and two output channels at a time, with weights that are bytes in flash: see pairs.h.
#ifndef QTORCH_CONV_2D_UNPACKED_S8_H_
#define QTORCH_CONV_2D_UNPACKED_S8_H_

#include "pairs.h"

// Weights of two channels, int8 [chunks][4 * blocks][2], in words, two in one, and in front of each chunk where its sums
// start, twice; behind them the words of the form of both channels. Returns what lies behind them.
Q_KERNEL int32_t *q_unpacked(const int8_t *weights, const int32_t *channels, int form, int chunks, int blocks,
                             int32_t *words) {
  for (int chunk = 0; chunk < chunks; ++chunk) {
    int32_t *const start = words;
    int64_t sum = 0;
    words += 4;
    for (int i = 0; i < 4 * blocks; ++i, weights += 2) {
      const int32_t word = (int32_t)((uint32_t)weights[0] + ((uint32_t)weights[1] << 21));
      sum += word;
      *words++ = word;
    }
    // The second code of a word of pixels is 128 too large: by 128 * 2^21 times the words is the sum.
    const uint64_t first = Q_PAIR_START - ((uint64_t)sum << 28);
    start[0] = start[2] = (int32_t)(uint32_t)(first & 0xffffffff);
    start[1] = start[3] = (int32_t)(uint32_t)(first >> 32);
  }
  for (int i = 0; i < 2 * Q_CHANNEL_WORDS(form); ++i) *words++ = channels[i];
  return words;
}

//   in        int8 [in_h][in_w][in_c]; its zero point, padding_code, is folded into the biases
//   weights   int8 [(out_c + 1) / 2][chunks][4 * blocks][2], of two output channels each, zeros behind the last; the
//             second of an odd last pair is all zeros
//   channels  int32 [(out_c + 1) / 2][2][Q_CHANNEL_WORDS(form)]
//   out       int8 [out_h][out_w][out_c]
//   pixels    working memory: uint32 [chunks][4 * blocks][2]; int32 [at_once][chunks * (4 + 4 * blocks) + 2 *
//             Q_CHANNEL_WORDS(form)], the words of some pairs of channels; and int8 [3][window_w][in_c] if padded,
//             which says that windows reach beyond the image
//
// At least three pixels. Every window is put in words once for at_once pairs of channels.
Q_KERNEL void conv_2d_unpacked_s8(const int8_t *in, const int8_t *weights, const int32_t *channels, int form,
                                  int zero_point, int low, int high, int8_t *out, int in_h, int in_w, int in_c,
                                  int out_h, int out_w, int out_c, int window_h, int window_w, int stride_h,
                                  int stride_w, int padding_top, int padding_left, int padded, int padding_code,
                                  int chunks, int blocks, int at_once, int8_t *pixels) {
  const int count = out_h * out_w, size = chunks * (4 + 4 * blocks) + 2 * Q_CHANNEL_WORDS(form);
  uint32_t *const words = (uint32_t *)(void *)pixels;
  int32_t *const filters = (int32_t *)(void *)(words + 8 * chunks * blocks);
  int8_t *const copies = (int8_t *)(void *)(filters + at_once * size);
  for (int o = 0; o < out_c; o += 2 * at_once) {
    const int outputs = out_c - o < 2 * at_once ? out_c - o : 2 * at_once;
    int32_t *filter = filters;
    for (int i = 0; i < outputs; i += 2, weights += 8 * chunks * blocks, channels += 2 * Q_CHANNEL_WORDS(form)) {
      filter = q_unpacked(weights, channels, form, chunks, blocks, filter);
    }
    for (int start = 0; start < count; start += 3) {
      // The last three may be among those before: the same codes once more.
      const int first = start + 3 <= count ? start : count - 3;
      q_pair_windows(in, words, copies, first, in_h, in_w, in_c, out_w, window_h, window_w, stride_h, stride_w,
                     padding_top, padding_left, padded, padding_code);
      q_pair_codes(filters, words, form, zero_point, low, high, chunks, blocks, outputs, out + first * out_c + o,
                   out_c);
    }
  }
}

#endif  // QTORCH_CONV_2D_UNPACKED_S8_H_
