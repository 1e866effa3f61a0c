/* Whether a model can be set up with the arena's first bytes, as many as arena.bin says (4 bytes, little endian).
 *
 * A program of its own for each attempt: a failed one may write anywhere. */
#include "../rig.h"
#include "interpreted.h"

/* Where the C library's abort() ends, as TFLite Micro's checks do; the library's own would loop for ever. */
__attribute__((noreturn)) void _exit(int code);
void _exit(int code) {
  (void)code;
  rig_exit(RIG_FAULT);
}

int main(void) {
  uint32_t bytes = 0;
  const int32_t file = rig_open("arena.bin", 0);
  if (file < 0 || rig_read(file, &bytes, (uint32_t)sizeof bytes) != sizeof bytes) {
    rig_exit(RIG_NO_FILE);
  }
  rig_exit(interpreted_begin(bytes) != 0 ? RIG_AGREES : RIG_DIFFERS);
}
