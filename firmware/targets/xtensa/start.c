/* Start-up of an Xtensa core with the call0 ABI, without a C library: vectors, stack, memory, main.
 *
 * Compile with -mtext-section-literals, since literals have to stand before the code that loads them, and with
 * -fno-tree-loop-distribute-patterns: the loops below run before memcpy may be relied on.
 */
#include <stdint.h>

/* From the linker script. */
extern uint32_t start_data_source[];
extern uint32_t start_data[];
extern uint32_t start_data_end[];
extern uint32_t start_bss[];
extern uint32_t start_bss_end[];

int main(void);
__attribute__((noreturn)) void start_run(void);
__attribute__((noreturn)) void start_fault(void);

__attribute__((weak, noreturn)) void start_fault(void) {
  for (;;) {
  }
}

/* What the tick saves a register in, and how often it came. */
volatile uint32_t start_tick_words[2];

/* The reset vector, which is where the emulator begins; then, at VECBASE, the vectors of exceptions in kernel mode and of
 * double ones. Level-1 interrupts come as an exception, of which the timer's is the only one that is ever enabled: from
 * its first instruction to the last it takes 14, always, so that they can be subtracted from a measurement. */
__asm__(
    ".section .start, \"ax\"\n"
    ".global start_reset\n"
    "start_reset:\n"
    "  j start_begin\n"
    ".org 0x100\n"
    "start_vectors:\n"
    ".org 0x130\n"
    "  j start_exception\n"
    ".org 0x150\n"
    "  j start_exception\n"
    ".org 0x170\n"
    "  j start_trap\n"
    ".org 0x180\n"
    "  .literal_position\n"
    "start_begin:\n"
    "  movi a2, start_vectors\n"
    "  wsr a2, vecbase\n"
    "  movi a2, 0\n"
    "  wsr a2, intenable\n"
    "  wsr a2, ps\n"
    "  rsync\n"
    "  movi a1, start_stack_top\n"
    "  movi a0, start_run\n"
    "  jx a0\n"
    "start_exception:\n"
    "  wsr a0, excsave1\n"
    "  rsr a0, exccause\n"
    "  bnei a0, 4, start_trap\n"
    "  movi a0, start_tick_words\n"
    "  s32i a2, a0, 0\n"
    "  l32i a2, a0, 4\n"
    "  addi a2, a2, 1\n"
    "  s32i a2, a0, 4\n"
    "  rsr a2, ccompare0\n"
    "  wsr a2, ccompare0\n" /* the write takes the interrupt back */
    "  l32i a2, a0, 0\n"
    "  rsr a0, excsave1\n"
    "  rfe\n"
    /* The fault may be the stack's: whoever reports it gets a new one. */
    "start_trap:\n"
    "  movi a1, start_stack_top\n"
    "  movi a0, start_fault\n"
    "  jx a0\n"
    ".text\n");

void start_run(void) {
  const uint32_t *source = start_data_source;
  for (uint32_t *word = start_data; word < start_data_end; ++word) {
    *word = *source++;
  }
  for (uint32_t *word = start_bss; word < start_bss_end; ++word) {
    *word = 0;
  }
  (void)main();
  start_fault();
}
