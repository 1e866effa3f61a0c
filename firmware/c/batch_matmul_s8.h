// BATCH_MATMUL, int8: products of matrices computed at run time. TFLM: kernels/internal/reference/batch_matmul.h.
#ifndef QTORCH_BATCH_MATMUL_S8_H_
#define QTORCH_BATCH_MATMUL_S8_H_

#include "batch_matmul.h"
#include "dense.h"
#include "products_s16.h"

#if defined(Q_SHORT_PRODUCTS) || defined(__ARM_FEATURE_MVE)
// What multiplies bytes alone takes the codes as they are, and their sums afterwards: with zero points a and b a sum is
// that of the codes' products, less b times the row's codes and a times the column's, plus depth * a * b.
#define Q_BYTES_ALONE
#endif

// One product of matrices that both lie along the products' axis: in [rows][depth], other [columns][depth]. Up to 2^15 - 1
// products an int32 holds every sum. Four columns at a time share the load of a row.
//
//   work   working memory, int32 [rows] and int16 [depth]
Q_KERNEL void q_products_along_rows(const int8_t *in, const int8_t *other, int8_t *out, int rows, int columns,
                                    int depth, int in_zero_point, int other_zero_point, int zero_point,
                                    int32_t mantissa, int shift, void *work) {
#if defined(Q_BYTES_ALONE)
  int32_t *const offsets = (int32_t *)work;
  const int32_t both = (int32_t)depth * in_zero_point * other_zero_point;
  if (other_zero_point != 0) {
    for (int row = 0; row < rows; ++row) offsets[row] = other_zero_point * q_sum_s8(in + row * depth, depth);
  }
  for (int column = 0; column < columns; column += 4, other += 4 * depth) {
    const int count = columns - column < 4 ? columns - column : 4;
    int32_t starts[4] = {0, 0, 0, 0};
    for (int i = 0; i < count; ++i) {
      starts[i] = both;
      if (in_zero_point != 0) starts[i] -= in_zero_point * q_sum_s8(other + i * depth, depth);
    }
    const int8_t *x = in;
    int8_t *to = out + column;
    for (int row = 0; row < rows; ++row, x += depth, to += columns) {
      const int32_t offset = other_zero_point != 0 ? offsets[row] : 0;
      int32_t sums[4] = {starts[0] - offset, starts[1] - offset, starts[2] - offset, starts[3] - offset};
      if (count == 4) {
        q_four_products(x, other, depth, sums);
      } else {
        for (int i = 0; i < count; ++i) sums[i] = q_products(x, other + i * depth, depth, sums[i]);
      }
      for (int i = 0; i < count; ++i) {
        to[i] = (int8_t)q_clamp(zero_point + q_requantize(sums[i], mantissa, shift), -128, 127);
      }
    }
  }
#else
  int16_t *const row = (int16_t *)work;  // less its zero point
  for (; rows > 0; --rows, in += depth) {
    int32_t start = 0;
    for (int k = 0; k < depth; ++k) {
      row[k] = (int16_t)(in[k] - in_zero_point);
      start -= row[k];
    }
    start *= other_zero_point;
    const int8_t *column = other;
    for (int count = columns; count > 0; count -= 4) {
      const int together = count < 4 ? count : 4;
      int32_t sums[4] = {start, start, start, start};
      if (together == 4) {
        q_four_short_products(row, column, depth, depth, sums);
#if defined(Q_FOUR_ROWS)
      } else if (columns > 4) {
        // The last of four, the others of which are there already: four take less time than two that are alone.
        q_four_short_products(row, column - (4 - together) * depth, depth, depth, sums);
        for (int i = 0; i < together; ++i) sums[i] = sums[i + 4 - together];
#endif
      } else {
        for (int i = 0; i < together; ++i) sums[i] = q_short_products(row, column + i * depth, depth, start);
      }
      for (int i = 0; i < together; ++i) {
        *out++ = (int8_t)q_clamp(zero_point + q_requantize(sums[i], mantissa, shift), -128, 127);
      }
      column += 4 * depth;
    }
  }
#endif
}

// Operands as Q_FOR_EACH_SUM has them. The sums fit int32, and no factor shifts them to the left. work is
// q_products_along_rows's.
Q_KERNEL void batch_matmul_s8(const int8_t *in, const int8_t *other, int8_t *out, int n_0, int n_1, int n_2, int in_0,
                              int in_1, int in_2, int in_flash, int other_0, int other_1, int other_2, int other_flash,
                              int rows, int columns, int depth, int in_row, int in_step, int other_step,
                              int other_column, int in_zero_point, int other_zero_point, int zero_point,
                              int32_t mantissa, int shift, int8_t *work) {
#if !defined(__AVR__)
  // Where flash is read as memory is.
  if (in_step == 1 && other_step == 1 && in_row == depth && other_column == depth && depth < 32768) {
    for (int i_0 = 0; i_0 < n_0; ++i_0) {
      for (int i_1 = 0; i_1 < n_1; ++i_1) {
        for (int i_2 = 0; i_2 < n_2; ++i_2, out += rows * columns) {
          q_products_along_rows(in + i_0 * in_0 + i_1 * in_1 + i_2 * in_2,
                                other + i_0 * other_0 + i_1 * other_1 + i_2 * other_2, out, rows, columns, depth,
                                in_zero_point, other_zero_point, zero_point, mantissa, shift, work);
        }
      }
    }
    return;
  }
#endif
  (void)work;
  Q_FOR_EACH_SUM {
    int32_t sum = 0;
    for (int k = 0; k < depth; ++k) {
      const int32_t x = q_get(in, a + k * in_step, 1, in_flash) - in_zero_point;
      sum += x * (q_get(other, b + k * other_step, 1, other_flash) - other_zero_point);
    }
    out[at] = (int8_t)q_clamp(zero_point + q_requantize(sum, mantissa, shift), -128, 127);
  }
}

#endif  // QTORCH_BATCH_MATMUL_S8_H_
