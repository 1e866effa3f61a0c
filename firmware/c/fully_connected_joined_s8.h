// FULLY_CONNECTED, int8, four outputs at a time, with weights that take no more flash: see joined.h.
#ifndef QTORCH_FULLY_CONNECTED_JOINED_S8_H_
#define QTORCH_FULLY_CONNECTED_JOINED_S8_H_

#include "joined.h"

//   in        int8 [rows][in_size]; its zero point is folded into the biases
//   channels  for four outputs each, int32 [4 * blocks][2] and [4][Q_CHANNEL_WORDS(form)]: weights in halfwords, in the
//             order of q_widened, zeros behind the last, of the first two outputs and the next two beside each other;
//             then the words of the form. Behind them what is left over, two by two: [4 * blocks] and
//             [2][Q_CHANNEL_WORDS(form)]. An odd last output is the second of two.
//   out       int8 [rows][out_size]
//   codes     working memory: uint32 [4 * blocks]
Q_KERNEL void fully_connected_joined_s8(const int8_t *in, const int32_t *channels, int form, int zero_point, int low,
                                        int high, int8_t *out, int rows, int in_size, int out_size, int blocks,
                                        int8_t *codes) {
  const int steps = 4 * blocks, words = Q_CHANNEL_WORDS(form);
  uint32_t *const x = (uint32_t *)(void *)codes;
  for (int row = 0; row < rows; ++row, in += in_size, out += out_size) {
    q_widened(in, in_size, 1, x);
    const int32_t *channel = channels;
    int o = 0;
#if defined(Q_JOINED_IN_THUMB)
    if (form == Q_STARTED && low == -128 && high == 127 && out_size >= 4) {
      q_joined_four_started(channel, x, out, blocks, out_size / 4);
      o = out_size / 4 * 4;
    } else if (form == Q_EXACT && low == -128 && high == 127 && out_size >= 4) {
      q_joined_four_exact(channel, x, out, blocks, out_size / 4);
      o = out_size / 4 * 4;
    }
    channel += o / 4 * (2 * steps + 4 * words);
#endif
    while (o < out_size) {
      // Two pairs side by side, or one.
      const int pairs = o + 4 <= out_size ? 2 : 1;
      for (int pair = 0; pair < pairs; ++pair, o += 2) {
        const int32_t *const one = channel + pairs * steps + 2 * pair * words;
        uint32_t sum, second;
        q_joined_sums(channel + pair, pairs, x, 1, steps, &sum, &second);
        int8_t *code = out + o;
        if (o + 1 < out_size) *code++ = q_joined_code(sum, 1, one, form, zero_point, low, high);
        *code = q_joined_code(second, 0, one + words, form, zero_point, low, high);
      }
      channel += pairs * (steps + 2 * words);
    }
  }
}

#endif  // QTORCH_FULLY_CONNECTED_JOINED_S8_H_
