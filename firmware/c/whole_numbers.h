// ADD, SUB, MUL, MAXIMUM, MINIMUM and DIV of int32 numbers whose shapes broadcast. TFLM: kernels/internal/reference.
#ifndef QTORCH_WHOLE_NUMBERS_H_
#define QTORCH_WHOLE_NUMBERS_H_

#include "broadcast.h"
#include "element_32.h"

// Operands as Q_FOR_EACH_PAIR has them, width 4. operation, a constant: 0 sum, 1 difference, 2 product, which wrap; 3 the
// larger, 4 the smaller; 5 quotient, without its fraction, of a divisor that is not 0.
Q_KERNEL void whole_numbers(const void *in, const void *other, void *out, int width, int in_flash, int other_flash,
                            int n_0, int n_1, int n_2, int n_3, int in_0, int in_1, int in_2, int in_3, int other_0,
                            int other_1, int other_2, int other_3, int operation, int32_t low, int32_t high) {
  Q_FOR_EACH_PAIR {
    const int32_t x = q_get_32(in, a, width, in_flash), y = q_get_32(other, b, width, other_flash);
    int32_t found;
    if (operation == 0) {
      found = (int32_t)((uint32_t)x + (uint32_t)y);
    } else if (operation == 1) {
      found = (int32_t)((uint32_t)x - (uint32_t)y);
    } else if (operation == 2) {
      found = (int32_t)((uint32_t)x * (uint32_t)y);
    } else if (operation == 3) {
      found = x > y ? x : y;
    } else if (operation == 4) {
      found = x < y ? x : y;
    } else {
      found = y == -1 ? (int32_t)(0u - (uint32_t)x) : x / y;
    }
    q_put_32(out, at, width, found < low ? low : found > high ? high : found);
  }
}

#endif  // QTORCH_WHOLE_NUMBERS_H_
