// SOFTMAX along the last axis, int8 to int16. TFLM: kernels/internal/reference/softmax.h.
#ifndef QTORCH_SOFTMAX_S8_S16_H_
#define QTORCH_SOFTMAX_S8_S16_H_

#include "softmax_row.h"

// As softmax_s8, but for out: int16 [rows][size], from -2^15 on.
Q_KERNEL void softmax_s8_s16(const int8_t *in, const int32_t *exponentials, int16_t *out, int rows, int size,
                             int terms) {
  for (; rows > 0; --rows, in += size, out += size) q_softmax_row(in, exponentials, out, 2, size, terms);
}

#endif  // QTORCH_SOFTMAX_S8_S16_H_
