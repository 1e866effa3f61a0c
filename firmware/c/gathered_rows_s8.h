// GATHER of a table's rows. TFLM: micro/kernels/gather.cc, Gather; there an index beyond the table is read all the same.
#ifndef QTORCH_GATHERED_ROWS_S8_H_
#define QTORCH_GATHERED_ROWS_S8_H_

#include "kernel.h"

// indices int32 [count], table int8 [rows][columns] in flash, out int8 [count][columns]. An index of no row is that of
// the nearest.
Q_KERNEL void gathered_rows_s8(const int32_t *indices, const int8_t *table, int8_t *out, int count, int rows,
                               int columns) {
  for (int i = 0; i < count; ++i) {
    const int32_t index = indices[i];
    const int row = index < 0 ? 0 : index >= rows ? rows - 1 : (int)index;
    for (int j = 0; j < columns; ++j) out[i * columns + j] = q_flash_s8(table + (row * columns + j));
  }
}

#endif  // QTORCH_GATHERED_ROWS_S8_H_
