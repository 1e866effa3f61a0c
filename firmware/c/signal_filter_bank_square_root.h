// SignalFilterBankSquareRoot. TFLM: signal/src/square_root_64.cc, signal/src/square_root_32.cc.
#ifndef QTORCH_SIGNAL_FILTER_BANK_SQUARE_ROOT_H_
#define QTORCH_SIGNAL_FILTER_BANK_SQUARE_ROOT_H_

#include "bit_length.h"

// Roots bit by bit, the greatest first, and one more if what is left is above half of what that would take.
Q_KERNEL uint32_t q_root_32(uint32_t x) {
  uint32_t root = 0;
  for (uint32_t bit = x ? (uint32_t)1 << ((q_bit_length(x) - 1) & ~1) : 0; bit; bit >>= 2) {
    const uint32_t more = root + bit;
    root >>= 1;
    if (x >= more) {
      x -= more;
      root += bit;
    }
  }
  return root + (x > root && root != UINT16_MAX);
}

Q_KERNEL uint32_t q_root_64(uint64_t x) {
  const uint32_t high = (uint32_t)(x >> 32);
  uint64_t root = 0;
  if (!high) return q_root_32((uint32_t)x);
  for (uint64_t bit = (uint64_t)1 << ((q_bit_length(high) + 31) & ~1); bit; bit >>= 2) {
    const uint64_t more = root + bit;
    root >>= 1;
    if (x >= more) {
      x -= more;
      root += bit;
    }
  }
  return (uint32_t)(root + (x > root && root != UINT32_MAX));
}

//   in       uint64 [rows][channels], wherever it begins
//   shifts   [rows], of which five bits are read
//   out      [rows][channels]
Q_KERNEL void signal_filter_bank_square_root(const void *in, const int32_t *shifts, uint32_t *out, int rows,
                                             int channels) {
  const char *from = (const char *)in;
  for (int row = 0; row < rows; ++row) {
    for (int channel = 0; channel < channels; ++channel, from += 8) {
      uint64_t x;
      memcpy(&x, from, 8);
      *out++ = q_root_64(x) >> (shifts[row] & 31);
    }
  }
}

#endif  // QTORCH_SIGNAL_FILTER_BANK_SQUARE_ROOT_H_
