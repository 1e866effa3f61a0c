// SignalFftAutoScale. TFLM: signal/src/fft_auto_scale.cc, signal/src/max_abs.cc.
#ifndef QTORCH_SIGNAL_FFT_AUTO_SCALE_H_
#define QTORCH_SIGNAL_FFT_AUTO_SCALE_H_

#include "bit_length.h"

//   in, out   [rows][size]; may be the same memory
//   shifts    [rows]
// The largest magnitude is kept in 16 bits: that of -32768 is negative, and the number behind it larger in any case.
Q_KERNEL void signal_fft_auto_scale(const int16_t *in, int16_t *out, int32_t *shifts, int rows, int size) {
  for (int row = 0; row < rows; ++row, in += size, out += size) {
    int32_t largest = 0;
    for (int i = 0; i < size; ++i) {
      const int32_t x = in[i];
      if (x > largest) {
        largest = x;
      } else if (-x > largest) {
        largest = (int16_t)-x;
      }
    }
    const int left = largest > 0 ? 15 - q_bit_length((uint32_t)largest) : 0;
    for (int i = 0; i < size; ++i) out[i] = (int16_t)((uint32_t)in[i] << left);
    shifts[row] = left;
  }
}

#endif  // QTORCH_SIGNAL_FFT_AUTO_SCALE_H_
