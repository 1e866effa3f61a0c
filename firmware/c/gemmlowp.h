// Fixed-point functions as gemmlowp's fixedpoint.h computes them. Qm.n is an int32 that stands for raw / 2^n.
#ifndef QTORCH_GEMMLOWP_H_
#define QTORCH_GEMMLOWP_H_

#include "kernel.h"

// Qa.* times Qb.* is Q(a+b).*: the high half of the doubled product, ties towards plus infinity (SQRDMULH).
Q_KERNEL int32_t q_multiply(int32_t a, int32_t b) {
  return (int32_t)((q_long_product(a, b) + ((int64_t)1 << 30)) >> 31);
}

// x / 2^exponent, ties away from zero; exponent from 0 to 31.
Q_KERNEL int32_t q_divide_by_power_of_two(int32_t x, int exponent) {
  const int64_t half = ((int64_t)1 << exponent) >> 1;
  return (int32_t)(x < 0 ? -((half - x) >> exponent) : ((x + half) >> exponent));
}

// x * 2^bits held to int32.
Q_KERNEL int32_t q_saturating_shift_left(int32_t x, int bits) {
  const int64_t found = (int64_t)((uint64_t)(int64_t)x << bits);
  return found > INT32_MAX ? INT32_MAX : found < INT32_MIN ? INT32_MIN : (int32_t)found;
}

// 1 / ((1 + a) / 2) of Q0.31 in [0, 1], in Q2.29: three steps of Newton's method from a straight line. gemmlowp holds the
// steps to int32; none of any a leaves it.
Q_KERNEL int32_t q_reciprocal_of_half_sum(int32_t a) {
  const int32_t half = (int32_t)(((uint32_t)a + 0x80000000u) >> 1);
  int32_t x = 1515870810 + q_multiply(half, -1010580540);
  for (int step = 0; step < 3; ++step) x += 4 * q_multiply(x, ((int32_t)1 << 29) - q_multiply(half, x));
  return x;
}

// 1 / (1 + a) of Q0.31 in [0, 1], in Q0.31: held to int32 where it is 1.
Q_KERNEL int32_t q_one_over_one_plus(int32_t a) {
  const int32_t half = q_reciprocal_of_half_sum(a);
  return half >= (int32_t)1 << 30 ? INT32_MAX : 2 * half;
}

#endif  // QTORCH_GEMMLOWP_H_
