// Up to five dot products at a time for processors that multiply bytes: each input is loaded once for all of them.
//
// Accumulators have 24 bits and wrap, which does no harm to a sum that fits. Modes:
//   Q_SIGNED_AVR   codes times weights. The sign of each product takes a cycle.
//   Q_SHIFTED_AVR  (code + 128) times (weight + 128), no sign anywhere: exceeds the dot product by 128 times the sum of
//                  the weights, which the export folds into biases, and 128 times the sum of (code + 128).
//   Q_TOTAL_AVR    the same, and that sum of inputs, which one panel of a layer finds for all.
//
// Weights of 4 bits, two to a byte, have 8 added in the place of 128; up to four outputs, in the latter two modes.
#ifndef QTORCH_PANEL_AVR_H_
#define QTORCH_PANEL_AVR_H_

#include "kernel.h"

#if !defined(__OPTIMIZE__)
#error "expected optimization, as the assembly takes sizes as constants. Remedy: compile with -Os or -O2"
#endif

#define Q_SIGNED_AVR 0
#define Q_SHIFTED_AVR 1
#define Q_TOTAL_AVR 2
#define Q_WIDEST_AVR 5

#define Q_MAC_AVR(sum)                                                                                        \
  "lpm %[w], Z+\n\t"                                                                                          \
  ".if %[mode] == 0\n\tmuls %[x], %[w]\n\tsbc %[high], %[high]\n\t.else\n\tmul %[x], %[w]\n\t.endif\n\t"      \
  "add %A[" sum "], r0\n\tadc %B[" sum "], r1\n\tadc %C[" sum "], %[high]\n\t"

// The product with a half of a byte, the lower one of a register that holds it.
#define Q_HALF_AVR(half, sum)                                                                                 \
  "andi " half ", 15\n\tmul %[x], " half "\n\t"                                                               \
  "add %A[" sum "], r0\n\tadc %B[" sum "], r1\n\tadc %C[" sum "], %[high]\n\t"

// Products with two weights of 4 bits, or with the first alone; the register of the fifth sum is free for a copy.
#define Q_HALVES_AVR(first, second, two)                                                                      \
  "lpm %[w], Z+\n\t"                                                                                          \
  ".if " two "\n\tmov %[e], %[w]\n\tswap %[e]\n\t.endif\n\t" Q_HALF_AVR("%[w]", first)                       \
  ".if " two "\n\t" Q_HALF_AVR("%[e]", second) ".endif\n\t"

#define Q_INPUT_AVR                                                                                           \
  "ld %[x], X+\n\t"                                                                                           \
  ".if %[mode]\n\tsubi %[x], 0x80\n\t.endif\n\t"                                                              \
  ".if %[mode] == 2\n\tadd %A[t], %[x]\n\tadc %B[t], %[high]\n\tadc %C[t], %[high]\n\t.endif\n\t"             \
  ".if %[bits] == 4\n\t"                                                                                      \
  Q_HALVES_AVR("a", "b", "%[width] > 1")                                                                      \
  ".if %[width] > 2\n\t" Q_HALVES_AVR("c", "d", "%[width] > 3") ".endif\n\t"                                 \
  ".else\n\t"                                                                                                 \
  Q_MAC_AVR("a") ".if %[width] > 1\n\t" Q_MAC_AVR("b") ".endif\n\t"                                           \
  ".if %[width] > 2\n\t" Q_MAC_AVR("c") ".endif\n\t.if %[width] > 3\n\t" Q_MAC_AVR("d") ".endif\n\t"          \
  ".if %[width] > 4\n\t" Q_MAC_AVR("e") ".endif\n\t"                                                         \
  ".endif\n\t"

// in int8 [in_size]; weights [in_size][width], in flash, int8, or uint8 where shifted; sums [width], and the sum of
// inputs as the sixth in mode Q_TOTAL_AVR. in_size from 1 to 65,535; width, mode and bits of a weight are constants.
Q_KERNEL void q_panel_of_avr(const int8_t *in, const uint8_t *weights, uint16_t in_size, __uint24 *sums, int width,
                             int mode, int bits) {
  // Two inputs per turn, the first turn from its middle where their number is odd; turns are counted down in two bytes.
  const uint16_t turns = in_size / 2 + in_size % 2;
  const uint8_t more = (uint8_t)((turns + 255) >> 8);
  // Registers by name: the compiler's own choice leaves no place for all of them.
  register __uint24 a __asm__("r2") = 0, b __asm__("r6") = 0, c __asm__("r10") = 0;
  register __uint24 d __asm__("r14") = 0, e __asm__("r18") = 0, t __asm__("r22") = 0;
  register uint8_t x __asm__("r17"), w __asm__("r21"), high __asm__("r5") = in_size & 1;
  register uint8_t low_turns __asm__("r9") = (uint8_t)turns, high_turns __asm__("r13") = more;
  __asm__ volatile(
      "lsr %[high]\n\t"  // to 0, and its bit into the carry flag
      "brcs 2f\n"
      "1:\n\t" Q_INPUT_AVR
      "2:\n\t" Q_INPUT_AVR
      "dec %[low]\n\t"
      "brne 1b\n\t"  // of 64 words that it reaches, the widest panel takes 64
      "dec %[turns]\n\t"
      "breq 3f\n\t"
      "rjmp 1b\n"
      "3:\n\t"
      "clr __zero_reg__"
      : [in] "+x"(in), "+z"(weights), [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [e] "+r"(e), [t] "+r"(t),
        [low] "+r"(low_turns), [turns] "+r"(high_turns), [x] "=&d"(x), [w] "=&d"(w), [high] "+r"(high)
      : [width] "n"(width), [mode] "n"(mode), [bits] "n"(bits)
      : "memory");
  sums[0] = a;
  if (width > 1) sums[1] = b;
  if (width > 2) sums[2] = c;
  if (width > 3) sums[3] = d;
  if (width > 4) sums[4] = e;
  if (mode == Q_TOTAL_AVR) sums[5] = t;
}

#define Q_PANEL_BITS_AVR(name, width, mode, bits)                                                           \
  static __attribute__((noinline, unused)) void name(const int8_t *in, const uint8_t *weights, uint16_t in_size, \
                                                     __uint24 *sums) {                                      \
    q_panel_of_avr(in, weights, in_size, sums, width, mode, bits);                                          \
  }
#define Q_PANEL_NAMED_AVR(name, width, mode) Q_PANEL_BITS_AVR(name, width, mode, 8)

Q_PANEL_NAMED_AVR(q_signed_panel_1_avr, 1, Q_SIGNED_AVR)
Q_PANEL_NAMED_AVR(q_signed_panel_2_avr, 2, Q_SIGNED_AVR)
Q_PANEL_NAMED_AVR(q_signed_panel_3_avr, 3, Q_SIGNED_AVR)
Q_PANEL_NAMED_AVR(q_signed_panel_4_avr, 4, Q_SIGNED_AVR)
Q_PANEL_NAMED_AVR(q_panel_3_avr, 3, Q_SHIFTED_AVR)
Q_PANEL_NAMED_AVR(q_panel_4_avr, 4, Q_SHIFTED_AVR)
Q_PANEL_NAMED_AVR(q_panel_5_avr, 5, Q_SHIFTED_AVR)
Q_PANEL_NAMED_AVR(q_total_panel_3_avr, 3, Q_TOTAL_AVR)
Q_PANEL_NAMED_AVR(q_total_panel_4_avr, 4, Q_TOTAL_AVR)
Q_PANEL_NAMED_AVR(q_total_panel_5_avr, 5, Q_TOTAL_AVR)
Q_PANEL_BITS_AVR(q_panel_1_s4_avr, 1, Q_SHIFTED_AVR, 4)
Q_PANEL_BITS_AVR(q_panel_2_s4_avr, 2, Q_SHIFTED_AVR, 4)
Q_PANEL_BITS_AVR(q_panel_3_s4_avr, 3, Q_SHIFTED_AVR, 4)
Q_PANEL_BITS_AVR(q_panel_4_s4_avr, 4, Q_SHIFTED_AVR, 4)
Q_PANEL_BITS_AVR(q_total_panel_1_s4_avr, 1, Q_TOTAL_AVR, 4)
Q_PANEL_BITS_AVR(q_total_panel_2_s4_avr, 2, Q_TOTAL_AVR, 4)
Q_PANEL_BITS_AVR(q_total_panel_3_s4_avr, 3, Q_TOTAL_AVR, 4)
Q_PANEL_BITS_AVR(q_total_panel_4_s4_avr, 4, Q_TOTAL_AVR, 4)

// A panel of a layer with out_size outputs, which decides the mode; the first one of a layer finds the sum of inputs.
// One or two of these calls are left where width, out_size and bits are known.
Q_KERNEL void q_panel_avr(const int8_t *in, const uint8_t *weights, uint16_t in_size, __uint24 *sums, int width,
                          int out_size, int first, int bits) {
  if (bits == 4 && first) {
    if (width == 1) q_total_panel_1_s4_avr(in, weights, in_size, sums);
    if (width == 2) q_total_panel_2_s4_avr(in, weights, in_size, sums);
    if (width == 3) q_total_panel_3_s4_avr(in, weights, in_size, sums);
    if (width == 4) q_total_panel_4_s4_avr(in, weights, in_size, sums);
  } else if (bits == 4) {
    if (width == 1) q_panel_1_s4_avr(in, weights, in_size, sums);
    if (width == 2) q_panel_2_s4_avr(in, weights, in_size, sums);
    if (width == 3) q_panel_3_s4_avr(in, weights, in_size, sums);
    if (width == 4) q_panel_4_s4_avr(in, weights, in_size, sums);
  } else if (out_size < Q_WIDEST_AVR) {
    if (width == 1) q_signed_panel_1_avr(in, weights, in_size, sums);
    if (width == 2) q_signed_panel_2_avr(in, weights, in_size, sums);
    if (width == 3) q_signed_panel_3_avr(in, weights, in_size, sums);
    if (width == 4) q_signed_panel_4_avr(in, weights, in_size, sums);
  } else if (first) {
    if (width == 3) q_total_panel_3_avr(in, weights, in_size, sums);
    if (width == 4) q_total_panel_4_avr(in, weights, in_size, sums);
    if (width == 5) q_total_panel_5_avr(in, weights, in_size, sums);
  } else {
    if (width == 3) q_panel_3_avr(in, weights, in_size, sums);
    if (width == 4) q_panel_4_avr(in, weights, in_size, sums);
    if (width == 5) q_panel_5_avr(in, weights, in_size, sums);
  }
}

#endif  // QTORCH_PANEL_AVR_H_
