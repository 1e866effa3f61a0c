// SOFTMAX along the last axis, int16. TFLM: kernels/internal/reference/softmax.h, SoftmaxInt16.
#ifndef QTORCH_SOFTMAX_S16_H_
#define QTORCH_SOFTMAX_S16_H_

#include "bit_length.h"
#include "requantize.h"

// A function of int16 codes by its values at 513 of them, in flash, and straight lines between, ties upwards.
Q_KERNEL int32_t q_interpolated(int32_t code, const int16_t *table) {
  const int16_t *entry = table + (int)((code >> 7) + 256);
  const int32_t here = q_flash_s16(entry);
  return here + (((q_flash_s16(entry + 1) - here) * (code & 127) + 64) >> 7);
}

//   in           int16 [rows][size]; differences from the row's largest code, brought to 65535 steps for 10
//   exponential  int16 [513], in flash: exp(x) from -10 to 0, Q0.15
//   reciprocal   int16 [513], in flash: 1 / (1 + x) from 0 to 1, Q0.15
//   out          int16 [rows][size], scale 2^-15, which may be in; the exponentials until their sum is known
Q_KERNEL void softmax_s16(const int16_t *in, const int16_t *exponential, const int16_t *reciprocal, int16_t *out,
                          int rows, int size, int32_t mantissa, int shift) {
  for (int row = 0; row < rows; ++row, in += size, out += size) {
    int32_t most = in[0], total = 0;
    for (int i = 1; i < size; ++i) most = in[i] > most ? in[i] : most;
    for (int i = 0; i < size; ++i) {
      const int32_t difference = q_requantize(in[i] - most, mantissa, shift);
      // Not above 0.
      const int32_t code = difference < -65535 ? INT16_MIN : difference + 32767;
      out[i] = (int16_t)q_interpolated(code, exponential);
      total += out[i];
    }
    // The sum as 2^(30 - headroom) * (1 + fraction), the fraction in 16 bits and then as an int16 code.
    const int headroom = 31 - q_bit_length((uint32_t)total);
    const uint32_t shifted = (uint32_t)total << headroom;
    const int32_t fraction = (int32_t)((shifted + ((uint32_t)1 << 13)) >> 14) - ((int32_t)3 << 15);
    const int32_t scale = q_interpolated(q_clamp(fraction, INT16_MIN, INT16_MAX), reciprocal);
    const int right = 30 - headroom;
    for (int i = 0; i < size; ++i) {
      // Not below 0.
      const int32_t share = (out[i] * scale + ((int32_t)1 << (right - 1))) >> right;
      out[i] = (int16_t)(share > INT16_MAX ? INT16_MAX : share);
    }
  }
}

#endif  // QTORCH_SOFTMAX_S16_H_
