/* The smallest program that holds a model: what a firmware can't be smaller than. Measured, never run. */
#include "model.h"

int8_t smallest_in[RIG_INPUTS];
int8_t smallest_out[RIG_OUTPUTS];

int main(void) {
  RIG_CALL(smallest_in, smallest_out);
  for (;;) {
  }
}
