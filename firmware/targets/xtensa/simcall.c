/* Files and exit through the simulator's call, SIMCALL, as Tensilica's ISS has it and QEMU answers it: the operation in a2,
 * arguments from a3 on, the result in a2. */
#include "../rig.h"

enum { SYS_EXIT = 1, SYS_READ = 3, SYS_WRITE = 4, SYS_OPEN = 5, SYS_CLOSE = 6 };
enum { READ_ONLY = 0, WRITE_CREATE_TRUNCATE = 01101 }; /* as the host of the emulator has them: Linux */

static int32_t call(uint32_t operation, uint32_t first, uint32_t second, uint32_t third) {
  register uint32_t a2 __asm__("a2") = operation;
  register uint32_t a3 __asm__("a3") = first;
  register uint32_t a4 __asm__("a4") = second;
  register uint32_t a5 __asm__("a5") = third;
  __asm__ volatile("simcall" : "+r"(a2), "+r"(a3) : "r"(a4), "r"(a5) : "memory");
  return (int32_t)a2;
}

int32_t rig_open(const char *path, int writes) {
  return call(SYS_OPEN, (uint32_t)(uintptr_t)path, writes ? WRITE_CREATE_TRUNCATE : READ_ONLY, 0644);
}

/* A call may stop at the end of a page. */
static uint32_t whole(uint32_t operation, int32_t handle, uint32_t at, uint32_t count) {
  uint32_t done = 0;
  while (done < count) {
    const int32_t some = call(operation, (uint32_t)handle, at + done, count - done);
    if (some <= 0) {
      break;
    }
    done += (uint32_t)some;
  }
  return done;
}

uint32_t rig_read(int32_t handle, void *bytes, uint32_t count) {
  return whole(SYS_READ, handle, (uint32_t)(uintptr_t)bytes, count);
}

uint32_t rig_write(int32_t handle, const void *bytes, uint32_t count) {
  return whole(SYS_WRITE, handle, (uint32_t)(uintptr_t)bytes, count);
}

void rig_close(int32_t handle) { call(SYS_CLOSE, (uint32_t)handle, 0, 0); }

void rig_exit(int code) {
  for (;;) {
    call(SYS_EXIT, (uint32_t)code, 0, 0);
  }
}

/* The start-up code's traps end here instead of in its endless loop. */
__attribute__((noreturn)) void start_fault(void);
void start_fault(void) { rig_exit(RIG_FAULT); }
