// SignalFilterBank. TFLM: signal/src/filter_bank.cc.
#ifndef QTORCH_SIGNAL_FILTER_BANK_H_
#define QTORCH_SIGNAL_FILTER_BANK_H_

#include "unsigned_product.h"

//   in                     uint32 [rows][bins]
//   weights, unweights     in flash, from 0 on
//   frequency_starts, weight_starts, widths
//                          [channels + 1], in flash: the bins of a channel, and which weights they have
//   out                    uint64 [rows][channels], wherever it begins
// What a channel leaves goes to the next one; that before the first has no output.
Q_KERNEL void signal_filter_bank(const uint32_t *in, const int16_t *weights, const int16_t *unweights,
                                 const int16_t *frequency_starts, const int16_t *weight_starts, const int16_t *widths,
                                 void *out, int rows, int bins, int channels) {
  char *to = (char *)out;
  for (int row = 0; row < rows; ++row, in += bins) {
    uint64_t left = 0;
    for (int channel = 0; channel <= channels; ++channel) {
      const uint32_t *x = in + q_flash_s16(frequency_starts + channel);
      const int first = q_flash_s16(weight_starts + channel), width = q_flash_s16(widths + channel);
      uint64_t sum = left;
      left = 0;
      for (int i = 0; i < width; ++i) {
        sum += q_unsigned_product((uint32_t)q_flash_s16(weights + first + i), x[i]);
        left += q_unsigned_product((uint32_t)q_flash_s16(unweights + first + i), x[i]);
      }
      if (channel) {
        memcpy(to, &sum, 8);
        to += 8;
      }
    }
  }
}

#endif  // QTORCH_SIGNAL_FILTER_BANK_H_
