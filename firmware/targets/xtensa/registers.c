/* Xtensa, call0 ABI: a12 to a15, and a1, the stack pointer; one bit each, from bit 0 on. */
#include "registers.h"

uint32_t registers_sp;

#define LOOK(register, value, bit) "movi a4, " value "\n\tbeq a4, " register ", 1f\n\taddi a2, a2, " bit "\n1:\n\t"

__asm__(
    ".text\n\t"
    ".literal_position\n\t"
    ".align 4\n\t"
    ".global registers_spoiled\n"
    "registers_spoiled:\n\t"
    "addi a1, a1, -32\n\t"
    "s32i a0, a1, 0\n\ts32i a12, a1, 4\n\ts32i a13, a1, 8\n\ts32i a14, a1, 12\n\ts32i a15, a1, 16\n\t"
    "movi a3, registers_sp\n\ts32i a1, a3, 0\n\t"
    "movi a12, 0x5ca1b2c3\n\tmovi a13, 0x5da1b2c3\n\tmovi a14, 0x5ea1b2c3\n\tmovi a15, 0x5fa1b2c3\n\t"
    "callx0 a2\n\t"
    "movi a2, 0\n\t"
    LOOK("a12", "0x5ca1b2c3", "1") LOOK("a13", "0x5da1b2c3", "2") LOOK("a14", "0x5ea1b2c3", "4")
    LOOK("a15", "0x5fa1b2c3", "8")
    "movi a3, registers_sp\n\tl32i a3, a3, 0\n\tbeq a1, a3, 1f\n\taddi a2, a2, 16\n\tmov a1, a3\n1:\n\t"
    "l32i a0, a1, 0\n\tl32i a12, a1, 4\n\tl32i a13, a1, 8\n\tl32i a14, a1, 12\n\tl32i a15, a1, 16\n\t"
    "addi a1, a1, 32\n\t"
    "ret\n");
