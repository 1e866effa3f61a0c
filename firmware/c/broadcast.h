// Two operands whose shapes broadcast: what an op does with a pair of codes, for every pair.
#ifndef QTORCH_BROADCAST_H_
#define QTORCH_BROADCAST_H_

#include "element.h"

// The loops of a kernel with the parameters below. In the statement that follows, `at` counts the output's elements,
// and `a` and `b` are where the operands' codes lie.
//
//   in, other            [n_0][n_1][n_2][n_3] in steps of in_0 ... and other_0 ... elements, 0 where an operand
//                        repeats; in_flash and other_flash are 1 for constants
//   out                  [n_0][n_1][n_2][n_3], which may be an operand of that shape
//   width                bytes of a code
#define Q_FOR_EACH_PAIR                                                                                             \
  for (int i_0 = 0, at = 0; i_0 < n_0; ++i_0)                                                                       \
    for (int i_1 = 0; i_1 < n_1; ++i_1)                                                                             \
      for (int i_2 = 0; i_2 < n_2; ++i_2)                                                                           \
        for (int i_3 = 0, a = i_0 * in_0 + i_1 * in_1 + i_2 * in_2, b = i_0 * other_0 + i_1 * other_1 + i_2 * other_2; \
             i_3 < n_3; ++i_3, ++at, a += in_3, b += other_3)

#if defined(__ARM_FEATURE_MVE)
// Whether rows of n_3 codes lie in one piece, or repeat one code, so that vectors take them.
#define Q_ROWS_IN_VECTORS (n_3 >= 4 && in_3 >= 0 && in_3 <= 1 && other_3 >= 0 && other_3 <= 1 && in_3 + other_3 > 0)

// The loops of Q_FOR_EACH_PAIR without the inmost one.
#define Q_FOR_EACH_ROW                                                                                              \
  for (int i_0 = 0, at = 0; i_0 < n_0; ++i_0)                                                                       \
    for (int i_1 = 0; i_1 < n_1; ++i_1)                                                                             \
      for (int i_2 = 0, a = i_0 * in_0 + i_1 * in_1, b = i_0 * other_0 + i_1 * other_1; i_2 < n_2;                  \
           ++i_2, at += n_3, a += in_2, b += other_2)
#endif

#endif  // QTORCH_BROADCAST_H_
