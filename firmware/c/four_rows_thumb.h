// Four rows of weights with the same codes, on Cortex-M that have eight registers to load into and eight to add to.
#ifndef QTORCH_FOUR_ROWS_THUMB_H_
#define QTORCH_FOUR_ROWS_THUMB_H_

#include "kernel.h"

#if defined(Q_SHORT_PRODUCTS)


// One code, r5 before the ends of all, and its products with four rows. A byte with its sign can be loaded only from a
// sum of two registers; a product takes the place of its weight; sums are beyond the registers that multiply.
#define Q_ROW(row, sum) "ldrsb r6, [" row ", r5]\n\tmuls r6, r7, r6\n\tadd " sum ", r6\n\t"
#define Q_CODE "ldrsb r7, [r0, r5]\n\t" Q_ROW("r1", "r8") Q_ROW("r2", "r9") Q_ROW("r3", "r10") Q_ROW("r4", "r11")

// Adds to each of four sums the products of in, int8 [size], with a row of weights, int8 [4][size]; size is not 0.
// Written as a whole, because a compiler that saves space has no use for registers from r8 on.
__attribute__((naked, noinline, unused)) static void q_four_rows_in_thumb(const int8_t *in Q_UNUSED,
                                                                          const int8_t *weights Q_UNUSED,
                                                                          int size Q_UNUSED, int32_t *sums Q_UNUSED) {
  __asm__ volatile(
      ".syntax unified\n\t"
      "push {r4, r5, r6, r7, lr}\n\t"
      "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\t"
      "push {r3, r4, r5, r6, r7}\n\t"
      "ldmia r3!, {r4, r5, r6, r7}\n\t"
      "mov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t"
      "rsbs r5, r2, #0\n\t"
      "subs r0, r0, r5\n\tsubs r1, r1, r5\n\tsubs r2, r1, r5\n\tsubs r3, r2, r5\n\tsubs r4, r3, r5\n\t"
      "lsls r6, r5, #30\n\t"
      "beq 2f\n"
      "1:\n\t" Q_CODE
      "adds r5, #1\n\t"
      "lsls r6, r5, #30\n\t"
      "bne 1b\n\t"
      "cmp r5, #0\n\t"
      "beq 3f\n"
      "2:\n\t" Q_CODE
      "adds r5, #1\n\t" Q_CODE
      "adds r5, #1\n\t" Q_CODE
      "adds r5, #1\n\t" Q_CODE
      "adds r5, #1\n\t"
      "bne 2b\n"
      "3:\n\t"
      "pop {r3, r4, r5, r6, r7}\n\t"
      "mov r0, r8\n\tmov r1, r9\n\tmov r2, r10\n\t"
      "stmia r3!, {r0, r1, r2}\n\t"
      "mov r0, r11\n\tstr r0, [r3]\n\t"
      "mov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t"
      "pop {r4, r5, r6, r7, pc}");
}
#undef Q_CODE
#undef Q_ROW
#endif

#endif  // QTORCH_FOUR_ROWS_THUMB_H_
