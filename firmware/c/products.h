// A vector of codes: its sum, and its products with a row of weights.
#ifndef QTORCH_PRODUCTS_H_
#define QTORCH_PRODUCTS_H_

#include "kernel.h"

// The sum of int8 [size].
Q_KERNEL int32_t q_sum_s8(const int8_t *in, int size) {
#if defined(__ARM_FEATURE_MVE)
  register int32_t sum __asm__("r0") = 0;
  __asm__ volatile(
      "wlstp.8 lr, %[size], 2f\n"
      "1:\n\t"
      "vldrb.8 q0, [%[in]], #16\n\t"
      "vaddva.s8 %[sum], q0\n\t"
      "letp lr, 1b\n"
      "2:"
      : [in] "+r"(in), [sum] "+r"(sum)
      : [size] "r"(size)
      : "lr", "q0", "memory");
#else
  int32_t sum = 0;
  int i = 0;
#if defined(__ARM_FEATURE_DSP)
  const uint32_t ones = 0x00010001u;
  for (; i + 4 <= size; i += 4) {
    uint32_t x, even, odd;
    memcpy(&x, in + i, 4);
    __asm__("sxtb16 %0, %1" : "=r"(even) : "r"(x));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(x));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(even), "r"(ones));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(odd), "r"(ones));
  }
#else
  for (; i + 4 <= size; i += 4) sum += in[i] + in[i + 1] + in[i + 2] + in[i + 3];
#endif
  for (; i < size; ++i) sum += in[i];
#endif
  return sum;
}

// sum and the products of in, int8 [size], with a row of weights.
Q_KERNEL int32_t q_products(const int8_t *in, const int8_t *weights, int size, int32_t sum) {
#if defined(__ARM_FEATURE_MVE)
  __asm__ volatile(
      "wlstp.8 lr, %[size], 2f\n"
      "1:\n\t"
      "vldrb.8 q0, [%[in]], #16\n\t"
      "vldrb.8 q1, [%[weights]], #16\n\t"
      "vmladava.s8 %[sum], q0, q1\n\t"
      "letp lr, 1b\n"
      "2:"
      : [in] "+r"(in), [weights] "+r"(weights), [sum] "+Te"(sum)
      : [size] "r"(size)
      : "lr", "q0", "q1", "memory");
#else
  int i = 0;
#if defined(__ARM_FEATURE_DSP)
  for (; i + 4 <= size; i += 4) {
    uint32_t x, w, even, odd, q_even, q_odd;
    memcpy(&x, in + i, 4);
    memcpy(&w, weights + i, 4);
    __asm__("sxtb16 %0, %1" : "=r"(even) : "r"(x));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(x));
    __asm__("sxtb16 %0, %1" : "=r"(q_even) : "r"(w));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(q_odd) : "r"(w));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(even), "r"(q_even));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(odd), "r"(q_odd));
  }
#endif
  for (; i < size; ++i) sum += in[i] * q_flash_s8(weights + i);
#endif
  return sum;
}

#endif  // QTORCH_PRODUCTS_H_
