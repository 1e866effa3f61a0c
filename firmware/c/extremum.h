// MAXIMUM and MINIMUM of int8 or int16 tensors on one grid whose shapes broadcast.
// TFLM: kernels/internal/reference/maximum_minimum.h.
#ifndef QTORCH_EXTREMUM_H_
#define QTORCH_EXTREMUM_H_

#include "broadcast.h"

#if defined(__ARM_FEATURE_MVE)
// A row, sixteen bytes at a time, of in and other or, where other is 0, of code.
Q_KERNEL void q_row_of_extrema(const void *in, const void *other, int code, void *out, int width, int size,
                               int largest) {
  const int8_t *x = (const int8_t *)in, *y = (const int8_t *)other;
  int8_t *to = (int8_t *)out;
#define Q_ROW(bits, letter, next, extremum)                                                             \
  __asm__ volatile("vdup." bits " q1, %[code]\n\twlstp." bits " lr, %[size], 2f\n"                      \
                   "1:\n\tvldr" letter "." bits " q0, [%[x]], #16\n\t" next                             \
                   extremum ".s" bits " q0, q0, q1\n\tvstr" letter "." bits " q0, [%[to]], #16\n\t"      \
                   "letp lr, 1b\n"                                                                      \
                   "2:"                                                                                 \
                   : [x] "+r"(x), [y] "+r"(y), [to] "+r"(to)                                            \
                   : [size] "r"(size), [code] "r"(code)                                                 \
                   : "lr", "q0", "q1", "memory")
#define Q_ROWS_OF(extremum)                                             \
  do {                                                                  \
    if (width == 1 && y) {                                              \
      Q_ROW("8", "b", "vldrb.8 q1, [%[y]], #16\n\t", extremum);         \
    } else if (width == 1) {                                            \
      Q_ROW("8", "b", "", extremum);                                    \
    } else if (y) {                                                     \
      Q_ROW("16", "h", "vldrh.16 q1, [%[y]], #16\n\t", extremum);       \
    } else {                                                            \
      Q_ROW("16", "h", "", extremum);                                   \
    }                                                                   \
  } while (0)
  if (largest) {
    Q_ROWS_OF("vmax");
  } else {
    Q_ROWS_OF("vmin");
  }
#undef Q_ROWS_OF
#undef Q_ROW
}
#endif

// Operands as Q_FOR_EACH_PAIR has them; largest is 1 or 0.
Q_KERNEL void extremum(const void *in, const void *other, void *out, int width, int in_flash, int other_flash, int n_0,
                       int n_1, int n_2, int n_3, int in_0, int in_1, int in_2, int in_3, int other_0, int other_1,
                       int other_2, int other_3, int largest) {
#if defined(__ARM_FEATURE_MVE)
  if (Q_ROWS_IN_VECTORS) {
    Q_FOR_EACH_ROW {
      const int8_t *const x = (const int8_t *)in + a * width, *const y = (const int8_t *)other + b * width;
      const int code = in_3 == 0 ? q_get(in, a, width, in_flash) : q_get(other, b, width, other_flash);
      q_row_of_extrema(in_3 ? x : y, in_3 && other_3 ? y : 0, code, (int8_t *)out + at * width, width, n_3, largest);
    }
    return;
  }
#endif
  Q_FOR_EACH_PAIR {
    const int16_t x = q_get(in, a, width, in_flash), y = q_get(other, b, width, other_flash);
    q_put(out, at, width, (x > y) == largest ? x : y);
  }
}

#endif  // QTORCH_EXTREMUM_H_
