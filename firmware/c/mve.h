// Products of bytes on Cortex-M with vectors (MVE, Helium): eight sums at a time, and the codes of four channels at once.
//
// Weights and constants come in the order in which they are read: for every four output channels blocks of sixteen
// inputs, in each block the four channels one behind the other, and behind the blocks the channels' requantization, four
// numbers a vector. What is filled up, inputs to sixteen and outputs to four, has weights of zero.
#ifndef QTORCH_MVE_H_
#define QTORCH_MVE_H_

#include "mve_codes.h"

#if defined(__ARM_FEATURE_MVE)
// Zero-point and limits are q4 to q6, sums q0 and q1; one constant after the other goes through q2.
#define Q_NEXT(from) "vldrw.32 q2, [" from "], #16\n\t"
#define Q_BOTH(operation, last) operation " q0, q0, " last "\n\t" operation " q1, q1, " last "\n\t"
#define Q_CODES_TIES_UP(from)                                              \
  Q_NEXT(from) Q_BOTH("vadd.i32", "q2") Q_NEXT(from) Q_BOTH("vqrdmulh.s32", "q2") \
  Q_NEXT(from) Q_BOTH("vrshl.s32", "q2")
#define Q_CODES_TIES_AWAY(from)                                            \
  Q_NEXT(from) Q_BOTH("vadd.i32", "q2") Q_NEXT(from) Q_BOTH("vqrdmulh.s32", "q2") \
  "vshr.s32 q2, q0, #31\n\tvadd.i32 q0, q0, q2\n\tvshr.s32 q2, q1, #31\n\tvadd.i32 q1, q1, q2\n\t" \
  Q_NEXT(from) Q_BOTH("vrshl.s32", "q2")
#define Q_CODES_LEFT_TOO(from)                                             \
  Q_NEXT(from) Q_BOTH("vadd.i32", "q2") "vldrw.32 q2, [" from ", #32]\n\t" Q_BOTH("vshl.s32", "q2") \
  Q_NEXT(from) Q_BOTH("vqrdmulh.s32", "q2") "vldrw.32 q2, [" from "], #32\n\t"  \
  "vand q3, q0, q2\n\tvshr.s32 q3, q3, #31\n\tvadd.i32 q0, q0, q3\n\t"     \
  "vand q3, q1, q2\n\tvshr.s32 q3, q3, #31\n\tvadd.i32 q1, q1, q3\n\t"     \
  Q_BOTH("vrshl.s32", "q2")
#define Q_LIMITED Q_BOTH("vqadd.s32", "q4") Q_BOTH("vmax.s32", "q5") Q_BOTH("vmin.s32", "q6")

#define Q_WEIGHT(accumulate, a, b) \
  "vldrb.8 q2, [r5], #16\n\tvmladav" accumulate ".s8 " a ", q0, q2\n\tvmladav" accumulate ".s8 " b ", q1, q2\n\t"
#define Q_TWO_BY_FOUR(accumulate)                                          \
  "vldrb.8 q0, [r11], #16\n\tvldrb.8 q1, [r3], #16\n\t"                     \
  Q_WEIGHT(accumulate, "r0", "r8") Q_WEIGHT(accumulate, "r2", "r10")       \
  Q_WEIGHT(accumulate, "r4", "r12") Q_WEIGHT(accumulate, "r6", "lr")
#define Q_MORE "cmp r11, r9\n\tbeq 3f\n2:\n\t" Q_TWO_BY_FOUR("a") "cmp r11, r9\n\tbne 2b\n3:\n\t"
// r7 may point to the frame: a register of floating point keeps it. d15 holds how many bytes a pixel has and where the
// weights end, s29 where the codes of a pixel end.
#define Q_TWO_PIXELS(kept, codes, stored, back)                                                            \
  __asm__ volatile(kept "vmov s28, r7\n\tmov r7, r0\n\tvmov d15, r2, r4\n\tvmov s29, r12\n\tadd r9, r11, r2\n\t" \
                   "vdup.32 q4, r6\n\tvdup.32 q5, r8\n\tvdup.32 q6, r10\n"                             \
                   "1:\n\t" Q_TWO_BY_FOUR("") Q_MORE                                                   \
                   "vmov q0[2], q0[0], r0, r4\n\tvmov q0[3], q0[1], r2, r6\n\t"                        \
                   "vmov q1[2], q1[0], r8, r12\n\tvmov q1[3], q1[1], r10, lr\n\t"                      \
                   codes("r5") Q_LIMITED stored                                                        \
                   "vmov r0, r2, d15\n\tsubs r11, r11, r0\n\tsubs r3, r3, r0\n\tcmp r5, r2\n\tbne 1b\n\t" \
                   "vmov r7, s28\n\t" back                                                                    \
                   : "+r"(x), "+r"(y), "+r"(w), "+r"(to), "+r"(beside), "+r"(bytes), "+r"(w_end), "+r"(zero), \
                     "+r"(least), "+r"(most), "+r"(to_end)                                             \
                   :                                                                                   \
                   : "r9", "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "cc", "memory")
#define Q_STORED "vstrb.32 q0, [r1], #4\n\tvstrb.32 q1, [r7], #4\n\t"
// Of the last channels those that there are.
#define Q_STORED_TO_END                                  \
  "vmov r0, s29\n\tsubs r0, r0, r1\n\tvctp.32 r0\n\t" \
  "vpstt\n\tvstrbt.32 q0, [r1], #4\n\tvstrbt.32 q1, [r7], #4\n\t"
#define Q_TWO_PIXELS_STORED(codes)           \
  do {                                       \
    if (whole) {                             \
      Q_TWO_PIXELS("", codes, Q_STORED, "");         \
    } else {                                 \
      Q_TWO_PIXELS(Q_PREDICATE_KEPT, codes, Q_STORED_TO_END, Q_PREDICATE_BACK);  \
    }                                        \
  } while (0)
#endif

// The output codes of two pixels, or twice of one.
//
//   first, second  int8 [16 * blocks] each, of which what lies behind a pixel's inputs may be anything
//   form           and whole, whether out_c is a multiple of four, are constants
//   channels       int32 [(out_c + 3) / 4][16 * blocks + 4 * Q_NUMBERS(form)] in flash, as the file's head says
//   out, other     int8 [out_c] each
Q_KERNEL void q_two_pixels(const int8_t *first, const int8_t *second, const int32_t *channels, int form, int whole,
                           int zero_point, int low, int high, int8_t *out, int8_t *other, int out_c, int blocks) {
  const int groups = (out_c + 3) / 4, words = 16 * blocks + 4 * Q_NUMBERS(form);
#if defined(__ARM_FEATURE_MVE)
  register const int8_t *x __asm__("r11") = first;
  register const int8_t *y __asm__("r3") = second;
  register const int32_t *w __asm__("r5") = channels;
  register int8_t *to __asm__("r1") = out;
  register int8_t *beside __asm__("r0") = other;
  register int bytes __asm__("r2") = 16 * blocks;
  register const int32_t *w_end __asm__("r4") = channels + groups * words;
  register int zero __asm__("r6") = zero_point;
  register int least __asm__("r8") = low;
  register int most __asm__("r10") = high;
  register int8_t *to_end __asm__("r12") = out + out_c;
  if (form == Q_TIES_UP) {
    Q_TWO_PIXELS_STORED(Q_CODES_TIES_UP);
  } else if (form == Q_TIES_AWAY) {
    Q_TWO_PIXELS_STORED(Q_CODES_TIES_AWAY);
  } else {
    Q_TWO_PIXELS_STORED(Q_CODES_LEFT_TOO);
  }
#else
  for (int c = 0; c < out_c; ++c) {
    const int32_t *const group = channels + c / 4 * words;
    const int8_t *weight = (const int8_t *)group + c % 4 * 16;
    int32_t sum = 0, beside = 0;
    for (int i = 0; i < 16 * blocks; ++i, weight += i % 16 == 0 ? 48 : 0) {
      sum += first[i] * *weight;
      beside += second[i] * *weight++;
    }
    const int32_t *const channel = group + 16 * blocks + c % 4;
    out[c] = q_lane_code(sum, channel, 4, form, zero_point, low, high);
    other[c] = q_lane_code(beside, channel, 4, form, zero_point, low, high);
  }
  (void)groups;
  (void)whole;
#endif
}

#endif  // QTORCH_MVE_H_
