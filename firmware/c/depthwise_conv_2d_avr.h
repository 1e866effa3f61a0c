// DEPTHWISE_CONV_2D, int8, on AVR: one channel after the other, which lies by itself in working memory, padding and all.
#ifndef QTORCH_DEPTHWISE_CONV_2D_AVR_H_
#define QTORCH_DEPTHWISE_CONV_2D_AVR_H_

#include "dense_avr.h"

// The product of the weight with a code without sign, onto 24 bits.
#define Q_WINDOW_AVR(offset, sum)                                               \
  "ldd %[x], Y+" offset "\n\tmulsu %[w], %[x]\n\tsbc %[high], %[high]\n\t"       \
  "add %A[" sum "], r0\n\tadc %B[" sum "], r1\n\tadc %C[" sum "], %[high]\n\t"

// Four windows side by side, with the same weights: a function for each stride.
//
//   plane    uint8, rows of columns codes that begin columns + gap bytes behind each other
//   weights  int8 [rows][columns], in flash
//   sums     [4]
#define Q_WINDOWS_AVR(name, second, third, fourth)                                                                 \
  static __attribute__((noinline, unused)) void name(const uint8_t *plane, const int8_t *weights, uint8_t rows,    \
                                                     uint8_t columns, uint16_t gap, __uint24 *sums) {              \
    register __uint24 a __asm__("r2") = 0, b __asm__("r6") = 0, c __asm__("r10") = 0, d __asm__("r14") = 0;        \
    register uint8_t x __asm__("r18"), w __asm__("r19"), high __asm__("r5"), left __asm__("r9");                   \
    __asm__ volatile(                                                                                              \
        "1:\n\t"                                                                                                   \
        "mov %[left], %[columns]\n"                                                                                \
        "2:\n\t"                                                                                                   \
        "lpm %[w], Z+\n\t" Q_WINDOW_AVR("0", "a") Q_WINDOW_AVR(second, "b") Q_WINDOW_AVR(third, "c")               \
        Q_WINDOW_AVR(fourth, "d")                                                                                  \
        "adiw r28, 1\n\t"                                                                                          \
        "dec %[left]\n\t"                                                                                          \
        "brne 2b\n\t"                                                                                              \
        "add r28, %A[gap]\n\tadc r29, %B[gap]\n\t"                                                                 \
        "dec %[rows]\n\t"                                                                                          \
        "brne 1b\n\t"                                                                                              \
        "clr __zero_reg__"                                                                                         \
        : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), "+y"(plane), "+z"(weights), [rows] "+&r"(rows), [x] "=&d"(x),      \
          [w] "=&d"(w), [high] "=&r"(high), [left] "=&r"(left)                                                     \
        : [columns] "r"(columns), [gap] "r"(gap)                                                       \
        : "memory");                                                                                               \
    sums[0] = a;                                                                                                   \
    sums[1] = b;                                                                                                   \
    sums[2] = c;                                                                                                   \
    sums[3] = d;                                                                                                   \
  }

Q_WINDOWS_AVR(q_windows_1_avr, "1", "2", "3")
Q_WINDOWS_AVR(q_windows_2_avr, "2", "4", "6")

// As q_planes.
Q_KERNEL void q_planes_avr(const int8_t *in, const int8_t *weights, const uint8_t *channels, int form, int splits,
                           int zero_point, int low, int high, int8_t *out, int in_h, int in_w, int in_c, int in_row,
                           int in_column, int out_h, int out_w, int out_row, int out_column, int window_h,
                           int window_w, int stride_h, int stride_w, int padding_top, int padding_left,
                           int padding_code, int8_t *plane) {
  const int plane_h = (out_h - 1) * stride_h + window_h, plane_w = (out_w - 1) * stride_w + window_w;
  uint8_t *const codes = (uint8_t *)(void *)plane;
  const int bottom = in_h + padding_top < plane_h ? in_h : plane_h - padding_top;
  const int right = in_w + padding_left < plane_w ? in_w : plane_w - padding_left;
  memset(codes, padding_code + 128, (size_t)(plane_h * plane_w));
  for (int c = 0; c < in_c; ++c) {
    const int8_t *row = in + c;
    uint8_t *to = codes + padding_top * plane_w + padding_left;
    for (int y = 0; y < bottom; ++y, row += in_row, to += plane_w - right) {
      const int8_t *from = row;
      for (const uint8_t *end = to + right; to != end; from += in_column) *to++ = (uint8_t)(*from + 128);
    }
    int8_t *line = out + c;
    const uint8_t *windows = codes;
    for (int y = 0; y < out_h; ++y, line += out_row, windows += stride_h * plane_w) {
      for (int x = 0; x < out_w; x += 4) {
        // The last four may have some of those before among them.
        const int first = x + 4 <= out_w ? x : out_w - 4;
        __uint24 sums[4];
        if (stride_w == 1) {
          q_windows_1_avr(windows + first, weights, (uint8_t)window_h, (uint8_t)window_w,
                          (uint16_t)(plane_w - window_w), sums);
        } else {
          q_windows_2_avr(windows + 2 * first, weights, (uint8_t)window_h, (uint8_t)window_w,
                          (uint16_t)(plane_w - window_w), sums);
        }
        int8_t *code = line + x * out_column;
        for (const __uint24 *sum = sums + (x - first); sum != sums + 4; ++sum, code += out_column) {
          q_codes_avr(sum, 0, channels, code, 1, form, splits, zero_point, low, high);
        }
      }
    }
    channels += Q_CHANNEL_BYTES_AVR(form, splits);
    weights += window_h * window_w;
  }
}

// As depthwise_conv_2d_planes_s8, but
//   weights   up to 255 rows and columns; sums of products fit 24 bits
//   channels  bytes [in_c][Q_CHANNEL_BYTES_AVR(form, splits)], in flash: as in q_dense_avr
// without dilation, and with strides of 1 or 2 from window to window of the four.
Q_KERNEL void depthwise_conv_2d_avr(const int8_t *in, const int8_t *weights, const uint8_t *channels, int form,
                                    int splits, int zero_point, int low, int high, int8_t *out, int in_h, int in_w,
                                    int in_c, int out_h, int out_w, int window_h, int window_w, int stride_h,
                                    int stride_w, int padding_top, int padding_left, int padding_code, int turned,
                                    int8_t *plane) {
  if (turned) {
    q_planes_avr(in, weights, channels, form, splits, zero_point, low, high, out, in_w, in_h, in_c, in_c, in_w * in_c,
                 out_w, out_h, in_c, out_w * in_c, window_w, window_h, stride_w, stride_h, padding_left, padding_top,
                 padding_code, plane);
  } else {
    q_planes_avr(in, weights, channels, form, splits, zero_point, low, high, out, in_h, in_w, in_c, in_w * in_c, in_c,
                 out_h, out_w, out_w * in_c, in_c, window_h, window_w, stride_h, stride_w, padding_top, padding_left,
                 padding_code, plane);
  }
}

#endif  // QTORCH_DEPTHWISE_CONV_2D_AVR_H_
