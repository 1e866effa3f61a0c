// SignalWindow. TFLM: signal/src/window.cc.
#ifndef QTORCH_SIGNAL_WINDOW_H_
#define QTORCH_SIGNAL_WINDOW_H_

#include "kernel.h"

//   in, out   [count], a whole number of windows; may be the same memory
//   weights   [size], in flash
Q_KERNEL void signal_window(const int16_t *in, const int16_t *weights, int16_t *out, int count, int size, int right) {
  for (int first = 0; first < count; first += size) {
    for (int i = 0; i < size; ++i) {
      const int32_t product = ((int32_t)in[first + i] * q_flash_s16(weights + i)) >> right;
      out[first + i] = (int16_t)(product < INT16_MIN ? INT16_MIN : product > INT16_MAX ? INT16_MAX : product);
    }
  }
}

#endif  // QTORCH_SIGNAL_WINDOW_H_
