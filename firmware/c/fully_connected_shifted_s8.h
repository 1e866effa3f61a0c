// FULLY_CONNECTED, int8, with weights about a zero point of their own, as older converters wrote them.
// TFLM: kernels/internal/reference/integer_ops/fully_connected.h, weights_offset.
#ifndef QTORCH_FULLY_CONNECTED_SHIFTED_S8_H_
#define QTORCH_FULLY_CONNECTED_SHIFTED_S8_H_

#include "dense.h"

// As fully_connected_s8; weights -128..127. Their zero point comes to the same for all outputs: as often as all of an
// input's codes together.
Q_KERNEL void fully_connected_shifted_s8(const int8_t *in, const int8_t *weights, const int32_t *channels, int form,
                                         int zero_point, int low, int high, int8_t *out, int rows, int in_size,
                                         int out_size, int weight_zero_point) {
  const int words = Q_CHANNEL_WORDS(form);
  for (int row = 0; row < rows; ++row, in += in_size) {
    int32_t codes = 0;
    for (int i = 0; i < in_size; ++i) codes += in[i];
    const int8_t *weight = weights;
    const int32_t *channel = channels;
    for (int o = 0; o < out_size; ++o, weight += in_size, channel += words) {
      const int32_t start = q_flash_s32(channel) - weight_zero_point * codes;
      *out++ = q_code(q_products(in, weight, in_size, start), channel + 1, form, zero_point, low, high);
    }
  }
}

#endif  // QTORCH_FULLY_CONNECTED_SHIFTED_S8_H_
