// A product of two numbers without sign in 64 bits.
#ifndef QTORCH_UNSIGNED_PRODUCT_H_
#define QTORCH_UNSIGNED_PRODUCT_H_

#include "kernel.h"

Q_ONCE uint64_t q_unsigned_product(uint32_t a, uint32_t b) {
#if defined(Q_SHORT_PRODUCTS)
  // Of halves, as q_long_product. No sum below leaves its type.
  const uint32_t a0 = a & 0xffff, a1 = a >> 16, b0 = b & 0xffff, b1 = b >> 16, low = a0 * b0;
  const uint32_t middle = a1 * b0 + (low >> 16), lower = a0 * b1 + (middle & 0xffff);
  const uint32_t high = a1 * b1 + (middle >> 16) + (lower >> 16);
  return (uint64_t)high << 32 | (lower << 16 | (low & 0xffff));
#else
  return (uint64_t)a * b;
#endif
}

#endif  // QTORCH_UNSIGNED_PRODUCT_H_
