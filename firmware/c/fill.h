// One code everywhere: what PAD and PADV2 put around a tensor, which is copied in afterwards.
#ifndef QTORCH_FILL_H_
#define QTORCH_FILL_H_

#include "element_32.h"

// out [size], of width bytes each.
Q_KERNEL void fill(void *out, int code, int size, int width) {
  if (width == 1) {
    memset(out, code, (size_t)size);
  } else {
    for (int i = 0; i < size; ++i) q_put_32(out, i, width, code);
  }
}

#endif  // QTORCH_FILL_H_
