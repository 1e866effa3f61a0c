/* The smallest program around an interpreted model: codes are read and written where the interpreter keeps them.
 * Measured, never run. */
#include "interpreted.h"

int main(void) {
  (void)interpreted_begin(interpreted_arena_size);
  for (;;) {
    (void)interpreted_run();
  }
}
