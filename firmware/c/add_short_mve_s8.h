// ADD and SUB of int8 tensors of one shape, as in add_short_s8, four codes at a time.
#ifndef QTORCH_ADD_SHORT_MVE_S8_H_
#define QTORCH_ADD_SHORT_MVE_S8_H_

#include "requantize.h"

// in, other and out int8 [size]; out may be one of the others.
Q_KERNEL void add_short_mve_s8(const int8_t *in, const int8_t *other, int8_t *out, int size, int32_t in_factor,
                               int32_t other_factor, int32_t addend, int shift, int low, int high) {
#if defined(__ARM_FEATURE_MVE)
  register const int8_t *a __asm__("r0") = in;
  register const int8_t *b __asm__("r1") = other;
  register int8_t *to __asm__("r2") = out;
  __asm__ volatile(
      "vdup.32 q2, %[low]\n\tvdup.32 q3, %[high]\n\t"
      "wlstp.32 lr, %[size], 2f\n"
      "1:\n\t"
      "vldrb.s32 q0, [r0], #4\n\tvldrb.s32 q1, [r1], #4\n\t"
      "vmul.i32 q0, q0, %[first]\n\tvmla.s32 q0, q1, %[second]\n\t"
      "vadd.i32 q0, q0, %[addend]\n\tvshl.s32 q0, %[shift]\n\t"
      "vmax.s32 q0, q0, q2\n\tvmin.s32 q0, q0, q3\n\t"
      "vstrb.32 q0, [r2], #4\n\t"
      "letp lr, 1b\n"
      "2:"
      : "+r"(a), "+r"(b), "+r"(to)
      : [size] "r"(size), [first] "r"(in_factor), [second] "r"(other_factor), [addend] "r"(addend),
        [shift] "r"(-shift), [low] "r"(low), [high] "r"(high)
      : "lr", "q0", "q1", "q2", "q3", "memory");
#else
  for (int i = 0; i < size; ++i) {
    out[i] = (int8_t)q_clamp((in[i] * in_factor + other[i] * other_factor + addend) >> shift, low, high);
  }
#endif
}

#endif  // QTORCH_ADD_SHORT_MVE_S8_H_
