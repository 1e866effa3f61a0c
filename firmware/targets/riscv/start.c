/* Start-up of a RISC-V core in machine mode without a C library: stack, traps, memory, main.
 *
 * Compile with -fno-tree-loop-distribute-patterns: the loops below run before memcpy may be relied on.
 */
#include <stdint.h>

/* From the linker script. */
extern uint32_t start_data_source[];
extern uint32_t start_data[];
extern uint32_t start_data_end[];
extern uint32_t start_bss[];
extern uint32_t start_bss_end[];

int main(void);
__attribute__((noreturn)) void start_reset(void);
__attribute__((noreturn)) void start_run(void);
__attribute__((noreturn)) void start_fault(void);

__attribute__((weak, noreturn)) void start_fault(void) {
  for (;;) {
  }
}

/* mtvec holds multiples of four. The fault may be the stack's: whoever reports it gets a new one. */
__attribute__((naked, aligned(4), used)) void start_trap(void);
void start_trap(void) {
  __asm__ volatile(
      "la sp, start_stack_top\n"
      "j start_fault\n");
}

/* The first instruction of the program; gp must be set before any variable is read, without being relaxed itself. */
__attribute__((naked, section(".start"), used)) void start_reset(void) {
  __asm__ volatile(
      ".option push\n"
      ".option norelax\n"
      "la gp, __global_pointer$\n"
      ".option pop\n"
      "la sp, start_stack_top\n"
      "la t0, start_trap\n"
      ".option arch, +zicsr\n"
      "csrw mtvec, t0\n"
      "j start_run\n");
}

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
