// Codes of 8, 16 and 32 bits for kernels that serve all; width, their bytes, is a constant where a kernel is called.
#ifndef QTORCH_ELEMENT_32_H_
#define QTORCH_ELEMENT_32_H_

#include "element.h"

// The code at index; flash is 1 for a constant.
Q_KERNEL int32_t q_get_32(const void *in, int index, int width, int flash) {
  if (width != 4) return q_get(in, index, width, flash);
  return flash ? q_flash_s32((const int32_t *)in + index) : ((const int32_t *)in)[index];
}

// code has at most 8 * width bits.
Q_KERNEL void q_put_32(void *out, int index, int width, int32_t code) {
  if (width == 4) {
    ((int32_t *)out)[index] = code;
  } else {
    q_put(out, index, width, code);
  }
}

#endif  // QTORCH_ELEMENT_32_H_
