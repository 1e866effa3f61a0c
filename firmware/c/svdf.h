// SVDF, int8, its state of 8 or of 16 bits. TFLM: micro/kernels/svdf_common.cc, EvalIntegerSvdfReference.
#ifndef QTORCH_SVDF_H_
#define QTORCH_SVDF_H_

#include "dense.h"
#include "element.h"

//   in              int8 [batch][in_size]
//   weights         int8 [units * rank][in_size], in flash
//   starts          int32 [units * rank], in flash: the input's zero point in sums of products with weights
//   time_weights    [units * rank][memory], in flash
//   biases          int32 [units], in flash, with the state's zero point in them
//   state, next     [batch][units * rank][memory], the oldest number first; may be the same memory
//   out             int8 [batch][units]; not in
//   width           bytes of a code of the state, and of a time weight
// A sum of products with weights, by mantissa and shift, held between low and high, is the newest number of the state,
// to which its zero point comes behind that, in a code's bits. A unit's sum over the state goes to the output by
// out_mantissa and out_shift.
Q_KERNEL void svdf(const int8_t *in, const int8_t *weights, const int32_t *starts, const void *time_weights,
                   const int32_t *biases, const void *state, void *next, int8_t *out, int batch, int in_size, int units,
                   int rank, int memory, int width, int32_t mantissa, int shift, int low, int high,
                   int state_zero_point, int32_t out_mantissa, int out_shift, int zero_point) {
  const int row_bytes = memory * width;
  for (int sample = 0; sample < batch; ++sample, in += in_size) {
    for (int unit = 0; unit < units; ++unit) {
      int32_t sum = q_flash_s32(biases + unit);
      for (int filter = unit * rank; filter < (unit + 1) * rank; ++filter) {
        const int32_t product = q_products(in, weights + filter * in_size, in_size, q_flash_s32(starts + filter));
        const int row = sample * units * rank + filter;
        const char *held = (const char *)state + row * row_bytes;
        char *kept = (char *)next + row * row_bytes;
        memmove(kept, held + width, (size_t)(row_bytes - width));
        q_put(kept, memory - 1, width, state_zero_point + q_clamp(q_requantize(product, mantissa, shift), low, high));
        if (width == 1) {
          sum = q_products((const int8_t *)kept, (const int8_t *)time_weights + filter * memory, memory, sum);
        } else {
          for (int i = 0; i < memory; ++i) {
            const int32_t one = q_get(kept, i, width, 0), other = q_get(time_weights, filter * memory + i, width, 1);
            sum = (int32_t)((uint32_t)sum + (uint32_t)(one * other));  // It may wrap around.
          }
        }
      }
      *out++ = (int8_t)q_clamp(q_requantize(sum, out_mantissa, out_shift) + zero_point, -128, 127);
    }
  }
}

#endif  // QTORCH_SVDF_H_
