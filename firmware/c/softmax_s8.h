// SOFTMAX along the last axis, int8. TFLM: kernels/internal/reference/softmax.h.
#ifndef QTORCH_SOFTMAX_S8_H_
#define QTORCH_SOFTMAX_S8_H_

#include "softmax_row.h"

// in int8 [rows][size]; exponentials as q_softmax_row has them; out int8 [rows][size], which may be in.
Q_KERNEL void softmax_s8(const int8_t *in, const int32_t *exponentials, int8_t *out, int rows, int size, int terms) {
  for (; rows > 0; --rows, in += size, out += size) q_softmax_row(in, exponentials, out, 1, size, terms);
}

#endif  // QTORCH_SOFTMAX_S8_H_
