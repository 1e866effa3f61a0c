/* The AVR's side of a replay: the simulator's runner puts each input into `rig_in`, and reads `rig_out` back.
 *
 * Writes to the general-purpose I/O registers speak to the runner; each is one OUT of the zero register. */
#include <avr/io.h>

#include "../model.h"
#include "../rig.h"

int8_t rig_in[RIG_INPUTS];
int8_t rig_out[RIG_OUTPUTS];

#define WRITE_ZERO(io_register) __asm__ volatile("out %0, __zero_reg__" ::"I"(_SFR_IO_ADDR(io_register)) : "memory")
#define MARK() WRITE_ZERO(GPIOR0)        /* the measurement begins, or ends */
#define NEXT_SAMPLE() WRITE_ZERO(GPIOR2) /* compare the last output, inject the next input */

static void nothing(const int8_t *unused_in, int8_t *unused_out) {
  (void)unused_in;
  (void)unused_out;
}

/* As in ../replay.c: both are measured by the same instructions. */
static rig_function *volatile measured[2] = {nothing, RIG_CALL};

__attribute__((noinline)) static void measure(rig_function *invoke) {
  MARK();
  invoke(rig_in, rig_out);
  MARK();
}

int main(void) {
  measure(measured[0]);
  for (;;) {
    NEXT_SAMPLE();
    measure(measured[1]);
  }
}
