// Products of bytes on Cortex-M with vectors (MVE, Helium): eight sums at a time, and codes of four channels at once.
//
// Numbers come in the order in which they are read: for every four output channels their biases; their weights, blocks
// of sixteen inputs, in each block the four channels one behind the other; and the other numbers of their
// requantization, four a vector. What is filled up, inputs to sixteen and outputs to four, is zero.
//
// Of weights of 4 bits a byte is that of a first channel and 16 times that of the second: whole bytes give 16 times the
// second one's sum and once the first one's, and bytes whose low half has gone up 16 times the first one's alone. So
// nothing is unpacked, and a block takes as many instructions as one of bytes. Biases are such sums too.
#ifndef QTORCH_MVE_H_
#define QTORCH_MVE_H_

#include "mve_codes.h"

// Words of four channels.
#define Q_FOUR_CHANNELS(weight_bits, form, blocks) (2 * (weight_bits) * (blocks) + 4 * Q_NUMBERS(form))

#if defined(__ARM_FEATURE_MVE)
// Codes of q0 and q1, of which either has numbers of its own at an address; the vectors go through q2. Zero point and
// limits are q4 to q6.
#define Q_NEXT(from) "vldrw.32 q2, [" from "], #16\n\t"
#define Q_BOTH(operation, last) operation " q0, q0, " last "\n\t" operation " q1, q1, " last "\n\t"
#define Q_AWAY(sums, shifts) "vshr.s32 q2, " sums ", #31\n\tvadd.i32 " sums ", " sums ", q2\n\t"
#define Q_LEFT(sums, from)                                                                                     \
  "vldrw.32 q2, [" from ", #32]\n\tvshl.s32 " sums ", " sums ", q2\n\t" Q_NEXT(from)                           \
  "vqrdmulh.s32 " sums ", " sums ", q2\n\tvldrw.32 q2, [" from "], #32\n\tvand q3, " sums ", q2\n\t"            \
  "vshr.s32 q3, q3, #31\n\tvadd.i32 " sums ", " sums ", q3\n\tvrshl.s32 " sums ", " sums ", q2\n\t"
// Both with the numbers at r5.
#define Q_ALIKE_UP Q_NEXT("r5") Q_BOTH("vqrdmulh.s32", "q2") Q_NEXT("r5") Q_BOTH("vrshl.s32", "q2")
#define Q_ALIKE_AWAY                                                                                           \
  Q_NEXT("r5") Q_BOTH("vqrdmulh.s32", "q2") Q_AWAY("q0", "q2") Q_AWAY("q1", "q2") Q_NEXT("r5")                 \
  Q_BOTH("vrshl.s32", "q2")
#define Q_ALIKE_LEFT Q_LEFT("q0", "r5") "subs r5, r5, #48\n\t" Q_LEFT("q1", "r5")
// q1 with those at r3.
#define Q_EACH(operation)                                     \
  Q_NEXT("r5") operation " q0, q0, q2\n\t" Q_NEXT("r3") operation " q1, q1, q2\n\t"
#define Q_EACH_UP Q_EACH("vqrdmulh.s32") Q_EACH("vrshl.s32")
#define Q_EACH_AWAY Q_EACH("vqrdmulh.s32") Q_AWAY("q0", "q2") Q_AWAY("q1", "q2") Q_EACH("vrshl.s32")
#define Q_EACH_LEFT Q_LEFT("q0", "r5") Q_LEFT("q1", "r3")
#define Q_LIMITED Q_BOTH("vqadd.s32", "q4") Q_BOTH("vmax.s32", "q5") Q_BOTH("vmin.s32", "q6")

// Products of a block: of two pixels, at r11 and r3, with the weights of four channels at r5; of one pixel with those
// of four channels at r5, and of four more at r3.
#define Q_ADDED(codes, sum) "vmladava.s8 " sum ", " codes ", q2\n\t"
#define Q_WEIGHTS(from) "vldrb.8 q2, [" from "], #16\n\t"
#define Q_TWO_BY_FOUR                                                      \
  "vldrb.8 q0, [r11], #16\n\tvldrb.8 q1, [r3], #16\n\t"                    \
  Q_WEIGHTS("r5") Q_ADDED("q0", "r0") Q_ADDED("q1", "r8")                  \
  Q_WEIGHTS("r5") Q_ADDED("q0", "r2") Q_ADDED("q1", "r10")                 \
  Q_WEIGHTS("r5") Q_ADDED("q0", "r4") Q_ADDED("q1", "r12")                 \
  Q_WEIGHTS("r5") Q_ADDED("q0", "r6") Q_ADDED("q1", "lr")
#define Q_ONE_BY_EIGHT                                                                           \
  "vldrb.8 q0, [r11], #16\n\t"                                                                   \
  Q_WEIGHTS("r5") Q_ADDED("q0", "r0") Q_WEIGHTS("r3") Q_ADDED("q0", "r8")                        \
  Q_WEIGHTS("r5") Q_ADDED("q0", "r2") Q_WEIGHTS("r3") Q_ADDED("q0", "r10")                       \
  Q_WEIGHTS("r5") Q_ADDED("q0", "r4") Q_WEIGHTS("r3") Q_ADDED("q0", "r12")                       \
  Q_WEIGHTS("r5") Q_ADDED("q0", "r6") Q_WEIGHTS("r3") Q_ADDED("q0", "lr")
// The same of weights of 4 bits.
#define Q_LOW_HALVES "vshl.i8 q2, q2, #4\n\t"
#define Q_TWO_BY_TWO_S4(first, second, other_first, other_second)                        \
  Q_WEIGHTS("r5") Q_ADDED("q0", second) Q_ADDED("q1", other_second)                      \
  Q_LOW_HALVES Q_ADDED("q0", first) Q_ADDED("q1", other_first)
#define Q_TWO_BY_FOUR_S4                                                                 \
  "vldrb.8 q0, [r11], #16\n\tvldrb.8 q1, [r3], #16\n\t"                                  \
  Q_TWO_BY_TWO_S4("r0", "r2", "r8", "r10") Q_TWO_BY_TWO_S4("r4", "r6", "r12", "lr")
#define Q_ONE_BY_TWO_S4(from, first, second) \
  Q_WEIGHTS(from) Q_ADDED("q0", second) Q_LOW_HALVES Q_ADDED("q0", first)
#define Q_ONE_BY_EIGHT_S4                                                                \
  "vldrb.8 q0, [r11], #16\n\t"                                                           \
  Q_ONE_BY_TWO_S4("r5", "r0", "r2") Q_ONE_BY_TWO_S4("r3", "r8", "r10")                   \
  Q_ONE_BY_TWO_S4("r5", "r4", "r6") Q_ONE_BY_TWO_S4("r3", "r12", "lr")
// All sums 16 times what they are, and then once.
#define Q_PARTED                                                                         \
  "sub r2, r2, r0, asr #4\n\tsub r6, r6, r4, asr #4\n\t"                                 \
  "sub r10, r10, r8, asr #4\n\tsub lr, lr, r12, asr #4\n\t"
#define Q_ONCE_EACH "vshr.s32 q0, q0, #4\n\tvshr.s32 q1, q1, #4\n\t"
#define Q_FOUR_OF(block) block block block block
#define Q_FOUR_BIASES "ldrd r0, r2, [r5], #8\n\tldrd r4, r6, [r5], #8\n\t"
#define Q_SAME_BIASES Q_FOUR_BIASES "ldrd r8, r10, [r5, #-16]\n\tldrd r12, lr, [r5, #-8]\n\t"
#define Q_EIGHT_BIASES Q_FOUR_BIASES "ldrd r8, r10, [r3], #8\n\tldrd r12, lr, [r3], #8\n\t"

#define Q_STORED "vstrb.32 q0, [r1], #4\n\tvstrb.32 q1, [r7], #4\n\t"
// Of the last channels those that there are.
#define Q_STORED_ALIKE \
  "vmov r0, s29\n\tsubs r0, r0, r1\n\tvctp.32 r0\n\tvpstt\n\tvstrbt.32 q0, [r1], #4\n\tvstrbt.32 q1, [r7], #4\n\t"
#define Q_STORED_EACH                                                                                      \
  "vmov r0, s29\n\tsubs r2, r0, r1\n\tvctp.32 r2\n\tvpst\n\tvstrbt.32 q0, [r1], #4\n\t"                   \
  "subs r0, r0, r7\n\tvctp.32 r0\n\tvpst\n\tvstrbt.32 q1, [r7], #4\n\t"
#define Q_TO_NEXT "subs r11, r11, r0\n\tsubs r3, r3, r0\n\tcmp r5, r2\n\t"
#define Q_TO_NEXT_EIGHT "subs r11, r11, r0\n\tcmp r3, r2\n\t"
// r7 may point to the frame: a register of floating point keeps it. d15 holds how many bytes a pixel has and where the
// weights end, s29 where codes end.
#define Q_SUMS(kept, biases, products, apart, codes, stored, next, back)                                             \
  __asm__ volatile(kept "vmov s28, r7\n\tmov r7, r0\n\tvmov d15, r2, r4\n\tvmov s29, r12\n\tadd r9, r11, r2\n\t" \
                   "vdup.32 q4, r6\n\tvdup.32 q5, r8\n\tvdup.32 q6, r10\n"                                     \
                   "1:\n\t" biases "2:\n\t" products "cmp r11, r9\n\tbne 2b\n\t" apart                         \
                   "vmov q0[2], q0[0], r0, r4\n\tvmov q0[3], q0[1], r2, r6\n\t"                                \
                   "vmov q1[2], q1[0], r8, r12\n\tvmov q1[3], q1[1], r10, lr\n\t"                              \
                   codes Q_LIMITED stored "vmov r0, r2, d15\n\t" next "bne 1b\n\t"                             \
                   "vmov r7, s28\n\t" back                                                                     \
                   : "+r"(x), "+r"(y), "+r"(w), "+r"(to), "+r"(beside), "+r"(bytes), "+r"(w_end), "+r"(zero),  \
                     "+r"(least), "+r"(most), "+r"(to_end)                                                     \
                   :                                                                                           \
                   : "r9", "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "cc", "memory")
#define Q_TWO_PIXELS_BY(products, apart, codes)                                                                       \
  do {                                                                                                                \
    if (whole) {                                                                                                      \
      Q_SUMS("", Q_SAME_BIASES, products, apart, codes, Q_STORED, Q_TO_NEXT, "");                                     \
    } else {                                                                                                          \
      Q_SUMS(Q_PREDICATE_KEPT, Q_SAME_BIASES, products, apart, codes, Q_STORED_ALIKE, Q_TO_NEXT, Q_PREDICATE_BACK);   \
    }                                                                                                                 \
  } while (0)
// Several blocks in one go: three where a window of 3x3 pixels fills them, four where channels do.
#define Q_TWO_PIXELS_OF(block, apart, codes)             \
  do {                                                   \
    if (blocks % together != 0) {                        \
      Q_TWO_PIXELS_BY(block, apart, codes);              \
    } else if (together == 3) {                          \
      Q_TWO_PIXELS_BY(block block block, apart, codes);  \
    } else {                                             \
      Q_TWO_PIXELS_BY(Q_FOUR_OF(block), apart, codes);   \
    }                                                    \
  } while (0)
#define Q_TWO_PIXELS(codes)                                             \
  do {                                                                  \
    if (weight_bits == 4) {                                             \
      Q_TWO_PIXELS_OF(Q_TWO_BY_FOUR_S4, Q_PARTED, Q_ONCE_EACH codes);    \
    } else {                                                            \
      Q_TWO_PIXELS_OF(Q_TWO_BY_FOUR, "", codes);                        \
    }                                                                   \
  } while (0)
#define Q_ONE_PIXEL_BY(products, apart, codes)                                                                         \
  do {                                                                                                                 \
    if (whole) {                                                                                                       \
      Q_SUMS("", Q_EIGHT_BIASES, products, apart, codes, Q_STORED, Q_TO_NEXT_EIGHT, "");                               \
    } else {                                                                                                           \
      Q_SUMS(Q_PREDICATE_KEPT, Q_EIGHT_BIASES, products, apart, codes, Q_STORED_EACH, Q_TO_NEXT_EIGHT,                 \
             Q_PREDICATE_BACK);                                                                                        \
    }                                                                                                                  \
  } while (0)
#define Q_ONE_PIXEL_OF(block, apart, codes)             \
  do {                                                  \
    if (blocks % 4 == 0) {                              \
      Q_ONE_PIXEL_BY(Q_FOUR_OF(block), apart, codes);   \
    } else {                                            \
      Q_ONE_PIXEL_BY(block, apart, codes);              \
    }                                                   \
  } while (0)
#define Q_ONE_PIXEL(codes)                                              \
  do {                                                                  \
    if (weight_bits == 4) {                                             \
      Q_ONE_PIXEL_OF(Q_ONE_BY_EIGHT_S4, Q_PARTED, Q_ONCE_EACH codes);    \
    } else {                                                            \
      Q_ONE_PIXEL_OF(Q_ONE_BY_EIGHT, "", codes);                        \
    }                                                                   \
  } while (0)
#else
// The output codes of a pixel.
Q_KERNEL void q_pixel(const int8_t *in, int weight_bits, const int32_t *channels, int form, int zero_point, int low,
                      int high, int8_t *out, int out_c, int blocks) {
  const int width = 2 * weight_bits;  // bytes of a channel's weights in a block
  for (int c = 0; c < out_c; ++c) {
    const int32_t *const bias = channels + c / 4 * Q_FOUR_CHANNELS(weight_bits, form, blocks) + c % 4;
    const int32_t *const mantissa = bias + 4 + weight_bits * 2 * blocks;
    const int8_t *weight = (const int8_t *)(bias - c % 4 + 4) + (weight_bits == 4 ? c % 4 / 2 * 16 : c % 4 * 16);
    int32_t sum = *bias;
    if (weight_bits == 4 && c % 2 == 1) sum -= bias[-1] / 16;
    if (weight_bits == 4) sum /= 16;
    for (int i = 0; i < 16 * blocks; ++i, weight += i % 16 == 0 ? 4 * width - 15 : 1) {
      const int second = (*weight + 8) >> 4, first = *weight - 16 * second;
      sum += in[i] * (weight_bits == 8 ? *weight : c % 2 == 1 ? second : first);
    }
    out[c] = q_lane_code(sum, mantissa, 4, form, zero_point, low, high);
  }
}
#endif

// The output codes of two pixels, or twice of one.
//
//   first, second  int8 [16 * blocks] each, of which what lies behind a pixel's inputs may be anything
//   weight_bits, form, whole, together  are constants: 8 or 4; whether out_c is a multiple of four; and how many blocks
//                  are taken in one go where they are a multiple of it, 3 or 4
//   channels       int32 [(out_c + 3) / 4][Q_FOUR_CHANNELS(weight_bits, form, blocks)] in flash, as the head says
//   out, other     int8 [out_c] each
Q_KERNEL void q_two_pixels(const int8_t *first, const int8_t *second, int weight_bits, const int32_t *channels,
                           int form, int whole, int together, int zero_point, int low, int high, int8_t *out,
                           int8_t *other, int out_c, int blocks) {
#if defined(__ARM_FEATURE_MVE)
  register const int8_t *x __asm__("r11") = first;
  register const int8_t *y __asm__("r3") = second;
  register const int32_t *w __asm__("r5") = channels;
  register int8_t *to __asm__("r1") = out;
  register int8_t *beside __asm__("r0") = other;
  register int bytes __asm__("r2") = 16 * blocks;
  register const int32_t *w_end __asm__("r4") = channels + (out_c + 3) / 4 * Q_FOUR_CHANNELS(weight_bits, form, blocks);
  register int zero __asm__("r6") = zero_point;
  register int least __asm__("r8") = low;
  register int most __asm__("r10") = high;
  register int8_t *to_end __asm__("r12") = out + out_c;
  if (form == Q_TIES_UP) {
    Q_TWO_PIXELS(Q_ALIKE_UP);
  } else if (form == Q_TIES_AWAY) {
    Q_TWO_PIXELS(Q_ALIKE_AWAY);
  } else {
    Q_TWO_PIXELS(Q_ALIKE_LEFT);
  }
#else
  (void)whole;
  (void)together;
  q_pixel(first, weight_bits, channels, form, zero_point, low, high, out, out_c, blocks);
  q_pixel(second, weight_bits, channels, form, zero_point, low, high, other, out_c, blocks);
#endif
}

// The output codes of one pixel, of eight channels at a time: four of the first half and four of the second. The
// arguments are those of q_two_pixels.
Q_KERNEL void q_one_pixel(const int8_t *in, int weight_bits, const int32_t *channels, int form, int whole,
                          int zero_point, int low, int high, int8_t *out, int out_c, int blocks) {
#if defined(__ARM_FEATURE_MVE)
  // Of an odd number of fours the one in the middle is computed twice.
  const int words = Q_FOUR_CHANNELS(weight_bits, form, blocks), fours = (out_c + 3) / 4, half = fours / 2;
  register const int8_t *x __asm__("r11") = in;
  register const int32_t *y __asm__("r3") = channels + half * words;
  register const int32_t *w __asm__("r5") = channels;
  register int8_t *to __asm__("r1") = out;
  register int8_t *beside __asm__("r0") = out + 4 * half;
  register int bytes __asm__("r2") = 16 * blocks;
  register const int32_t *w_end __asm__("r4") = channels + fours * words;
  register int zero __asm__("r6") = zero_point;
  register int least __asm__("r8") = low;
  register int most __asm__("r10") = high;
  register int8_t *to_end __asm__("r12") = out + out_c;
  if (form == Q_TIES_UP) {
    Q_ONE_PIXEL(Q_EACH_UP);
  } else if (form == Q_TIES_AWAY) {
    Q_ONE_PIXEL(Q_EACH_AWAY);
  } else {
    Q_ONE_PIXEL(Q_EACH_LEFT);
  }
#else
  (void)whole;
  q_pixel(in, weight_bits, channels, form, zero_point, low, high, out, out_c, blocks);
#endif
}

#endif  // QTORCH_MVE_H_
