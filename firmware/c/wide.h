// Sums of 48 bits, as layers with 16-bit activations have them, to their codes: a Q15 mantissa, one rounding upwards.
// TFLM: kernels/internal/common.cc, MultiplyByQuantizedMultiplier(int64_t, ...).
#ifndef QTORCH_WIDE_H_
#define QTORCH_WIDE_H_

#include "kernel.h"

// Words of a channel in flash: the bias's low and high one, the mantissa, and the shift to the right.
#define Q_WIDE_WORDS 4

// The bias of a channel.
Q_KERNEL int64_t q_wide_bias(const int32_t *channel) {
  return (int64_t)q_flash_s32(channel + 1) * ((int64_t)1 << 32) + (uint32_t)q_flash_s32(channel);
}

// A sum times a mantissa, 0 to 65,535.
Q_KERNEL int64_t q_wide_product(int64_t sum, int32_t mantissa) {
#if defined(Q_SHORT_PRODUCTS)
  // In parts of 16, 16 and 32 bits, each of whose products has 32.
  const uint32_t low = (uint32_t)(uint64_t)sum, m = (uint32_t)mantissa;
  const uint32_t high = (uint32_t)((uint64_t)sum >> 32) * m;
  return (int64_t)(((uint64_t)high << 32) + ((uint64_t)((low >> 16) * m) << 16) + (low & 0xffff) * m);
#else
  return sum * mantissa;
#endif
}

// The code of a sum, bias included.
Q_KERNEL int16_t q_wide_code(int64_t sum, const int32_t *channel, int32_t low, int32_t high) {
  const int shift = (int)q_flash_s32(channel + 3);
  const int64_t code = (q_wide_product(sum, q_flash_s32(channel + 2)) + ((int64_t)1 << (shift - 1))) >> shift;
  return (int16_t)(code < low ? low : code > high ? high : code);
}

#endif  // QTORCH_WIDE_H_
