/* Stack depth by paint: fill what lies below the stack pointer, call, and look how far down the paint is gone. */
#include "rig.h"

/* The lowest word that the stack may take, from the linker script. */
extern uint32_t rig_stack_limit[];

/* Not inlined, so that the stack pointer read here is the one that `invoke` starts with. */
__attribute__((noinline)) static uint32_t depth(uint32_t paint, rig_function *invoke, const int8_t *in,
                                                int8_t *out) {
  uintptr_t top;
  volatile uint32_t *word = rig_stack_limit;
#if defined(__arm__)
  __asm__ volatile("mov %0, sp" : "=r"(top));
#elif defined(__XTENSA__)
  __asm__ volatile("mov %0, a1" : "=r"(top));
#else
  __asm__ volatile("mv %0, sp" : "=r"(top));
#endif
  for (; (uintptr_t)word < top; ++word) {
    *word = paint;
  }
  invoke(in, out);
  word = rig_stack_limit;
  while ((uintptr_t)word < top && *word == paint) {
    ++word;
  }
  if (word == rig_stack_limit) {
    rig_exit(RIG_NO_STACK);
  }
  return (uint32_t)(top - (uintptr_t)word);
}

uint32_t rig_stack_bytes(rig_function *invoke, const int8_t *in, int8_t *out) {
  /* What the call leaves there may look like paint, but not like both. */
  const uint32_t first = depth(0xA5A5A5A5u, invoke, in, out);
  const uint32_t second = depth(0x5A5A5A5Au, invoke, in, out);
  return first > second ? first : second;
}
