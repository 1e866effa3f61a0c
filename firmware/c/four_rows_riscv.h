// Four rows of weights with the same codes, on RV32 with multiplication.
#ifndef QTORCH_FOUR_ROWS_RISCV_H_
#define QTORCH_FOUR_ROWS_RISCV_H_

#include "kernel.h"

#if defined(__riscv_mul) && __riscv_xlen == 32 && !defined(__riscv_32e)
#define Q_FOUR_ROWS_IN_RISCV


// The code at offset i and its products with four rows; no load is used by the instruction behind it.
#define Q_CODE(i)                                                                             \
  "lb t4, " i "(a0)\n\tlb t5, " i "(a1)\n\tlb t6, " i "(a4)\n\tlb a2, " i "(a5)\n\t"          \
  "mul t5, t5, t4\n\tmul t6, t6, t4\n\tmul a2, a2, t4\n\t"                                    \
  "add t0, t0, t5\n\tlb t5, " i "(a6)\n\tadd t1, t1, t6\n\tadd t2, t2, a2\n\t"                \
  "mul t5, t5, t4\n\tadd t3, t3, t5\n\t"
#define Q_NEXT(n)                                                                             \
  "addi a0, a0, " n "\n\taddi a1, a1, " n "\n\taddi a4, a4, " n "\n\taddi a5, a5, " n "\n\t"  \
  "addi a6, a6, " n "\n\t"

// Adds to each of four sums the products of in, int8 [size], with a row of weights, int8 [4][size].
// There once, and with registers that nobody saves.
__attribute__((naked, noinline, unused)) static void q_four_rows_in_riscv(const int8_t *in Q_UNUSED,
                                                                          const int8_t *weights Q_UNUSED,
                                                                          int size Q_UNUSED, int32_t *sums Q_UNUSED) {
  __asm__ volatile(
      "lw t0, 0(a3)\n\tlw t1, 4(a3)\n\tlw t2, 8(a3)\n\tlw t3, 12(a3)\n\t"
      "add a4, a1, a2\n\tadd a5, a4, a2\n\tadd a6, a5, a2\n\t"
      "add t6, a0, a2\n\tandi a7, a2, -4\n\tadd a7, a0, a7\n\t"
      "sw t6, 0(a3)\n\t"
      "beq a0, a7, 2f\n"
      "1:\n\t" Q_CODE("0") Q_CODE("1") Q_CODE("2") Q_CODE("3") Q_NEXT("4")
      "bne a0, a7, 1b\n"
      "2:\n\t"
      "lw a7, 0(a3)\n\t"
      "beq a0, a7, 4f\n"
      "3:\n\t" Q_CODE("0") Q_NEXT("1")
      "bne a0, a7, 3b\n"
      "4:\n\t"
      "sw t0, 0(a3)\n\tsw t1, 4(a3)\n\tsw t2, 8(a3)\n\tsw t3, 12(a3)\n\t"
      "ret");
}
#undef Q_NEXT
#undef Q_CODE
#endif

#endif  // QTORCH_FOUR_ROWS_RISCV_H_
