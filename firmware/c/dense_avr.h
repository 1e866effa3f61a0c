// One vector times a matrix on AVR: q_dense with weights in panels, and the shortest requantization that is proven.
#ifndef QTORCH_DENSE_AVR_H_
#define QTORCH_DENSE_AVR_H_

#include "panel_avr.h"
#include "requantize.h"
#include "requantize_avr.h"

// Bytes of a channel, its bias included.
#define Q_CHANNEL_BYTES_AVR(form, splits) \
  ((form) < Q_LEVEL_16 ? 4 * Q_CHANNEL_WORDS(form) : Q_LEVEL_BYTES(form, splits))

// Codes of the sums of a panel, less what shifting the weights has added to all of them.
Q_KERNEL void q_codes_avr(const __uint24 *sums, __uint24 less, const uint8_t *channel, int8_t *out, uint8_t count,
                          int form, int splits, int zero_point, int low, int high) {
  do {
    const __uint24 sum = *sums++ - less;
    if (form < Q_LEVEL_16) {
      const int32_t *words = (const int32_t *)(const void *)channel;
      *out++ = q_code(q_flash_s32(words) + (__int24)sum, words + 1, form, zero_point, low, high);
    } else {
      *out++ = q_level_code_avr(sum, channel, form, splits, low, high);
    }
    channel += Q_CHANNEL_BYTES_AVR(form, splits);
  } while (--count);
}

//   in        int8 [in_size], at most 65,535 of them; its zero point is folded into the biases
//   weights   [panel][in_size][width], in flash: outputs in panels of at most five, the wider ones first, widths
//             differing by one at most; int8 where there are up to four outputs, else weight + 128. Of 4 bits, weight + 8,
//             [panel][in_size][(width + 1) / 2], the first in the low half, in panels of four but for the last
//   weight_bits  8 or 4, a constant
//   channels  bytes [out_size][Q_CHANNEL_BYTES_AVR(form, splits)], in flash: as in requantize.h or requantize_avr.h;
//             the bias less 128 times the sum of the weights where they have 128 or 8 added
//   out       int8 [out_size], low..high
//
// The dot products fit 24 bits; in the forms of requantize_avr.h sums do.
Q_KERNEL void q_dense_avr(const int8_t *in, const uint8_t *weights, int weight_bits, const uint8_t *channels, int form,
                          int splits, int zero_point, int low, int high, int8_t *out, int in_size, int out_size) {
  const int widest = weight_bits == 4 ? 4 : Q_WIDEST_AVR, panels = (out_size + widest - 1) / widest;
  // The first wider panels have wide outputs, the others width of them.
  const int width = weight_bits == 4 ? out_size % 4 : out_size / panels, wide = weight_bits == 4 ? 4 : width + 1;
  const int wider = weight_bits == 4 ? out_size / 4 : out_size % panels;
  __uint24 sums[Q_WIDEST_AVR + 1], less = 0;
  for (int panel = 0; panel < panels; ++panel) {
    uint8_t count = (uint8_t)width;
    if (wider > 0 && panel < wider) {
      count = (uint8_t)wide;
      q_panel_avr(in, weights, (uint16_t)in_size, sums, wide, out_size, panel == 0, weight_bits);
    } else {
      q_panel_avr(in, weights, (uint16_t)in_size, sums, width, out_size, wider == 0 && panel == 0, weight_bits);
    }
    if (panel == 0 && weight_bits == 4) {
      less = sums[Q_WIDEST_AVR] << 3;
    } else if (panel == 0 && out_size >= Q_WIDEST_AVR) {
      less = sums[Q_WIDEST_AVR] << 7;
    }
    q_codes_avr(sums, less, channels, out, count, form, splits, zero_point, low, high);
    weights += (uint16_t)((weight_bits == 4 ? (count + 1) / 2 : count) * in_size);
    channels += count * Q_CHANNEL_BYTES_AVR(form, splits);
    out += count;
  }
}

#endif  // QTORCH_DENSE_AVR_H_
