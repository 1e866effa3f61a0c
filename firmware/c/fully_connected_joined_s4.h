// FULLY_CONNECTED, int8 with weights of 4 bits, four outputs at a time: see joined_s4.h.
#ifndef QTORCH_FULLY_CONNECTED_JOINED_S4_H_
#define QTORCH_FULLY_CONNECTED_JOINED_S4_H_

#include "joined_s4.h"

//   in        int8 [rows][in_size]; its zero point is folded into the biases
//   channels  int32 [(out_size + 3) / 4][steps + 4 * Q_CHANNEL_WORDS(form)], for four outputs each: their weights in
//             halfwords, in the order of q_widened; then the words of the form
//   out       int8 [rows][out_size]
//   steps     words of an output's weights: half of in_size, up to a multiple of 8
//   codes     working memory: uint32 [steps]
Q_KERNEL void fully_connected_joined_s4(const int8_t *in, const int32_t *channels, int form, int zero_point, int low,
                                        int high, int8_t *out, int rows, int in_size, int out_size, int steps,
                                        int8_t *codes) {
  const int words = Q_CHANNEL_WORDS(form), size = steps + 4 * words;
  uint32_t *const x = (uint32_t *)(void *)codes;
  for (int row = 0; row < rows; ++row, in += in_size, out += out_size) {
    for (uint32_t *to = q_widened(in, in_size, 1, x); to != x + steps; ++to) *to = 0;
    const int32_t less = q_eight_times(x, 1, steps);
    const int32_t *channel = channels;
    int o = 0;
#if defined(Q_JOINED_IN_THUMB)
    if (form == Q_STARTED && low == -128 && high == 127 && out_size >= 4) {
      q_joined_row_started_s4(channel, x, out, steps, out_size / 4, less);
      o = out_size / 4 * 4;
    } else if (form == Q_EXACT && low == -128 && high == 127 && out_size >= 4) {
      q_joined_row_exact_s4(channel, x, out, steps, out_size / 4, less);
      o = out_size / 4 * 4;
    }
    channel += o / 4 * size;
#endif
    for (; o < out_size; o += 4, channel += size) {
      int32_t sums[4];
      q_joined_sums_s4(channel, x, 1, steps, less, sums);
      for (int i = 0; i < 4 && o + i < out_size; ++i) {
        out[o + i] = q_joined_code((uint32_t)sums[i], 0, channel + steps + i * words, form, zero_point, low, high);
      }
    }
  }
}

#endif  // QTORCH_FULLY_CONNECTED_JOINED_S4_H_
