/* Replays samples through a model and reports each cost and output.
 *
 * samples.bin: per sample the input codes, then the expected output codes.
 * results.bin: per sample 8 bytes of ticks (little endian) and the output codes; then four numbers of 8 bytes:
 *              samples, samples that differ, ticks of a function that does nothing, bytes of stack.
 */
#include "model.h"
#include "rig.h"

static struct {
  int8_t in[RIG_INPUTS];
  int8_t expected[RIG_OUTPUTS];
} sample;
static int8_t out[RIG_OUTPUTS];

static void nothing(const int8_t *unused_in, int8_t *unused_out) {
  (void)unused_in;
  (void)unused_out;
}

/* The compiler may not know which of them is called: it would adapt `measure` to each, and measure them differently. */
static rig_function *volatile measured[2] = {nothing, RIG_CALL};

/* Marks, arguments and call are the same for both, down to the instruction. */
__attribute__((noinline)) static uint64_t measure(rig_function *invoke) {
  rig_count_start();
  invoke(sample.in, out);
  return rig_count_stop();
}

static void put(int32_t file, const void *bytes, uint32_t count) {
  if (rig_write(file, bytes, count) != count) {
    rig_exit(RIG_NO_FILE);
  }
}

int main(void) {
  uint64_t figures[4] = {0, 0, 0, 0}; /* samples, samples that differ, nothing's ticks, stack */
  const int32_t samples = rig_open("samples.bin", 0);
  const int32_t results = rig_open("results.bin", 1);
  if (samples < 0 || results < 0) {
    rig_exit(RIG_NO_FILE);
  }
#if defined(RIG_SET_UP)
  RIG_SET_UP(); /* what precedes the first call is no part of an inference */
#endif
  figures[2] = measure(measured[0]);
  for (;;) {
    const uint32_t got = rig_read(samples, &sample, (uint32_t)sizeof sample);
    uint64_t ticks;
    int differs = 0;
    if (got == 0) {
      break;
    }
    if (got != sizeof sample) {
      rig_exit(RIG_NO_FILE);
    }
    ticks = measure(measured[1]);
    for (uint32_t i = 0; i < RIG_OUTPUTS; ++i) {
      differs |= out[i] != sample.expected[i];
    }
    figures[0] += 1;
    figures[1] += (uint64_t)differs;
    put(results, &ticks, (uint32_t)sizeof ticks);
    put(results, out, (uint32_t)sizeof out);
  }
  /* One more run, with the last sample: behind all others, because a model may keep something from run to run. */
  figures[3] = rig_stack_bytes(RIG_CALL, sample.in, out);
  put(results, figures, (uint32_t)sizeof figures);
  rig_close(results);
  rig_close(samples);
  rig_exit(figures[1] != 0 ? RIG_DIFFERS : RIG_AGREES);
}
