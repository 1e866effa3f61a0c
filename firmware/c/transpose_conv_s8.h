// TRANSPOSE_CONV, int8. TFLM: kernels/internal/reference/integer_ops/transpose_conv.h.
//
// TFLM scatters every input pixel into a window of int32 sums as large as the output. Here every output pixel gathers
// what falls upon it, and no memory is needed.
#ifndef QTORCH_TRANSPOSE_CONV_S8_H_
#define QTORCH_TRANSPOSE_CONV_S8_H_

#include "requantize.h"

// How many elements of a window, from first on in steps of stride, have an input pixel under them: that and those in
// front of it.
Q_KERNEL int q_elements_under(int first, int window, int stride, int pixel) {
  int count = 0;
  for (; first < window && count <= pixel; first += stride) ++count;
  return count;
}

// Adds to each of four sums the products of in, int8 [size] less its zero point, with its row of weights; these begin
// row apart.
Q_KERNEL void q_four_products_from(const int8_t *in, const int8_t *weights, int row, int size, int zero_point,
                                   int32_t *sums) {
  const int8_t *const second = weights + row, *const third = second + row, *const fourth = third + row;
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  for (int k = 0; k < size; ++k) {
    const int32_t x = in[k] - zero_point;
    a += x * q_flash_s8(weights + k);
    b += x * q_flash_s8(second + k);
    c += x * q_flash_s8(third + k);
    d += x * q_flash_s8(fourth + k);
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}

//   in        int8 [in_h][in_w][in_c]
//   weights   int8 [out_c][window_h][window_w][in_c], in flash
//   channels  int32 [out_c][Q_CHANNEL_WORDS(form)], in flash; biases as they are
//   out       int8 [out_h][out_w][out_c]; cut_top rows and cut_left columns before it are not computed
Q_KERNEL void transpose_conv_s8(const int8_t *in, const int8_t *weights, const int32_t *channels, int form,
                                int zero_point, int low, int high, int8_t *out, int in_h, int in_w, int in_c, int out_h,
                                int out_w, int out_c, int window_h, int window_w, int stride_h, int stride_w,
                                int cut_top, int cut_left, int in_zero_point) {
  const int filter = window_h * window_w * in_c;
  for (int y = cut_top; y < cut_top + out_h; ++y) {
    // The window's elements under which an input pixel comes to lie are every stride-th: from top on, under pixels from
    // in_y upwards, down of them.
    int in_y = y / stride_h, top = y % stride_h;
    for (; in_y >= in_h; --in_y) top += stride_h;
    const int down = q_elements_under(top, window_h, stride_h, in_y);
    for (int x = cut_left; x < cut_left + out_w; ++x) {
      int in_x = x / stride_w, left = x % stride_w;
      for (; in_x >= in_w; --in_x) left += stride_w;
      const int across = q_elements_under(left, window_w, stride_w, in_x);
      const int pixel = (in_y * in_w + in_x) * in_c, element = (top * window_w + left) * in_c;
      for (int c = 0; c < out_c; c += 4) {
        const int32_t *const channel = channels + c * Q_CHANNEL_WORDS(form);
        const int count = out_c - c < 4 ? out_c - c : 4;
        int32_t sums[4];
        for (int n = 0; n < count; ++n) sums[n] = q_flash_s32(channel + n * Q_CHANNEL_WORDS(form));
        for (int i = 0; i < down; ++i) {
          for (int j = 0; j < across; ++j) {
            const int8_t *const from = in + pixel - (i * in_w + j) * in_c;
            const int step = (i * stride_h * window_w + j * stride_w) * in_c;
            const int8_t *const weight = weights + c * filter + element + step;
            if (count == 4) {
              q_four_products_from(from, weight, filter, in_c, in_zero_point, sums);
            } else {
              for (int n = 0; n < count; ++n) {
                const int8_t *row = weight + n * filter;
                for (int k = 0; k < in_c; ++k) sums[n] += (from[k] - in_zero_point) * q_flash_s8(row + k);
              }
            }
          }
        }
        for (int n = 0; n < count; ++n) {
          const int32_t *factor = channel + n * Q_CHANNEL_WORDS(form) + 1;
          *out++ = q_code(sums[n], factor, form, zero_point, low, high);
        }
      }
    }
  }
}

#endif  // QTORCH_TRANSPOSE_CONV_S8_H_
