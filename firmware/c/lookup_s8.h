// Any function of one int8 code by a table of its 256 values, which the export computes with the op's own arithmetic.
#ifndef QTORCH_LOOKUP_S8_H_
#define QTORCH_LOOKUP_S8_H_

#include "kernel.h"

// in int8 [size], table int8 [256] for the codes from -128 on, in flash, out int8 [size], which may be in.
Q_KERNEL void lookup_s8(const int8_t *in, const int8_t *table, int8_t *out, int size) {
#if defined(__ARM_FEATURE_MVE)
  // Sixteen at a time: a code with its first bit turned is its place.
  __asm__ volatile(
      "vmov.i8 q2, #128\n\twlstp.8 lr, %[size], 2f\n"
      "1:\n\t"
      "vldrb.8 q0, [%[in]], #16\n\tveor q0, q0, q2\n\t"
      "vldrb.u8 q1, [%[table], q0]\n\tvstrb.8 q1, [%[out]], #16\n\t"
      "letp lr, 1b\n"
      "2:"
      : [in] "+r"(in), [out] "+r"(out)
      : [size] "r"(size), [table] "r"(table)
      : "lr", "q0", "q1", "q2", "memory");
#else
  for (int i = 0; i < size; ++i) out[i] = q_flash_s8(table + (in[i] + 128));
#endif
}

#endif  // QTORCH_LOOKUP_S8_H_
