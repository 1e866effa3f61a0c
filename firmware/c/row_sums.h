// Sums of the codes of each channel, row after row of an image, for the means over all its pixels.
#ifndef QTORCH_ROW_SUMS_H_
#define QTORCH_ROW_SUMS_H_

#include "kernel.h"

// Adds a row, int8 [size][depth], to sums, working memory: int32 [depth], of zeros before the first row.
Q_KERNEL void row_sums(const int8_t *in, int size, int depth, int8_t *sums) {
  int32_t *const all = (int32_t *)(void *)sums;
  for (int i = 0; i < size; ++i) {
    for (int c = 0; c < depth; ++c) all[c] += *in++;
  }
}

#endif  // QTORCH_ROW_SUMS_H_
