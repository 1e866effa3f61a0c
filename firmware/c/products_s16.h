// Products of int16 codes with int8 weights, summed up: what convolutions with 16-bit activations are made of.
#ifndef QTORCH_PRODUCTS_S16_H_
#define QTORCH_PRODUCTS_S16_H_

#include "four_rows.h"
#include "wide.h"

// As many products, each of at most 2^22, stay below 2^31 together; a multiple of four.
#define Q_SHORT_SUM 508

// Adds to each of four sums the products of in, int16 [size], with its row of weights, int8 [size] in flash; rows begin
// row bytes behind each other.
Q_KERNEL void q_four_products_s16(const int16_t *in, const int8_t *weights, int row, int size, int64_t *sums) {
  while (size > 0) {
    const int count = size < Q_SHORT_SUM ? size : Q_SHORT_SUM;
    int32_t parts[4] = {0, 0, 0, 0};
    int i = 0;
#if defined(Q_FOUR_ROWS)
    i = count & ~3;
    if (i > 0) q_four_rows(in, 2, weights, row, i, parts);
#endif
    for (; i < count; ++i) {
      const int32_t x = in[i];
      parts[0] += x * q_flash_s8(weights + i);
      parts[1] += x * q_flash_s8(weights + row + i);
      parts[2] += x * q_flash_s8(weights + 2 * row + i);
      parts[3] += x * q_flash_s8(weights + 3 * row + i);
    }
    sums[0] += parts[0];
    sums[1] += parts[1];
    sums[2] += parts[2];
    sums[3] += parts[3];
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
