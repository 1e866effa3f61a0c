// Two products in one multiplication, on Cortex-M with DSP instructions: four rows of weights with the same codes.
#ifndef QTORCH_FOUR_ROWS_H_
#define QTORCH_FOUR_ROWS_H_

#include "kernel.h"

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
#define Q_FOUR_ROWS

// The even and the odd ones of four codes come as halfwords of r9 and r10, those of four weights of r11 and lr. All
// registers but r7, which may point to the frame, are taken; left to itself, the compiler may not find that out.
#define Q_ROW(sum, load)                  \
  load                                    \
  "sxtb16 r11, lr\n\t"                    \
  "sxtb16 lr, lr, ror #8\n\t"             \
  "smlad " sum ", r9, r11, " sum "\n\t"   \
  "smlad " sum ", r10, lr, " sum "\n\t"
#define Q_ROWS(codes)                                  \
  codes                                                \
  Q_ROW("r5", "ldr lr, [r1, r2]\n\t")                  \
  Q_ROW("r6", "ldr lr, [r1, r2, lsl #1]\n\t")          \
  Q_ROW("r8", "ldr lr, [r1, r12]\n\t")                 \
  Q_ROW("r4", "ldr lr, [r1], #4\n\t")
#define Q_ROWS_OF_8 Q_ROWS("ldr r10, [r0], #4\n\tsxtb16 r9, r10\n\tsxtb16 r10, r10, ror #8\n\t")
#define Q_ROWS_OF_16                                          \
  Q_ROWS("ldr r10, [r0], #4\n\tldr r11, [r0], #4\n\t"         \
         "pkhbt r9, r10, r11, lsl #16\n\tpkhtb r10, r11, r10, asr #16\n\t")
#define Q_ROWS_LOOP(fours)                                                          \
  __asm__ volatile("1:\n\t" fours "cmp r0, r3\n\tbne 1b"                           \
                   : "+r"(x), "+r"(weight), "+r"(a), "+r"(b), "+r"(c), "+r"(d)      \
                   : "r"(second), "r"(fourth), "r"(end)                             \
                   : "r9", "r10", "r11", "lr", "cc", "memory")

// Adds to each of four sums the products of in, int8 or int16 [size], with its row of weights, int8; rows begin row bytes
// behind each other.
//
//   bytes  of a code
//   size   a multiple of four, not 0
Q_KERNEL void q_four_rows(const void *in, int bytes, const int8_t *weights, int row, int size, int32_t *sums) {
  register const void *x __asm__("r0") = in;
  register const int8_t *weight __asm__("r1") = weights;
  register int second __asm__("r2") = row;
  register const void *end __asm__("r3") = (const int8_t *)in + bytes * size;
  register int fourth __asm__("r12") = 3 * row;
  register int32_t a __asm__("r4") = sums[0];
  register int32_t b __asm__("r5") = sums[1];
  register int32_t c __asm__("r6") = sums[2];
  register int32_t d __asm__("r8") = sums[3];
  if (bytes == 2) {
    Q_ROWS_LOOP(Q_ROWS_OF_16);
  } else if (size % 8 == 0) {
    Q_ROWS_LOOP(Q_ROWS_OF_8 Q_ROWS_OF_8);
  } else {
    Q_ROWS_LOOP(Q_ROWS_OF_8);
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}
#undef Q_ROWS_LOOP
#undef Q_ROWS_OF_16
#undef Q_ROWS_OF_8
#undef Q_ROWS
#undef Q_ROW
#endif

#endif  // QTORCH_FOUR_ROWS_H_
