// One vector times a matrix of 4 bits, two weights to a byte.
#ifndef QTORCH_DENSE_S4_H_
#define QTORCH_DENSE_S4_H_

#include "products.h"
#include "requantize.h"

// Rows of bytes that share the load of an input; as many as registers hold the sums of.
#if defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1
#define Q_ROWS_S4 1
#else
#define Q_ROWS_S4 2
#endif

// The products of in, int8 [size], with weights of 4 bits of 2 * rows outputs: pairs [rows][size], in flash, each byte
// 16 times the weight of a row's second output and 8 more than that of its first. rows is 1 or 2, a constant; size is
// below 65,536. sums int32 [2 * rows]; those of first outputs are too large by 8 times the sum of in.
//
// What whole bytes and their low halves give is all that is summed: the difference is 16 times the second output's sum.
// So only low halves are taken out of their bytes.
Q_KERNEL void q_paired_products(const int8_t *in, const int8_t *pairs, int size, int32_t *sums, int rows) {
#if defined(__ARM_FEATURE_MVE)
  register int32_t whole __asm__("r0") = 0;
  register int32_t low __asm__("r2") = 0;
  register int32_t other_whole __asm__("r4") = 0;
  register int32_t other_low __asm__("r6") = 0;
#define Q_ROW_S4(pairs, whole, low)           \
  "vldrb.8 q1, [%[" pairs "]], #16\n\t"       \
  "vmladava.s8 %[" whole "], q0, q1\n\t"      \
  "vand q1, q1, q2\n\t"                       \
  "vmladava.s8 %[" low "], q0, q1\n\t"
#define Q_LOOP_S4(rows)                       \
  "vmov.i8 q2, #15\n\t"                       \
  "wlstp.8 lr, %[size], 2f\n"                 \
  "1:\n\t"                                    \
  "vldrb.8 q0, [%[in]], #16\n\t" rows         \
  "letp lr, 1b\n"                             \
  "2:"
  if (rows == 2) {
    const int8_t *other = pairs + size;
    __asm__ volatile(Q_LOOP_S4(Q_ROW_S4("pairs", "whole", "low") Q_ROW_S4("other", "other_whole", "other_low"))
                     : [whole] "+r"(whole), [low] "+r"(low), [other_whole] "+r"(other_whole),
                       [other_low] "+r"(other_low), [in] "+r"(in), [pairs] "+r"(pairs), [other] "+r"(other)
                     : [size] "r"(size)
                     : "lr", "q0", "q1", "q2", "memory");
  } else {
    __asm__ volatile(Q_LOOP_S4(Q_ROW_S4("pairs", "whole", "low"))
                     : [whole] "+r"(whole), [low] "+r"(low), [in] "+r"(in), [pairs] "+r"(pairs)
                     : [size] "r"(size)
                     : "lr", "q0", "q1", "q2", "memory");
  }
#undef Q_LOOP_S4
#undef Q_ROW_S4
#else
  int32_t whole = 0, low = 0, other_whole = 0, other_low = 0;
  int i = 0;
#if defined(__ARM_FEATURE_DSP)
#define Q_TWICE_S4(whole, low, row)                                                                  \
  do {                                                                                               \
    uint32_t q_w, q_even, q_odd;                                                                     \
    memcpy(&q_w, pairs + (row) * size + i, 4);                                                       \
    __asm__("sxtb16 %0, %1" : "=r"(q_even) : "r"(q_w));                                              \
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(q_odd) : "r"(q_w));                                       \
    __asm__("smlad %0, %1, %2, %0" : "+r"(whole) : "r"(even), "r"(q_even));                          \
    __asm__("smlad %0, %1, %2, %0" : "+r"(whole) : "r"(odd), "r"(q_odd));                            \
    __asm__("smlad %0, %1, %2, %0" : "+r"(low) : "r"(even), "r"(q_even & 0x000F000Fu));              \
    __asm__("smlad %0, %1, %2, %0" : "+r"(low) : "r"(odd), "r"(q_odd & 0x000F000Fu));                \
  } while (0)
  for (; i + 4 <= size; i += 4) {
    uint32_t x, even, odd;
    memcpy(&x, in + i, 4);
    __asm__("sxtb16 %0, %1" : "=r"(even) : "r"(x));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(x));
    Q_TWICE_S4(whole, low, 0);
    if (rows == 2) Q_TWICE_S4(other_whole, other_low, 1);
  }
#undef Q_TWICE_S4
#endif
  for (const int8_t *pair = pairs + i; i < size; ++i, ++pair) {
    const int x = in[i], w = q_flash_s8(pair);  // a product fits 16 bits
    whole += x * w;
    low += x * (w & 15);
    if (rows == 2) {
      const int v = q_flash_s8(pair + size);
      other_whole += x * v;
      other_low += x * (v & 15);
    }
  }
#endif
  sums[0] = low;
  sums[1] = (whole - low) >> 4;
  if (rows == 2) {
    sums[2] = other_low;
    sums[3] = (other_whole - other_low) >> 4;
  }
}

// The codes of 2 * rows outputs, rows a constant; less is 8 times the sum of in.
Q_KERNEL void q_outputs_s4(const int8_t *in, const int8_t *pairs, const int32_t *channels, int form, int zero_point,
                           int low, int high, int8_t *out, int in_size, int32_t less, int rows) {
  const int words = Q_CHANNEL_WORDS(form);
  int32_t sums[4];
  q_paired_products(in, pairs, in_size, sums, rows);
  out[0] = q_code(sums[0] - less + q_flash_s32(channels), channels + 1, form, zero_point, low, high);
  channels += words;
  out[1] = q_code(sums[1] + q_flash_s32(channels), channels + 1, form, zero_point, low, high);
  if (rows == 2) {
    channels += words;
    out[2] = q_code(sums[2] - less + q_flash_s32(channels), channels + 1, form, zero_point, low, high);
    channels += words;
    out[3] = q_code(sums[3] + q_flash_s32(channels), channels + 1, form, zero_point, low, high);
  }
}

// The codes of the outputs that are left over, three at most: two whose weights share bytes, and one of bytes alone.
Q_KERNEL void q_last_outputs_s4(const int8_t *in, const int8_t *weights, const int32_t *channels, int form,
                                int zero_point, int low, int high, int8_t *out, int in_size, int count, int32_t less) {
  if (count >= 2) {
    q_outputs_s4(in, weights, channels, form, zero_point, low, high, out, in_size, less, 1);
    weights += in_size;
    channels += 2 * Q_CHANNEL_WORDS(form);
    out += 2;
  }
  if (count % 2 != 0) {
    const int32_t sum = q_products(in, weights, in_size, q_flash_s32(channels));
    *out = q_code(sum, channels + 1, form, zero_point, low, high);
  }
}

// As q_dense; weights [out_size / 2][in_size] bytes of two outputs each, as in q_paired_products, and behind them the
// weights of a last odd output, int8 [in_size].
Q_KERNEL void q_dense_s4(const int8_t *in, const int8_t *weights, const int32_t *channels, int form, int zero_point,
                         int low, int high, int8_t *out, int in_size, int out_size) {
  const int words = Q_CHANNEL_WORDS(form);
  const int32_t less = out_size > 1 ? 8 * q_sum_s8(in, in_size) : 0;
  int o = 0;
  for (; o + 2 * Q_ROWS_S4 <= out_size; o += 2 * Q_ROWS_S4) {
    q_outputs_s4(in, weights, channels, form, zero_point, low, high, out + o, in_size, less, Q_ROWS_S4);
    weights += Q_ROWS_S4 * in_size;
    channels += 2 * Q_ROWS_S4 * words;
  }
  q_last_outputs_s4(in, weights, channels, form, zero_point, low, high, out + o, in_size, out_size - o, less);
}

#endif  // QTORCH_DENSE_S4_H_
