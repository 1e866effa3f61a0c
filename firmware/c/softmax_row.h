// SOFTMAX of a row of int8 codes. TFLM: kernels/internal/reference/softmax.h.
#ifndef QTORCH_SOFTMAX_ROW_H_
#define QTORCH_SOFTMAX_ROW_H_

#include "bit_length.h"
#include "element.h"
#include "gemmlowp.h"
#include "requantize.h"

// The largest of int8 [size].
Q_KERNEL int q_largest_s8(const int8_t *in, int size) {
#if defined(__ARM_FEATURE_MVE)
  register int32_t most __asm__("r0") = -128;
  __asm__ volatile(
      "wlstp.8 lr, %[size], 2f\n"
      "1:\n\t"
      "vldrb.8 q0, [%[in]], #16\n\tvmaxv.s8 %[most], q0\n\t"
      "letp lr, 1b\n"
      "2:"
      : [in] "+r"(in), [most] "+r"(most)
      : [size] "r"(size)
      : "lr", "q0", "memory");
  return (int8_t)most;
#else
  int most = in[0];
  for (int i = 1; i < size; ++i) most = in[i] > most ? in[i] : most;
  return most;
#endif
}

// Sum of a row's exponentials, Q12.19.
Q_KERNEL int32_t q_sum_of_exponentials(const int8_t *in, const int32_t *exponentials, int size, int terms, int most) {
#if defined(__ARM_FEATURE_MVE)
  register int32_t total __asm__("r0") = 0;
  __asm__ volatile(
      "vdup.32 q1, %[most]\n\t"
      "wlstp.32 lr, %[size], 2f\n"
      "1:\n\t"
      "vldrb.s32 q0, [%[in]], #4\n\tvsub.i32 q0, q1, q0\n\t"
      "vpttt.s32 lt, q0, %[terms]\n\t"
      "vldrwt.u32 q2, [%[table], q0, uxtw #2]\n\tvrshrt.s32 q2, q2, #12\n\tvaddvat.s32 %[total], q2\n\t"
      "letp lr, 1b\n"
      "2:"
      : [in] "+l"(in), [total] "+r"(total)
      : [size] "r"(size), [terms] "r"(terms), [most] "r"(most), [table] "r"(exponentials)
      : "lr", "q0", "q1", "q2", "memory");
  return total;
#else
  uint32_t total = 0;
  for (int i = 0; i < size; ++i) {
    if (most - in[i] < terms) total += ((uint32_t)q_flash_s32(exponentials + (most - in[i])) + 2048) >> 12;
  }
  return (int32_t)total;
#endif
}

//   in            int8 [size]
//   exponentials  int32 [terms], Q0.31, in flash: of the difference from the row's largest code, 0, -1, ...; what lies
//                 further below counts as nothing
//   out           [size], int8 or int16 by its width, from its type's least code on; of int8 it may be in
Q_KERNEL void q_softmax_row(const int8_t *in, const int32_t *exponentials, void *out, int width, int size, int terms) {
  const int most = q_largest_s8(in, size);
  const uint32_t total = (uint32_t)q_sum_of_exponentials(in, exponentials, size, terms, most);
  // The sum as 2^bits * (1 + fraction), the fraction in Q0.31.
  const int headroom = 32 - q_bit_length(total);
  const int32_t scale = q_one_over_one_plus((int32_t)((total << headroom) - 0x80000000u));
  // Each share is rounded twice, to Q0.31 and to a code: one sum before a shift, which is 46 bits at least.
  const int shift = 12 - headroom + 31 - 8 * width;
  const int32_t least = width == 1 ? -128 : INT16_MIN;
#if defined(__ARM_FEATURE_MVE)
  // Of what counts as nothing q2 stays 0.
#define Q_SHARES(store)                                                                                    \
  __asm__ volatile(                                                                                        \
      "vdup.32 q1, %[most]\n\tvdup.32 q3, %[greatest]\n\t"                                                 \
      "wlstp.32 lr, %[size], 2f\n"                                                                         \
      "1:\n\t"                                                                                             \
      "vldrb.s32 q0, [%[in]], #4\n\tvsub.i32 q0, q1, q0\n\tvmov.i32 q2, #0\n\t"                            \
      "vpttt.s32 lt, q0, %[terms]\n\t"                                                                     \
      "vldrwt.u32 q2, [%[table], q0, uxtw #2]\n\tvqrdmulht.s32 q2, q2, %[scale]\n\tvrshlt.s32 q2, %[shift]\n\t" \
      "vadd.i32 q2, q2, %[least]\n\tvmin.s32 q2, q2, q3\n\t" store                                         \
      "letp lr, 1b\n"                                                                                      \
      "2:"                                                                                                 \
      : [in] "+l"(in), [to] "+l"(to)                                                                       \
      : [size] "r"(size), [terms] "r"(terms), [most] "r"(most), [table] "r"(exponentials), [scale] "r"(scale), \
        [shift] "r"(-shift), [least] "r"(least), [greatest] "r"(-1 - least)                                \
      : "lr", "q0", "q1", "q2", "q3", "memory")
  int8_t *to = (int8_t *)out;
  if (width == 1) {
    Q_SHARES("vstrb.32 q2, [%[to]], #4\n\t");
  } else {
    Q_SHARES("vstrh.32 q2, [%[to]], #8\n\t");
  }
#undef Q_SHARES
#else
  const int32_t half = (int32_t)1 << (shift - 2);
  for (int i = 0; i < size; ++i) {
    int32_t code = least;
    if (most - in[i] < terms) {
      code += q_high_word(scale, q_flash_s32(exponentials + (most - in[i])), half, (uint32_t)1 << 30) >> (shift - 1);
    }
    q_put(out, i, width, code > -1 - least ? -1 - least : code);
  }
#endif
}

#endif  // QTORCH_SOFTMAX_ROW_H_
