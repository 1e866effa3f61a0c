// Two pixels in a word, and so two products in a multiplication of 32 bits.
//
// With a word p + 2^16 q of two codes and a weight a, the product is pa + 2^16 qa. Of two such products together, the
// lower part lies from -2^15 to 2^15 - 1, as long as both weights together are at most 255 in size: it is taken out of
// the sum by rounding to the nearest 2^16, and so is the sum of the upper parts, which is as exact. All sums together,
// modulo 2^32, give the sum of the lower parts.
#ifndef QTORCH_PIXEL_WORDS_H_
#define QTORCH_PIXEL_WORDS_H_

#include "kernel.h"

#if defined(Q_SHORT_PRODUCTS)
#define Q_PIXEL_WORDS_IN_ASSEMBLY
// Two channels, whose rows are size bytes, with one word for each code: sums int32 [2][2].
__attribute__((naked, noinline, unused)) static void q_block_of_words(const uint32_t *words Q_UNUSED,
                                                                      const int8_t *weights Q_UNUSED,
                                                                      int size Q_UNUSED, int32_t *sums Q_UNUSED) {
  __asm__ volatile(
      ".syntax unified\n\t"
      "push {r4, r5, r6, r7, lr}\n\t"
      "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\t"
      "push {r3, r4, r5, r6, r7}\n\t"
      "movs r4, #0\n\tmov r8, r4\n\tmov r9, r4\n\tmov r10, r4\n\tmov r11, r4\n\t"
      "movs r4, #128\n\tlsls r4, r4, #8\n\tmov r12, r4\n\t"
      "rsbs r3, r2, #0\n\tsubs r1, r1, r3\n\tsubs r2, r1, r3\n"
      "1:\n\t"
      "ldmia r0!, {r4, r7}\n\t"
      "ldrsb r5, [r1, r3]\n\tldrsb r6, [r2, r3]\n\tmuls r5, r4, r5\n\tmuls r6, r4, r6\n\t"
      "adds r3, #1\n\t"
      "ldrsb r4, [r1, r3]\n\tmuls r4, r7, r4\n\tadds r5, r5, r4\n\t"
      "ldrsb r4, [r2, r3]\n\tmuls r4, r7, r4\n\tadds r6, r6, r4\n\t"
      "add r8, r5\n\tadd r5, r12\n\tasrs r5, r5, #16\n\tadd r9, r5\n\t"
      "add r10, r6\n\tadd r6, r12\n\tasrs r6, r6, #16\n\tadd r11, r6\n\t"
      "adds r3, #1\n\t"
      "bne 1b\n\t"
      "mov r1, r9\n\tlsls r2, r1, #16\n\tmov r0, r8\n\tsubs r0, r0, r2\n\t"
      "mov r3, r11\n\tlsls r4, r3, #16\n\tmov r2, r10\n\tsubs r2, r2, r4\n\t"
      "ldr r4, [sp]\n\tstmia r4!, {r0, r1, r2, r3}\n\t"
      "pop {r3, r4, r5, r6, r7}\n\t"
      "mov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t"
      "pop {r4, r5, r6, r7, pc}");
}
#elif defined(__riscv_mul) && __riscv_xlen == 32 && !defined(__riscv_32e)
#define Q_PIXEL_WORDS_IN_ASSEMBLY
// A word of two pixels, twice, with two weights of a channel: one sum of all, one of the upper parts.
#define Q_WORD(x, y, all, upper)                                                                 \
  "mul s8, s6, " x "\n\tmul s9, s7, " y "\n\tadd s8, s8, s9\n\tadd " all ", " all ", s8\n\t"     \
  "add s8, s8, a3\n\tsrai s8, s8, 16\n\tadd " upper ", " upper ", s8\n\t"
#define Q_CHANNEL(w, v, a, b, c, d) \
  "lb s6, " w "(a1)\n\tlb s7, " v "(a1)\n\t" Q_WORD("s2", "s4", a, b) Q_WORD("s3", "s5", c, d)
#define Q_LOWER(all, upper, at)                                                                  \
  "slli s8, " upper ", 16\n\tsub " all ", " all ", s8\n\t"                                       \
  "sw " all ", " at "(ra)\n\tsw " upper ", 4+" at "(ra)\n\t"
// Four channels, int8 [size / 2][4][2], with two words for each code: sums int32 [4][4].
__attribute__((naked, noinline, unused)) static void q_block_of_words(const uint32_t *words Q_UNUSED,
                                                                      const int8_t *weights Q_UNUSED,
                                                                      int size Q_UNUSED, int32_t *sums Q_UNUSED) {
  __asm__ volatile(
      "addi sp, sp, -64\n\t"
      "sw ra, 0(sp)\n\tsw s0, 4(sp)\n\tsw s1, 8(sp)\n\tsw s2, 12(sp)\n\tsw s3, 16(sp)\n\tsw s4, 20(sp)\n\t"
      "sw s5, 24(sp)\n\tsw s6, 28(sp)\n\tsw s7, 32(sp)\n\tsw s8, 36(sp)\n\tsw s9, 40(sp)\n\tsw s10, 44(sp)\n\t"
      "sw s11, 48(sp)\n\tmv ra, a3\n\t"
      "slli a2, a2, 3\n\tadd a2, a0, a2\n\tli a3, 0x8000\n\t"
      "li a4, 0\n\tli a5, 0\n\tli a6, 0\n\tli a7, 0\n\tli t0, 0\n\tli t1, 0\n\tli t2, 0\n\tli t3, 0\n\t"
      "li t4, 0\n\tli t5, 0\n\tli t6, 0\n\tli s0, 0\n\tli s1, 0\n\tli s10, 0\n\tli s11, 0\n\tsw x0, 52(sp)\n\t"
      "sw ra, 56(sp)\n\tli ra, 0\n"
      "1:\n\t"
      "lw s2, 0(a0)\n\tlw s3, 4(a0)\n\tlw s4, 8(a0)\n\tlw s5, 12(a0)\n\t"
      Q_CHANNEL("0", "1", "a4", "a5", "a6", "a7") Q_CHANNEL("2", "3", "t0", "t1", "t2", "t3")
      Q_CHANNEL("4", "5", "t4", "t5", "t6", "s0") Q_CHANNEL("6", "7", "s1", "s10", "s11", "ra")
      "addi a0, a0, 16\n\taddi a1, a1, 8\n\t"
      "bne a0, a2, 1b\n\t"
      "mv s9, ra\n\tlw ra, 56(sp)\n\t"
      Q_LOWER("a4", "a5", "0") Q_LOWER("a6", "a7", "8") Q_LOWER("t0", "t1", "16") Q_LOWER("t2", "t3", "24")
      Q_LOWER("t4", "t5", "32") Q_LOWER("t6", "s0", "40") Q_LOWER("s1", "s10", "48") Q_LOWER("s11", "s9", "56")
      "lw ra, 0(sp)\n\tlw s0, 4(sp)\n\tlw s1, 8(sp)\n\tlw s2, 12(sp)\n\tlw s3, 16(sp)\n\tlw s4, 20(sp)\n\t"
      "lw s5, 24(sp)\n\tlw s6, 28(sp)\n\tlw s7, 32(sp)\n\tlw s8, 36(sp)\n\tlw s9, 40(sp)\n\tlw s10, 44(sp)\n\t"
      "lw s11, 48(sp)\n\t"
      "addi sp, sp, 64\n\t"
      "ret");
}
#undef Q_LOWER
#undef Q_CHANNEL
#undef Q_WORD
#endif

// Sums of channels channels with pixels pixels, int32 [channels][pixels]: words uint32 [size][pixels / 2]; weights int8
// [size / 2][channels][2] where channels is four, else [channels][size], in flash; size is even.
Q_KERNEL void q_products_of_words(const uint32_t *words, const int8_t *weights, int size, int channels, int pixels,
                                  int32_t *sums) {
  for (int c = 0; c < channels; ++c) {
    const int8_t *weight = weights + (channels == 4 ? 2 * c : c * size);
    const int step = channels == 4 ? 8 : 2;
    for (int p = 0; p < pixels / 2; ++p) {
      uint32_t all = 0;
      int32_t upper = 0;
      for (int k = 0; k < size; k += 2) {
        const uint32_t first = words[k * (pixels / 2) + p], second = words[(k + 1) * (pixels / 2) + p];
        const int32_t w = q_flash_s8(weight + k / 2 * step), v = q_flash_s8(weight + k / 2 * step + 1);
        const uint32_t two = first * (uint32_t)w + second * (uint32_t)v;
        all += two;
        upper += (int32_t)(two + 0x8000u) >> 16;
      }
      sums[c * pixels + 2 * p] = (int32_t)(all - ((uint32_t)upper << 16));
      sums[c * pixels + 2 * p + 1] = upper;
    }
  }
}

#endif  // QTORCH_PIXEL_WORDS_H_
