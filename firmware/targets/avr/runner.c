/* Runs an AVR program in simavr, instruction by instruction.
 *
 *   runner replay MCU HZ ELF CYCLES INPUT OUTPUT   samples.bin -> results.bin, formats as in ../replay.c
 *   runner serial MCU HZ ELF CYCLES PORT TEXT      what the UART sends -> stdout, until it has sent a line with TEXT
 *
 * CYCLES bounds one measurement (replay) or the whole run (serial). The program speaks through three registers:
 *   GPIOR0  a measurement begins; at the next write it ends
 *   GPIOR1  the program ends, with the value written as exit code
 *   GPIOR2  the next sample: the last output is compared, the next input injected
 * A replay in whose folder lies marks.txt, lines "ADDRESS STEP" (the address hexadecimal, in bytes of flash), writes
 * steps.txt, lines "STEP CYCLES": all samples' cycles by the step whose mark came last, -1 before the first of a sample.
 * Exit codes: 0, the rig's (../rig.h), the program's own, or one of the following.
 */
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../rig.h"

enum {
  RUNNER_USAGE = 70,       /* arguments, or a program that is not what they say */
  RUNNER_CYCLE_LIMIT = 71, /* the program ran for too long */
  RUNNER_STOPPED = 72      /* the processor crashed, or sleeps with interrupts off */
};
/* Addresses in data space, the same on ATmega328P and ATmega32U4. */
enum { GPIOR0 = 0x3E, GPIOR1 = 0x4A, GPIOR2 = 0x4B };
/* Where the linker puts data space in an ELF file. */
#define DATA_SPACE 0x800000u

static struct {
  avr_t *avr;
  int exit_code; /* negative: runs on */
  avr_cycle_count_t began, cycles;
  int measuring, measured; /* measured: how many since the last sample, or since the start */
  uint16_t top, lowest;
  /* replay */
  FILE *samples, *results;
  uint8_t *expected, *in, *out;
  uint32_t in_size, out_size;
  uint64_t figures[4]; /* samples, samples that differ, cycles of nothing, stack */
  /* steps of a replay; the first element is of what precedes them */
  uint16_t *step_at; /* by address, 0: no mark, else the element of the step */
  avr_cycle_count_t *step_cycles, settled;
  size_t step_count, step;
  /* serial */
  const char *until;
  char line[256];
  size_t line_length;
} run = {.exit_code = -1};

__attribute__((noreturn, format(printf, 2, 3))) static void stop(int code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("runner: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(code);
}

/* simavr tells of every section that it loads, on the output that is the program's. */
static void log_errors(struct avr_t *avr, const int level, const char *format, va_list arguments) {
  (void)avr;
  if (level == LOG_ERROR) {
    vfprintf(stderr, format, arguments);
  }
}

static uint16_t stack_pointer(const avr_t *avr) {
  return (uint16_t)(avr->data[R_SPL] | avr->data[R_SPH] << 8);
}

/* What was taken since the last mark goes to the step that ends here. */
static void settle(size_t next) {
  if (run.step_cycles != NULL) {
    run.step_cycles[run.step] += run.avr->cycle - run.settled;
    run.settled = run.avr->cycle;
    run.step = next;
  }
}

static void on_mark(avr_t *avr, avr_io_addr_t address, uint8_t value, void *unused) {
  (void)address;
  (void)value;
  (void)unused;
  if (!run.measuring) {
    run.began = avr->cycle;
    run.top = run.lowest = stack_pointer(avr);
    run.settled = run.began;
    run.step = 0;
  } else {
    settle(0);
    run.cycles = avr->cycle - run.began;
    ++run.measured;
    if ((uint64_t)(run.top - run.lowest) > run.figures[3]) {
      run.figures[3] = (uint64_t)(run.top - run.lowest);
    }
  }
  run.measuring = !run.measuring;
}

static void on_exit_code(avr_t *avr, avr_io_addr_t address, uint8_t value, void *unused) {
  (void)avr;
  (void)address;
  (void)unused;
  run.exit_code = value;
}

static void put(const void *bytes, size_t count) {
  if (fwrite(bytes, 1, count, run.results) != count) {
    stop(RIG_NO_FILE, "results.bin: can't be written");
  }
}

static void on_next_sample(avr_t *avr, avr_io_addr_t address, uint8_t value, void *unused) {
  size_t got;
  (void)avr;
  (void)address;
  (void)value;
  (void)unused;
  if (run.samples == NULL) {
    return;
  }
  if (run.measuring || run.measured != 1) {
    stop(RUNNER_USAGE, "expected one measurement per sample, got %d", run.measured);
  }
  if (run.figures[0] == 0 && run.figures[2] == 0) {
    run.figures[2] = run.cycles; /* before the first sample comes the function that does nothing */
    if (run.step_cycles != NULL) {
      run.step_cycles[0] = 0;
    }
  } else {
    run.figures[0] += 1;
    run.figures[1] += memcmp(run.out, run.expected, run.out_size) != 0;
    put(&run.cycles, sizeof run.cycles);
    put(run.out, run.out_size);
  }
  run.measured = 0;
  got = fread(run.in, 1, run.in_size, run.samples);
  if (got == 0) {
    put(run.figures, sizeof run.figures);
    run.exit_code = run.figures[1] != 0 ? RIG_DIFFERS : RIG_AGREES;
  } else if (got != run.in_size || fread(run.expected, 1, run.out_size, run.samples) != run.out_size) {
    stop(RIG_NO_FILE, "samples.bin: ends within a sample");
  }
}

static void on_serial(struct avr_irq_t *irq, uint32_t value, void *unused) {
  (void)irq;
  (void)unused;
  putchar((int)value);
  if (run.line_length + 1 < sizeof run.line) {
    run.line[run.line_length++] = (char)value;
  }
  if (value == '\n') {
    run.line[run.line_length] = '\0';
    if (strstr(run.line, run.until) != NULL) {
      run.exit_code = 0;
    }
    run.line_length = 0;
  }
}

static uint8_t *variable(const elf_firmware_t *firmware, const char *name) {
  for (uint32_t i = 0; i < firmware->symbolcount; ++i) {
    const uint32_t address = firmware->symbol[i]->addr;
    if (strcmp(firmware->symbol[i]->symbol, name) == 0 && address >= DATA_SPACE) {
      return run.avr->data + (address - DATA_SPACE);
    }
  }
  stop(RUNNER_USAGE, "%s: no variable of this name in the program", name);
}

static FILE *opened(const char *path, const char *mode) {
  FILE *file = fopen(path, mode);
  if (file == NULL) {
    stop(RIG_NO_FILE, "%s: can't be opened", path);
  }
  return file;
}

static void prepare_steps(void) {
  FILE *marks = fopen("marks.txt", "r");
  unsigned address, step;
  if (marks == NULL) {
    return;
  }
  run.step_at = calloc((size_t)run.avr->flashend + 1, sizeof *run.step_at);
  if (run.step_at == NULL) {
    stop(RUNNER_USAGE, "no memory for steps");
  }
  run.step_count = 1;
  while (fscanf(marks, "%x %u", &address, &step) == 2) {
    if (address > run.avr->flashend || step >= UINT16_MAX - 1) {
      stop(RUNNER_USAGE, "marks.txt: step %u at address 0x%x", step, address);
    }
    run.step_at[address] = (uint16_t)(step + 1);
    run.step_count = step + 2 > run.step_count ? step + 2 : run.step_count;
  }
  fclose(marks);
  run.step_cycles = calloc(run.step_count, sizeof *run.step_cycles);
  if (run.step_cycles == NULL) {
    stop(RUNNER_USAGE, "no memory for steps");
  }
}

static void write_steps(void) {
  FILE *steps = run.step_cycles != NULL ? opened("steps.txt", "w") : NULL;
  for (size_t i = 0; steps != NULL && i < run.step_count; ++i) {
    fprintf(steps, "%ld %llu\n", (long)i - 1, (unsigned long long)run.step_cycles[i]);
  }
  if (steps != NULL && fclose(steps) != 0) {
    stop(RIG_NO_FILE, "steps.txt: can't be written");
  }
}

static void prepare_replay(const elf_firmware_t *firmware, const char *in_size, const char *out_size) {
  run.in_size = (uint32_t)strtoul(in_size, NULL, 10);
  run.out_size = (uint32_t)strtoul(out_size, NULL, 10);
  run.in = variable(firmware, "rig_in");
  run.out = variable(firmware, "rig_out");
  run.expected = malloc(run.out_size);
  run.samples = opened("samples.bin", "rb");
  run.results = opened("results.bin", "wb");
  if (run.expected == NULL) {
    stop(RUNNER_USAGE, "no memory for %u outputs", (unsigned)run.out_size);
  }
}

static void prepare_serial(char port, const char *until) {
  uint32_t flags = 0;
  run.until = until;
  /* By default simavr prints the UART itself, with colours, and sleeps on polling. */
  avr_ioctl(run.avr, (uint32_t)AVR_IOCTL_UART_SET_FLAGS(port), &flags);
  avr_irq_register_notify(avr_io_getirq(run.avr, (uint32_t)AVR_IOCTL_UART_GETIRQ(port), UART_IRQ_OUTPUT), on_serial,
                          NULL);
}

/* simavr would sleep in real time. */
static void sleep_not(avr_t *avr, avr_cycle_count_t cycles) {
  (void)avr;
  (void)cycles;
}

int main(int count, char **argument) {
  static elf_firmware_t firmware;
  avr_cycle_count_t limit;
  int replays;
  if (count != 8 || (strcmp(argument[1], "replay") != 0 && strcmp(argument[1], "serial") != 0)) {
    stop(RUNNER_USAGE, "expected replay|serial MCU HZ ELF CYCLES and two more arguments, got %d arguments", count - 1);
  }
  replays = strcmp(argument[1], "replay") == 0;
  limit = strtoull(argument[5], NULL, 10);
  avr_global_logger_set(log_errors);
  if (elf_read_firmware(argument[4], &firmware) != 0) {
    stop(RUNNER_USAGE, "%s: no AVR program", argument[4]);
  }
  run.avr = avr_make_mcu_by_name(argument[2]);
  if (run.avr == NULL) {
    stop(RUNNER_USAGE, "%s: simavr has no such microcontroller", argument[2]);
  }
  avr_init(run.avr);
  run.avr->log = LOG_ERROR;
  run.avr->sleep = sleep_not;
  firmware.frequency = (uint32_t)strtoul(argument[3], NULL, 10);
  avr_load_firmware(run.avr, &firmware);
  avr_register_io_write(run.avr, GPIOR0, on_mark, NULL);
  avr_register_io_write(run.avr, GPIOR1, on_exit_code, NULL);
  avr_register_io_write(run.avr, GPIOR2, on_next_sample, NULL);
  if (replays) {
    prepare_replay(&firmware, argument[6], argument[7]);
    prepare_steps();
  } else {
    prepare_serial(argument[6][0], argument[7]);
  }
  while (run.exit_code < 0) {
    if (run.measuring && run.step_at != NULL && run.step_at[run.avr->pc] != 0) { /* else as before */
      settle(run.step_at[run.avr->pc]);
    }
    const int state = avr_run(run.avr);
    const avr_cycle_count_t since = replays && run.measuring ? run.avr->cycle - run.began : run.avr->cycle;
    if (run.measuring && stack_pointer(run.avr) < run.lowest) {
      run.lowest = stack_pointer(run.avr);
    }
    if (state == cpu_Done || state == cpu_Crashed) {
      stop(RUNNER_STOPPED, "the processor stopped (state %d) at address 0x%x", state, (unsigned)run.avr->pc);
    }
    if ((!replays || run.measuring) && since > limit) {
      fflush(stdout);
      stop(RUNNER_CYCLE_LIMIT, "not done after %llu cycles, at address 0x%x", (unsigned long long)since,
           (unsigned)run.avr->pc);
    }
  }
  if (run.results != NULL && fclose(run.results) != 0) {
    stop(RIG_NO_FILE, "results.bin: can't be written");
  }
  write_steps();
  fflush(stdout);
  return run.exit_code;
}
