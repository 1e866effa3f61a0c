// RESIZE_BILINEAR, int8. TFLM: kernels/internal/reference/resize_bilinear.h, ResizeBilinearInteger.
#ifndef QTORCH_RESIZE_BILINEAR_S8_H_
#define QTORCH_RESIZE_BILINEAR_S8_H_

#include "kernel.h"

//   in             int8 [..][in_w][depth], from row first on
//   rows, columns  int16 [out_h][3] and [out_w][3], in flash: the two that a pixel lies between, and the weight of the
//                  second out of 1024
//   out            int8 [out_h][out_w][depth], from row row on: exact sums of 2^20 times a code, rounded once, half away from zero
Q_KERNEL void resize_bilinear_s8(const int8_t *in, const int16_t *rows, const int16_t *columns, int8_t *out, int in_w,
                                 int depth, int first, int row, int out_h, int out_w) {
  for (int y = row; y < row + out_h; ++y) {
    const int8_t *above = in + (q_flash_s16(rows + 3 * y) - first) * in_w * depth;
    const int8_t *below = in + (q_flash_s16(rows + 3 * y + 1) - first) * in_w * depth;
    const int32_t down = q_flash_s16(rows + 3 * y + 2), half = (int32_t)1 << 19, one = 1024;
    for (int x = 0; x < out_w; ++x) {
      const int left = q_flash_s16(columns + 3 * x) * depth, right = q_flash_s16(columns + 3 * x + 1) * depth;
      const int32_t across = q_flash_s16(columns + 3 * x + 2);
      for (int c = 0; c < depth; ++c) {
        const int32_t one_side = above[left + c] * (one - down) + below[left + c] * down;
        const int32_t other_side = above[right + c] * (one - down) + below[right + c] * down;
        const int32_t sum = one_side * (one - across) + other_side * across;
        *out++ = (int8_t)((sum > 0 ? sum + half : sum - half) / ((int32_t)1 << 20));
      }
    }
  }
}

#endif  // QTORCH_RESIZE_BILINEAR_S8_H_
