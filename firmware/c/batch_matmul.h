// The loops of products of matrices, whichever way round they lie and whichever axes in front of them repeat.
#ifndef QTORCH_BATCH_MATMUL_H_
#define QTORCH_BATCH_MATMUL_H_

#include "element.h"

// The loops of a kernel with the parameters below. In the statement that follows, `at` counts the output's elements,
// and `a` and `b` are where a row of in and a column of other begin.
//
//   in         [n_0][n_1][n_2] matrices in steps of in_0 ... elements, 0 where one repeats; each [rows][depth] in
//              steps of in_row and in_step; in_flash is 1 for constants
//   other      the same, [depth][columns] in steps of other_step and other_column
//   out        [n_0][n_1][n_2][rows][columns]
#define Q_FOR_EACH_SUM                                                                                            \
  for (int i_0 = 0, at = 0; i_0 < n_0; ++i_0)                                                                     \
    for (int i_1 = 0; i_1 < n_1; ++i_1)                                                                           \
      for (int i_2 = 0; i_2 < n_2; ++i_2)                                                                         \
        for (int row = 0, a = i_0 * in_0 + i_1 * in_1 + i_2 * in_2; row < rows; ++row, a += in_row)                \
          for (int column = 0, b = i_0 * other_0 + i_1 * other_1 + i_2 * other_2; column < columns;               \
               ++column, ++at, b += other_column)

// The same without those of rows and columns: a product of two matrices each time, the elements of which begin at out.
#define Q_FOR_EACH_PRODUCT                                                                                        \
  for (int i_0 = 0; i_0 < n_0; ++i_0)                                                                             \
    for (int i_1 = 0; i_1 < n_1; ++i_1)                                                                           \
      for (int i_2 = 0, a = i_0 * in_0 + i_1 * in_1, b = i_0 * other_0 + i_1 * other_1; i_2 < n_2;                \
           ++i_2, a += in_2, b += other_2, out += rows * columns)

#endif  // QTORCH_BATCH_MATMUL_H_
