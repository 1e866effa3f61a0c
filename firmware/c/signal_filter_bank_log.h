// SignalFilterBankLog. TFLM: signal/src/filter_bank_log.cc, signal/src/log.cc.
#ifndef QTORCH_SIGNAL_FILTER_BANK_LOG_H_
#define QTORCH_SIGNAL_FILTER_BANK_LOG_H_

#include "bit_length.h"
#include "unsigned_product.h"

// The natural logarithm of x from 2 on, in Q0.16. above: by how much the binary one is above the fraction, 129 places.
Q_KERNEL uint32_t q_natural_logarithm(uint32_t x, const int16_t *above) {
  const int power = q_bit_length(x) - 1;
  const uint32_t rest = x - ((uint32_t)1 << power);
  const uint32_t fraction = power < 16 ? rest << (16 - power) : rest >> (power - 16);
  const int32_t inside = (int32_t)(fraction & 511);
  const int16_t *segment = above + (fraction >> 9);
  const int32_t first = q_flash_s16(segment), slope = (q_flash_s16(segment + 1) - first) * inside >> 16;
  const uint32_t binary = ((uint32_t)power << 16) + fraction + (uint32_t)(first + slope);
  return (uint32_t)((q_unsigned_product(45426, binary) + 0x8000u) >> 16);
}

//   in      [count], shifted to the left
//   above   [129], in flash
//   out     [count]; 0 of 0 and 1
// scale is without sign, whatever the parameter's type.
Q_KERNEL void signal_filter_bank_log(const uint32_t *in, const int16_t *above, int16_t *out, int count, int left,
                                     int32_t scale) {
  for (int i = 0; i < count; ++i) {
    const uint32_t x = in[i] << left;
    const uint32_t found = x > 1 ? ((uint32_t)scale * q_natural_logarithm(x, above) + 0x8000u) >> 16 : 0;
    out[i] = (int16_t)(found < INT16_MAX ? found : INT16_MAX);
  }
}

#endif  // QTORCH_SIGNAL_FILTER_BANK_LOG_H_
