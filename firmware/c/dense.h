// One vector times a matrix, the heart of fully connected layers and convolutions.
#ifndef QTORCH_DENSE_H_
#define QTORCH_DENSE_H_

#include "dense_s4.h"
#include "four_rows.h"
#include "four_rows_riscv.h"
#include "four_rows_thumb.h"
#include "requantize.h"

// Adds to each of four sums the products of in, int8 [size], with a row of weights, int8 [4][size].
Q_KERNEL void q_four_products(const int8_t *in, const int8_t *weights, int size, int32_t *sums) {
#if defined(__ARM_FEATURE_MVE)
  // Sixteen products in one; the loop's last round leaves out what is beyond the end. The vectors' sums are in even
  // registers, and the compiler may fail to find so many.
  register int32_t a __asm__("r0") = sums[0];
  register int32_t b __asm__("r2") = sums[1];
  register int32_t c __asm__("r4") = sums[2];
  register int32_t d __asm__("r6") = sums[3];
  register const int8_t *x __asm__("r1") = in;
  register const int8_t *first __asm__("r3") = weights;
  register const int8_t *second __asm__("r5") = weights + size;
  register const int8_t *third __asm__("r8") = weights + 2 * size;
  register const int8_t *fourth __asm__("r9") = weights + 3 * size;
  register int count __asm__("r10") = size;
  __asm__ volatile(
      "wlstp.8 lr, r10, 2f\n"
      "1:\n\t"
      "vldrb.8 q0, [r1], #16\n\t"
      "vldrb.8 q1, [r3], #16\n\t"
      "vmladava.s8 r0, q0, q1\n\t"
      "vldrb.8 q1, [r5], #16\n\t"
      "vmladava.s8 r2, q0, q1\n\t"
      "vldrb.8 q1, [r8], #16\n\t"
      "vmladava.s8 r4, q0, q1\n\t"
      "vldrb.8 q1, [r9], #16\n\t"
      "vmladava.s8 r6, q0, q1\n\t"
      "letp lr, 1b\n"
      "2:"
      : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(x), "+r"(first), "+r"(second), "+r"(third), "+r"(fourth)
      : "r"(count)
      : "lr", "q0", "q1", "memory");
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
#elif defined(Q_SHORT_PRODUCTS)
  q_four_rows_in_thumb(in, weights, size, sums);
#elif defined(Q_FOUR_ROWS_IN_RISCV)
  q_four_rows_in_riscv(in, weights, size, sums);
#else
  int i = 0;
#if defined(Q_FOUR_ROWS)
  i = size & ~3;
  if (i > 0) q_four_rows(in, 1, weights, size, i, sums);
#endif
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  for (const int8_t *weight = weights + i; i < size; ++i, ++weight) {
    const int x = in[i];  // a product fits 16 bits
    a += x * q_flash_s8(weight);
    b += x * q_flash_s8(weight + size);
    c += x * q_flash_s8(weight + 2 * size);
    d += x * q_flash_s8(weight + 3 * size);
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
#endif
}

// out[o] = code(bias[o] + sum of in[i] * weights[o][i]).
//
//   in           int8 [in_size]; its zero point is folded into the biases
//   weights      int8 [out_size][in_size], -127..127, in flash; of 4 bits as in q_dense_s4
//   weight_bits  8 or 4, a constant
//   channels     int32 [out_size][Q_CHANNEL_WORDS(form)], in flash
//   out          int8 [out_size], low..high
//
// Four outputs at a time share the load of an input.
Q_KERNEL void q_dense(const int8_t *in, const int8_t *weights, int weight_bits, const int32_t *channels, int form,
                      int zero_point, int low, int high, int8_t *out, int in_size, int out_size) {
  if (weight_bits == 4) {
    q_dense_s4(in, weights, channels, form, zero_point, low, high, out, in_size, out_size);
    return;
  }
  const int words = Q_CHANNEL_WORDS(form);
  int o = 0;
  for (; o + 4 <= out_size; o += 4) {
    int32_t sums[4] = {q_flash_s32(channels), q_flash_s32(channels + words), q_flash_s32(channels + 2 * words),
                       q_flash_s32(channels + 3 * words)};
    q_four_products(in, weights, in_size, sums);
    weights += 4 * in_size;
    out[o] = q_code(sums[0], channels + 1, form, zero_point, low, high);
    out[o + 1] = q_code(sums[1], channels + words + 1, form, zero_point, low, high);
    out[o + 2] = q_code(sums[2], channels + 2 * words + 1, form, zero_point, low, high);
    out[o + 3] = q_code(sums[3], channels + 3 * words + 1, form, zero_point, low, high);
    channels += 4 * words;
  }
  for (; o < out_size; ++o, channels += words) {
    const int32_t a = q_products(in, weights, in_size, q_flash_s32(channels));
    weights += in_size;
    out[o] = q_code(a, channels + 1, form, zero_point, low, high);
  }
}

#endif  // QTORCH_DENSE_H_
