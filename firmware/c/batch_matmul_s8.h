// BATCH_MATMUL, int8: products of matrices computed at run time. TFLM: kernels/internal/reference/batch_matmul.h.
#ifndef QTORCH_BATCH_MATMUL_S8_H_
#define QTORCH_BATCH_MATMUL_S8_H_

#include "batch_matmul.h"
#include "four_columns.h"

// One product of matrices: in [rows][depth], other [depth][columns] in steps of step and column, four columns at least
// and as they are copied for all rows. Up to 2^15 - 1 products an int32 holds every sum.
//
// Columns that are left over are the last of four, of which others are there already. What multiplies bytes alone takes
// the codes as they are, and their sums afterwards: with zero points a and b a sum is that of the codes' products, less b
// times the row's codes and a times the column's, plus depth * a * b.
//
//   work   working memory: the four columns, in bytes 4 * depth, 8 * depth in words, 4 * depth in vectors, depth a
//          multiple of 16 there; without vectors and words, before them, int32 [rows]
Q_KERNEL void q_product_of_matrices(const int8_t *in, const int8_t *other, int8_t *out, int rows, int columns, int depth,
                                    int step, int column, int in_zero_point, int other_zero_point, int zero_point,
                                    int32_t mantissa, int shift, void *work) {
#if !defined(Q_COLUMNS_IN_WORDS)
  const int32_t both = (int32_t)depth * in_zero_point * other_zero_point;
#endif
#if !defined(Q_COLUMNS_IN_WORDS) && !defined(Q_COLUMNS_IN_VECTORS)
  int32_t *const offsets = (int32_t *)work;
  int8_t *const panel = (int8_t *)(offsets + rows);
  for (int row = 0; row < rows; ++row) offsets[row] = other_zero_point * q_sum_s8(in + row * depth, depth);
#endif
  for (int first = 0; first < columns; first += 4) {
    if (first > columns - 4) first = columns - 4;
    const int8_t *x = in, *const four = other + first * column;
    int8_t *to = out + first;
    int32_t starts[4];
#if defined(Q_COLUMNS_IN_VECTORS)
    q_columns_in_vectors(four, depth, step, column, (int8_t *)work, starts);
    for (int i = 0; i < 4; ++i) starts[i] = both - in_zero_point * starts[i];
    q_rows_by_vectors(x, (const int8_t *)work, starts, -other_zero_point, rows, depth, zero_point, mantissa, -shift, to,
                      columns);
#else
#if defined(Q_COLUMNS_IN_WORDS)
    q_columns_in_words(four, depth, step, column, other_zero_point, work, starts);
    for (int i = 0; i < 4; ++i) starts[i] *= -in_zero_point;
#else
    const int8_t *bytes = four;
    if (step != 1 || column != depth) {
      q_columns_in_bytes(four, depth, step, column, panel, starts);
      bytes = panel;
    } else {
      for (int i = 0; i < 4; ++i) starts[i] = q_sum_s8(bytes + i * depth, depth);
    }
    for (int i = 0; i < 4; ++i) starts[i] = both - in_zero_point * starts[i];
#endif
    for (int row = 0; row < rows; ++row, x += depth, to += columns) {
      int32_t sums[4] = {starts[0], starts[1], starts[2], starts[3]};
#if defined(Q_COLUMNS_IN_WORDS)
      q_products_with_words(x, work, depth, sums);
#else
      for (int i = 0; i < 4; ++i) sums[i] -= offsets[row];
      q_four_products(x, bytes, depth, sums);
#endif
      for (int i = 0; i < 4; ++i) {
        to[i] = (int8_t)q_clamp(zero_point + q_requantize(sums[i], mantissa, shift), -128, 127);
      }
    }
#endif
  }
}

#if defined(Q_COLUMNS_IN_WORDS)
// q_product_of_matrices of fewer rows than columns, a multiple of four: they are what is copied, for columns that each lie
// together.
Q_KERNEL void q_rows_times_columns(const int8_t *in, const int8_t *other, int8_t *out, int rows, int columns, int depth,
                                   int column, int in_zero_point, int other_zero_point, int zero_point, int32_t mantissa,
                                   int shift, void *work) {
  for (int row = 0; row < rows; row += 4, in += 4 * depth, out += 4 * columns) {
    int32_t starts[4];
    q_columns_in_words(in, depth, 1, depth, in_zero_point, work, starts);
    for (int i = 0; i < 4; ++i) starts[i] *= -other_zero_point;
    for (int at = 0; at < columns; ++at) {
      int32_t sums[4] = {starts[0], starts[1], starts[2], starts[3]};
      q_products_with_words(other + at * column, work, depth, sums);
      for (int i = 0; i < 4; ++i) {
        out[i * columns + at] = (int8_t)q_clamp(zero_point + q_requantize(sums[i], mantissa, shift), -128, 127);
      }
    }
  }
}
#endif

#if defined(Q_COLUMNS_IN_PLACE)
// q_product_of_matrices of one row, for which no column is copied.
//
//   work   working memory, int16 [depth]
Q_KERNEL void q_row_times_matrix(const int8_t *in, const int8_t *other, int8_t *out, int columns, int depth, int step,
                                 int column, int in_zero_point, int other_zero_point, int zero_point, int32_t mantissa,
                                 int shift, void *work) {
  int16_t *const row = (int16_t *)work;  // less its zero point
  int32_t start = 0;
  for (int k = 0; k < depth; ++k) {
    row[k] = (int16_t)(in[k] - in_zero_point);
    start -= row[k];
  }
  start *= other_zero_point;
  for (int first = 0; first < columns; first += 4) {
    if (first > columns - 4) first = columns - 4;
    int32_t sums[4] = {start, start, start, start};
    q_four_columns(row, other + first * column, depth, step, column, sums);
    for (int i = 0; i < 4; ++i) {
      out[first + i] = (int8_t)q_clamp(zero_point + q_requantize(sums[i], mantissa, shift), -128, 127);
    }
  }
}
#endif

// Operands as Q_FOR_EACH_SUM has them. The sums fit int32, and no factor shifts them to the left. work is
// q_product_of_matrices's.
Q_KERNEL void batch_matmul_s8(const int8_t *in, const int8_t *other, int8_t *out, int n_0, int n_1, int n_2, int in_0,
                              int in_1, int in_2, int in_flash, int other_0, int other_1, int other_2, int other_flash,
                              int rows, int columns, int depth, int in_row, int in_step, int other_step,
                              int other_column, int in_zero_point, int other_zero_point, int zero_point,
                              int32_t mantissa, int shift, int8_t *work) {
#if !defined(__AVR__)
  // Where flash is read as memory is.
  if (in_step == 1 && in_row == depth && columns >= 4 && shift < 0 && depth < 32768) {
    Q_FOR_EACH_PRODUCT {
#if defined(Q_COLUMNS_IN_PLACE)
      if (rows == 1) {
        q_row_times_matrix(in + a, other + b, out, columns, depth, other_step, other_column, in_zero_point,
                           other_zero_point, zero_point, mantissa, shift, work);
        continue;
      }
#endif
#if defined(Q_COLUMNS_IN_WORDS)
      if (other_step == 1 && rows % 4 == 0 && rows < columns) {
        q_rows_times_columns(in + a, other + b, out, rows, columns, depth, other_column, in_zero_point,
                             other_zero_point, zero_point, mantissa, shift, work);
        continue;
      }
#endif
      q_product_of_matrices(in + a, other + b, out, rows, columns, depth, other_step, other_column, in_zero_point,
                            other_zero_point, zero_point, mantissa, shift, work);
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
