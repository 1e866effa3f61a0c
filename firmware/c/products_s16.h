// Products of int16 codes with int8 weights, summed up: what convolutions with 16-bit activations are made of.
#ifndef QTORCH_PRODUCTS_S16_H_
#define QTORCH_PRODUCTS_S16_H_

#include "four_rows.h"
#include "wide.h"

// As many products, each of at most 2^22, stay below 2^31 together; a multiple of four.
#define Q_SHORT_SUM 508

// Adds to each of four sums the products of in, int16 [size], with its row of weights, int8 [size] in flash; rows begin
// row bytes behind each other. An int32 holds every sum.
Q_KERNEL void q_four_short_products(const int16_t *in, const int8_t *weights, int row, int size, int32_t *sums) {
#if defined(__ARM_FEATURE_MVE)
  // Eight products in one, as in q_four_products.
  register int32_t a __asm__("r0") = sums[0];
  register int32_t b __asm__("r2") = sums[1];
  register int32_t c __asm__("r4") = sums[2];
  register int32_t d __asm__("r6") = sums[3];
  register const int16_t *x __asm__("r8") = in;
  register const int8_t *first __asm__("r1") = weights;
  register const int8_t *second __asm__("r3") = weights + row;
  register const int8_t *third __asm__("r5") = weights + 2 * row;
  register const int8_t *fourth __asm__("r12") = weights + 3 * row;
  register int count __asm__("r10") = size;
  // Widening loads want one of the first eight registers.
  __asm__ volatile(
      "wlstp.16 lr, r10, 2f\n"
      "1:\n\t"
      "vldrh.16 q0, [r8], #16\n\t"
      "vldrb.s16 q1, [r1], #8\n\t"
      "vmladava.s16 r0, q0, q1\n\t"
      "vldrb.s16 q1, [r3], #8\n\t"
      "vmladava.s16 r2, q0, q1\n\t"
      "vldrb.s16 q1, [r5], #8\n\t"
      "vmladava.s16 r4, q0, q1\n\t"
      "mov r9, r1\n\tmov r1, r12\n\t"
      "vldrb.s16 q1, [r1], #8\n\t"
      "mov r12, r1\n\tmov r1, r9\n\t"
      "vmladava.s16 r6, q0, q1\n\t"
      "letp lr, 1b\n"
      "2:"
      : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(x), "+r"(first), "+r"(second), "+r"(third), "+r"(fourth)
      : "r"(count)
      : "r9", "lr", "q0", "q1", "memory");
#else
  int i = 0;
#if defined(Q_FOUR_ROWS)
  i = size & ~3;
  if (i > 0) q_four_rows(in, 2, weights, row, i, sums);
#endif
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  for (; i < size; ++i) {
    const int32_t x = in[i];
    a += x * q_flash_s8(weights + i);
    b += x * q_flash_s8(weights + row + i);
    c += x * q_flash_s8(weights + 2 * row + i);
    d += x * q_flash_s8(weights + 3 * row + i);
  }
#endif
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}

// sum and the products of in, int16 [size], with weights, int8 [size] in flash.
Q_KERNEL int32_t q_short_products(const int16_t *in, const int8_t *weights, int size, int32_t sum) {
  for (int i = 0; i < size; ++i) sum += (int32_t)in[i] * q_flash_s8(weights + i);
  return sum;
}

// The same of sums that an int32 may not hold.
Q_KERNEL void q_four_products_s16(const int16_t *in, const int8_t *weights, int row, int size, int64_t *sums) {
  while (size > 0) {
    const int count = size < Q_SHORT_SUM ? size : Q_SHORT_SUM;
    int32_t parts[4] = {0, 0, 0, 0};
    q_four_short_products(in, weights, row, count, parts);
    sums[0] += parts[0];
    sums[1] += parts[1];
    sums[2] += parts[2];
    sums[3] += parts[3];
    in += count;
    weights += count;
    size -= count;
  }
}

Q_KERNEL int64_t q_products_s16(const int16_t *in, const int8_t *weights, int size, int64_t sum) {
  while (size > 0) {
    const int count = size < Q_SHORT_SUM ? size : Q_SHORT_SUM;
    sum += q_short_products(in, weights, count, 0);
    in += count;
    weights += count;
    size -= count;
  }
  return sum;
}

#endif  // QTORCH_PRODUCTS_S16_H_
