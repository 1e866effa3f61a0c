// How many bits a number takes.
#ifndef QTORCH_BIT_LENGTH_H_
#define QTORCH_BIT_LENGTH_H_

#include "kernel.h"

Q_KERNEL int q_bit_length(uint32_t x) {
#if defined(__GNUC__) && !defined(__AVR__)
  return x ? 32 - __builtin_clz(x) : 0;
#else
  int found = 0;
  for (; x; x >>= 1) ++found;
  return found;
#endif
}

#endif  // QTORCH_BIT_LENGTH_H_
