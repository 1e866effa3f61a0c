// CONV_2D and FULLY_CONNECTED with int16 activations and int32 biases, whose sums have 32 bits and wrap.
// TFLM: kernels/internal/reference/integer_ops/conv.h, fully_connected.h, with int32_t as the bias's type.
#ifndef QTORCH_CONV_2D_NARROW_S16_H_
#define QTORCH_CONV_2D_NARROW_S16_H_

#include "requantize.h"

// As conv_2d_s16, but for
//   channels  int32 [out_c][3]: bias, mantissa, shift, which is not to the left; in flash
Q_KERNEL void conv_2d_narrow_s16(const int16_t *in, const int8_t *weights, const int32_t *channels, int16_t *out,
                                 int low, int high, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c,
                                 int window_h, int window_w, int stride_h, int stride_w, int dilation_h, int dilation_w,
                                 int padding_top, int padding_left, int groups) {
  const int depth = in_c / groups, filters = out_c / groups;
  for (int y = 0; y < out_h; ++y) {
    for (int x = 0; x < out_w; ++x) {
      const int8_t *weight = weights;
      const int32_t *channel = channels;
      for (int c = 0; c < out_c; ++c, channel += 3) {
        uint32_t sum = (uint32_t)q_flash_s32(channel);
        const int first = groups == 1 ? 0 : c / filters * depth;
        for (int i = 0; i < window_h; ++i) {
          const int in_y = y * stride_h - padding_top + i * dilation_h;
          for (int j = 0; j < window_w; ++j, weight += depth) {
            const int in_x = x * stride_w - padding_left + j * dilation_w;
            if (in_y < 0 || in_y >= in_h || in_x < 0 || in_x >= in_w) continue;
            const int16_t *from = in + (in_y * in_w + in_x) * in_c + first;
            for (int k = 0; k < depth; ++k) sum += (uint32_t)((int32_t)from[k] * q_flash_s8(weight + k));
          }
        }
        const int32_t code = q_requantize((int32_t)sum, q_flash_s32(channel + 1), (int)q_flash_s32(channel + 2));
        *out++ = (int16_t)(code < low ? low : code > high ? high : code);
      }
    }
  }
}

#endif  // QTORCH_CONV_2D_NARROW_S16_H_
