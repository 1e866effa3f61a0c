// LOGISTIC and TANH, int16. TFLM: kernels/internal/reference/integer_ops/logistic.h, tanh.h.
#ifndef QTORCH_SIGMOID_S16_H_
#define QTORCH_SIGMOID_S16_H_

#include "kernel.h"

// The code, scale 2^-15, of x in units of 1 / (24 * 2^9); table and tangent as below.
Q_KERNEL int16_t q_sigmoid(int32_t x, const int16_t *table, int tangent) {
  const int bits = tangent ? 8 : 9;
  const int32_t unit = (int32_t)1 << bits, one = (int32_t)1 << 16;
  const int32_t magnitude = x < 0 ? -x : x;
  int32_t result = tangent ? (one - 1) * unit : (one - 2) * unit;
  if (magnitude < 255 * unit) {
    const int16_t *entry = table + (int)(magnitude >> bits);
    const int32_t below = (uint16_t)q_flash_s16(entry), above = (uint16_t)q_flash_s16(entry + 1);
    result = below * unit + (magnitude & (unit - 1)) * (above - below);
  }
  if (tangent) {
    const int32_t middle = one / 2 * unit;
    return (int16_t)((x >= 0 ? result - middle + unit / 2 : middle - result + unit / 2 - 1) >> bits);
  }
  return (int16_t)((x >= 0 ? result + unit : one * unit - result + unit - 1) >> (bits + 1));
}

//   in     int16 [size]; times factor, plus half, shifted to the right, in units of 1 / (24 * 2^9)
//   table  uint16 [256] in int16's clothes, in flash: 2^16 / (1 + exp(-i / 24)); straight lines between its entries
//   out    int16 [size], scale 2^-15, which may be in. tangent is 1 for the hyperbolic tangent, 2 * logistic(2 x) - 1
Q_KERNEL void sigmoid_s16(const int16_t *in, const int16_t *table, int16_t *out, int size, int32_t factor, int32_t half,
                          int shift, int tangent) {
  for (int i = 0; i < size; ++i) out[i] = q_sigmoid((in[i] * factor + half) >> shift, table, tangent);
}

#endif  // QTORCH_SIGMOID_S16_H_
