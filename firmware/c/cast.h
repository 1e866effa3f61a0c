// CAST between whole numbers of other widths: bits are cut off, or the sign is put in front. TFLM: micro/kernels/cast.cc.
#ifndef QTORCH_CAST_H_
#define QTORCH_CAST_H_

#include "element_32.h"

Q_KERNEL void cast(const void *in, void *out, int count, int in_width, int width) {
  for (int i = 0; i < count; ++i) q_put_32(out, i, width, q_get_32(in, i, in_width, 0));
}

#endif  // QTORCH_CAST_H_
