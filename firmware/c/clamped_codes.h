// The activation behind AVERAGE_POOL_2D and MAX_POOL_2D, int8 and int16. TFLM:
// kernels/internal/reference/integer_ops/pooling.h.
#ifndef QTORCH_CLAMPED_CODES_H_
#define QTORCH_CLAMPED_CODES_H_

#include "element.h"

// Codes of width bytes held between low and high, where they lie. out [count].
Q_KERNEL void clamped_codes(void *out, int width, int count, int low, int high) {
  for (int i = 0; i < count; ++i) {
    const int16_t code = q_get(out, i, width, 0);
    q_put(out, i, width, code < low ? low : code > high ? high : code);
  }
}

#endif  // QTORCH_CLAMPED_CODES_H_
