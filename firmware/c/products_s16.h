// Products of int16 codes with int8 weights, summed up: what convolutions with 16-bit activations are made of.
#ifndef QTORCH_PRODUCTS_S16_H_
#define QTORCH_PRODUCTS_S16_H_

#include "wide.h"

// As many products, each of at most 2^22, stay below 2^31 together; a multiple of four.
#define Q_SHORT_SUM 508

// Adds to each of four sums the products of in, int16 [size], with its row of weights, int8 [size] in flash; rows begin
// row bytes behind each other.
Q_KERNEL void q_four_products_s16(const int16_t *in, const int8_t *weights, int row, int size, int64_t *sums) {
  while (size > 0) {
    const int count = size < Q_SHORT_SUM ? size : Q_SHORT_SUM;
    int32_t a = 0, b = 0, c = 0, d = 0;
    int i = 0;
#if defined(__ARM_FEATURE_DSP)
    // Two products in one: the even and the odd ones of four codes, and of the four bytes of a word.
#define Q_PRODUCTS_TWICE(sum, at)                                                                    \
  do {                                                                                               \
    uint32_t q_w, q_even, q_odd;                                                                     \
    memcpy(&q_w, weights + (at) * row + i, 4);                                                       \
    __asm__("sxtb16 %0, %1" : "=r"(q_even) : "r"(q_w));                                              \
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(q_odd) : "r"(q_w));                                       \
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(even), "r"(q_even));                            \
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(odd), "r"(q_odd));                              \
  } while (0)
    for (; i + 4 <= count; i += 4) {
      uint32_t first, second, even, odd;
      memcpy(&first, in + i, 4);
      memcpy(&second, in + i + 2, 4);
      __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(even) : "r"(first), "r"(second));
      __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(odd) : "r"(second), "r"(first));
      Q_PRODUCTS_TWICE(a, 0);
      Q_PRODUCTS_TWICE(b, 1);
      Q_PRODUCTS_TWICE(c, 2);
      Q_PRODUCTS_TWICE(d, 3);
    }
#undef Q_PRODUCTS_TWICE
#endif
    for (; i < count; ++i) {
      const int32_t x = in[i];
      a += x * q_flash_s8(weights + i);
      b += x * q_flash_s8(weights + row + i);
      c += x * q_flash_s8(weights + 2 * row + i);
      d += x * q_flash_s8(weights + 3 * row + i);
    }
    sums[0] += a;
    sums[1] += b;
    sums[2] += c;
    sums[3] += d;
    in += count;
    weights += count;
    size -= count;
  }
}

// sum and the products of in, int16 [size], with weights, int8 [size] in flash.
Q_KERNEL int64_t q_products_s16(const int16_t *in, const int8_t *weights, int size, int64_t sum) {
  while (size > 0) {
    const int count = size < Q_SHORT_SUM ? size : Q_SHORT_SUM;
    int32_t part = 0;
    for (int i = 0; i < count; ++i) part += (int32_t)in[i] * q_flash_s8(weights + i);
    sum += part;
    in += count;
    weights += count;
    size -= count;
  }
  return sum;
}

#endif  // QTORCH_PRODUCTS_S16_H_
