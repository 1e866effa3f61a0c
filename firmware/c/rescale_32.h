// QUANTIZE where codes of 32 bits come in or go out. TFLM: kernels/internal/reference/requantize.h.
#ifndef QTORCH_RESCALE_32_H_
#define QTORCH_RESCALE_32_H_

#include "element_32.h"
#include "requantize.h"

// in [size] of width bytes each, out of out_width. A code less its zero point is an int32.
Q_KERNEL void rescale_32(const void *in, void *out, int width, int out_width, int size, int32_t in_zero_point,
                         int32_t zero_point, int32_t mantissa, int shift, int32_t low, int32_t high) {
  for (int i = 0; i < size; ++i) {
    const int64_t code =
        (int64_t)q_requantize(q_get_32(in, i, width, 0) - in_zero_point, mantissa, shift) + zero_point;
    q_put_32(out, i, out_width, (int32_t)(code < low ? low : code > high ? high : code));
  }
}

#endif  // QTORCH_RESCALE_32_H_
