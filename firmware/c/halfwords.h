// Codes and weights in halfwords, two in a word, for the multiplications of the DSP extension.
#ifndef QTORCH_HALFWORDS_H_
#define QTORCH_HALFWORDS_H_

#include "requantize.h"

// sum and the products of both halfwords.
Q_KERNEL uint32_t q_two_products(uint32_t x, uint32_t w, uint32_t sum) {
#if defined(__ARM_FEATURE_DSP)
  __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(x), "r"(w));
  return sum;
#else
  const int32_t low = (int32_t)(int16_t)(x & 0xffff) * (int16_t)(w & 0xffff);
  const int32_t high = (int32_t)(int16_t)(x >> 16) * (int16_t)(w >> 16);
  return sum + (uint32_t)low + (uint32_t)high;
#endif
}

Q_KERNEL uint32_t q_two_codes(int32_t low, int32_t high) { return ((uint32_t)low & 0xffff) | (uint32_t)high << 16; }

// The first and the third of four codes in halfwords, or the second and the fourth.
Q_KERNEL uint32_t q_alternate_codes(const int8_t *in, int odd) {
#if defined(__ARM_FEATURE_DSP)
  uint32_t x;
  memcpy(&x, in, 4);
  if (odd) {
    __asm__("sxtb16 %0, %0, ror #8" : "+r"(x));
  } else {
    __asm__("sxtb16 %0, %0" : "+r"(x));
  }
  return x;
#else
  return q_two_codes(in[odd], in[odd + 2]);
#endif
}

#endif  // QTORCH_HALFWORDS_H_
