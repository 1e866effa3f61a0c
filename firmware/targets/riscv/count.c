/* Instructions retired. QEMU counts them exactly with -icount shift=0. */
#include "../rig.h"

static uint64_t started;

static uint64_t retired(void) {
  uint32_t low;
  uint32_t high;
  uint32_t again;
  do { /* the halves belong together if the upper one did not move */
    __asm__ volatile(".option arch, +zicsr\n\tcsrr %0, minstreth\n\tcsrr %1, minstret\n\tcsrr %2, minstreth"
                     : "=&r"(high), "=&r"(low), "=&r"(again));
  } while (high != again);
  return (uint64_t)high << 32 | low;
}

void rig_count_start(void) { started = retired(); }

uint64_t rig_count_stop(void) { return retired() - started; }
