// SignalEnergy. TFLM: signal/src/energy.cc.
#ifndef QTORCH_SIGNAL_ENERGY_H_
#define QTORCH_SIGNAL_ENERGY_H_

#include "kernel.h"

//   in    [rows][size][2]
//   out   [rows][size]; 0 before first, and from behind on
Q_KERNEL void signal_energy(const int16_t *in, uint32_t *out, int rows, int size, int first, int behind) {
  for (int row = 0; row < rows; ++row, in += 2 * size, out += size) {
    for (int i = 0; i < size; ++i) {
      const int32_t r = in[2 * i], j = in[2 * i + 1];
      out[i] = i < first || i >= behind ? 0 : (uint32_t)(r * r) + (uint32_t)(j * j);
    }
  }
}

#endif  // QTORCH_SIGNAL_ENERGY_H_
