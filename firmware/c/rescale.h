// QUANTIZE, RELU, RELU6 and LEAKY_RELU where codes of 16 bits come in or go out; int8 to int8 is a table.
// TFLM: kernels/internal/reference/requantize.h, leaky_relu.h; micro/kernels/activations_common.cc.
#ifndef QTORCH_RESCALE_H_
#define QTORCH_RESCALE_H_

#include "element.h"
#include "requantize.h"

// One requantization from the zero point upwards, one below it, whose mantissa may be negative: of a negative slope.
// Rounding looks at the product's sign, so that the sign goes to the number. in [size] of width bytes each, out of out_width.
Q_KERNEL void rescale(const void *in, void *out, int width, int out_width, int size, int in_zero_point, int zero_point,
                      int32_t above_mantissa, int above_shift, int32_t below_mantissa, int below_shift, int32_t low,
                      int32_t high) {
  for (int i = 0; i < size; ++i) {
    const int32_t x = (int32_t)q_get(in, i, width, 0) - in_zero_point;
    const int32_t scaled = x >= 0 ? q_requantize(x, above_mantissa, above_shift)
                                  : below_mantissa < 0 ? q_requantize(-x, -below_mantissa, below_shift)
                                                       : q_requantize(x, below_mantissa, below_shift);
    q_put(out, i, out_width, q_clamp(zero_point + scaled, low, high));
  }
}

#endif  // QTORCH_RESCALE_H_
