// SignalFilterBankSpectralSubtraction. TFLM: signal/src/filter_bank_spectral_subtraction.cc.
#ifndef QTORCH_SIGNAL_FILTER_BANK_SPECTRAL_SUBTRACTION_H_
#define QTORCH_SIGNAL_FILTER_BANK_SPECTRAL_SUBTRACTION_H_

#include "unsigned_product.h"

//   in, out          [rows][channels]; may be the same memory
//   estimate, next   [rows][channels], of the noise; may be the same memory
// Factors are without sign, whatever the parameters' type, and of 2^bits for one; the estimate is 2^smoothing_bits as
// large as the numbers. Channels of odd numbers have factors of their own.
Q_KERNEL void signal_filter_bank_spectral_subtraction(
    const uint32_t *in, const uint32_t *estimate, uint32_t *out, uint32_t *next, int rows, int channels,
    int32_t smoothing, int32_t one_minus_smoothing, int32_t alternate_smoothing, int32_t alternate_one_minus_smoothing,
    int32_t min_signal_remaining, int clamping, int smoothing_bits, int bits) {
  for (int i = 0; i < rows * channels; ++i) {
    const int odd = i % channels & 1;
    const uint32_t new_share = (uint32_t)(odd ? alternate_smoothing : smoothing);
    const uint32_t old_share = (uint32_t)(odd ? alternate_one_minus_smoothing : one_minus_smoothing);
    const uint32_t x = in[i], scaled = x << smoothing_bits;
    const uint64_t sum = q_unsigned_product(scaled, new_share) + q_unsigned_product(estimate[i], old_share);
    const uint32_t noise = (uint32_t)(sum >> bits);
    const uint32_t below = noise < scaled ? noise : scaled;
    const uint32_t floor = (uint32_t)(q_unsigned_product(x, (uint32_t)min_signal_remaining) >> bits);
    const uint32_t left = (scaled - below) >> smoothing_bits;
    next[i] = clamping ? below : noise;
    out[i] = left > floor ? left : floor;
  }
}

#endif  // QTORCH_SIGNAL_FILTER_BANK_SPECTRAL_SUBTRACTION_H_
