// Depthwise convolutions on Cortex-M with vectors: a window of one channel is one vector, four sums and codes at a time.
//
// Pixels' channels lie side by side in memory, and a sum runs over pixels. So pixels are laid out anew, four of them
// side by side for each of sixteen channels: these are a column. A window reads its channel's words of four columns.
#ifndef QTORCH_DEPTHWISE_MVE_H_
#define QTORCH_DEPTHWISE_MVE_H_

#include "mve_codes.h"

// Lays out columns.
//
//   rows      of four pixels of the first column, the first of sixteen channels
//   pitches   codes from each to the same one of the next column
//   columns   int8 [count][16][4]
//   depth     channels that there are; of those beyond sixteen none are read, of fewer the rest may be anything
Q_KERNEL void q_mve_columns(const int8_t *const *rows, const int *pitches, int8_t *columns, int count, int depth) {
#if defined(__ARM_FEATURE_MVE)
  const int8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
#define Q_COLUMNS(check, load)                                                                  \
  __asm__ volatile("vctp.8 %[depth]\n\twls lr, %[count], 2f\n1:\n\t"                          \
                   check load " q0, [%[a]]\n\t" load " q1, [%[b]]\n\t"                         \
                   load " q2, [%[c]]\n\t" load " q3, [%[d]]\n\t"                               \
                   "add %[a], %[a], %[e]\n\tadd %[b], %[b], %[f]\n\t"                          \
                   "add %[c], %[c], %[g]\n\tadd %[d], %[d], %[h]\n\t"                          \
                   "vst40.8 {q0, q1, q2, q3}, [%[to]]\n\tvst41.8 {q0, q1, q2, q3}, [%[to]]\n\t" \
                   "vst42.8 {q0, q1, q2, q3}, [%[to]]\n\tvst43.8 {q0, q1, q2, q3}, [%[to]]!\n\t" \
                   "le lr, 1b\n2:"                                                             \
                   : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [to] "+r"(columns)    \
                   : [e] "r"(pitches[0]), [f] "r"(pitches[1]), [g] "r"(pitches[2]), [h] "r"(pitches[3]), \
                     [count] "r"(count), [depth] "r"(depth)                                    \
                   : "lr", "q0", "q1", "q2", "q3", "memory")
  if (depth < 16) {
    Q_COLUMNS("vpstttt\n\t", "vldrbt.8");
  } else {
    Q_COLUMNS("", "vldrb.8");
  }
#undef Q_COLUMNS
#else
  for (int i = 0; i < count; ++i) {
    for (int c = 0; c < depth && c < 16; ++c) {
      for (int r = 0; r < 4; ++r) columns[(i * 16 + c) * 4 + r] = rows[r][i * pitches[r] + c];
    }
  }
#endif
}

#endif  // QTORCH_DEPTHWISE_MVE_H_
