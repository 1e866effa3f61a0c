// Codes of four sums at once, on Cortex-M with vectors (MVE, Helium).
#ifndef QTORCH_MVE_CODES_H_
#define QTORCH_MVE_CODES_H_

#include "kernel.h"

// How sums become codes, and the numbers of each channel that are in flash for it. All are exact: VQRDMULH rounds as
// TFLite Micro's first rounding does, (sum * mantissa + 2^30) >> 31, and VRSHL rounds ties of the right shift up.
//
// Q_TIES_UP: bias, mantissa, shift (negative: to the right). Where an activation cuts off everything below the zero
//     point: a tie of a negative number is below it either way.
// Q_TIES_AWAY: the same. A negative number loses one before it is shifted, so that its ties go down; shifts are -1 at
//     most.
// Q_LEFT_TOO: bias, mantissa, shift to the right, shift to the left; either of them, or both, are 0.
#define Q_TIES_UP 0
#define Q_TIES_AWAY 1
#define Q_LEFT_TOO 2
#define Q_NUMBERS(form) ((form) == Q_LEFT_TOO ? 4 : 3)

// There once for all layers: what it does takes so long that handing over sizes costs nothing.
#if defined(__GNUC__)
#define Q_SHARED static __attribute__((noinline, unused))
#else
#define Q_SHARED static
#endif

// The function of a kernel for a form, and for weights of 8 bits or of 4.
#define Q_OF_BITS(kernel, form) (weight_bits == 4 ? kernel##_s4_##form : kernel##_##form)

// Compilers keep predicates in a register that no list of clobbers can name.
#define Q_PREDICATE_KEPT "vmrs lr, p0\n\tpush {lr}\n\t"
#define Q_PREDICATE_BACK "pop {lr}\n\tvmsr p0, lr\n\t"

// The code of a sum with its bias, as one lane of the vectors computes it; mantissa points to the first of a channel's
// numbers behind the bias, the others are step words apart.
Q_KERNEL int8_t q_lane_code(int32_t sum, const int32_t *mantissa, int step, int form, int zero_point, int low,
                            int high) {
  int32_t x = sum;
  if (form == Q_LEFT_TOO) x = (int32_t)((uint32_t)x << mantissa[2 * step]);
  int32_t scaled = (int32_t)(((int64_t)x * *mantissa + ((int64_t)1 << 30)) >> 31);
  const int32_t right = -mantissa[step];
  if (form == Q_TIES_AWAY || (form == Q_LEFT_TOO && right > 0)) scaled -= scaled < 0;
  const int64_t rounded = right > 0 ? ((int64_t)scaled + ((int64_t)1 << (right - 1))) >> right : scaled;
  const int64_t code = rounded + zero_point;
  return (int8_t)(code < low ? low : code > high ? high : code);
}

#endif  // QTORCH_MVE_CODES_H_
