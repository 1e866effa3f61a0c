// SignalPCAN. TFLM: signal/src/pcan_argc_fixed.cc.
#ifndef QTORCH_SIGNAL_PCAN_H_
#define QTORCH_SIGNAL_PCAN_H_

#include "bit_length.h"
#include "unsigned_product.h"

// The gain for an estimate: of 0 to 2 by itself, else a parabola over ten bits behind the first, one for each length.
Q_KERNEL int16_t q_gain(uint32_t noise, const int16_t *gains) {
  if (noise <= 2) return q_flash_s16(gains + noise);
  const int bits = q_bit_length(noise);
  const int16_t *of = gains + 4 * bits - 6;
  const int32_t fraction = (int32_t)((bits < 11 ? noise << (11 - bits) : noise >> (bits - 11)) & 0x3ff);
  const int32_t slope = (q_flash_s16(of + 2) * fraction >> 5) + (int32_t)q_flash_s16(of + 1) * 32;
  return (int16_t)(((slope * fraction + (1 << 14)) >> 15) + q_flash_s16(of));
}

//   in, out   [count]; may be the same memory
//   noise     [count]
//   gains     in flash
// A ratio in 12 bits behind the point becomes its square over four, from two on itself less one, in 6 bits.
Q_KERNEL void signal_pcan(const uint32_t *in, const uint32_t *noise, const int16_t *gains, uint32_t *out, int count,
                          int right) {
  for (int i = 0; i < count; ++i) {
    const uint32_t gain = (uint32_t)q_gain(noise[i], gains);
    const uint32_t ratio = (uint32_t)(q_unsigned_product(in[i], gain) >> right);
    out[i] = ratio < (uint32_t)2 << 12 ? ratio * ratio >> 20 : (ratio >> 6) - (1 << 6);
  }
}

#endif  // QTORCH_SIGNAL_PCAN_H_
