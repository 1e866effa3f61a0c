// A computer with an operating system.
#include <stdio.h>
#include <string.h>

#include <chrono>

#include "tflm_app.h"
#include "tflm_board.h"

namespace board {

void begin() {}

void print(const char* text) { fputs(text, stdout); }

int read_char() {
  fflush(stdout);
  const int character = getchar();
  return character == EOF ? -1 : character;
}

uint64_t ticks() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

uint32_t ticks_per_second() { return 1000000000u; }

}  // namespace board

int main(int argc, char** argv) {
  const bool only_test = argc == 2 && strcmp(argv[1], "--self-test") == 0;
  if (argc > 1 && !only_test) {
    fprintf(stderr,
            "usage: %s [--self-test]\n"
            "Runs the self-test; then, unless --self-test is given, reads samples of physical values from the standard\n"
            "input, numbers separated by blanks or commas, and prints a line of results for each.\n"
            "Exit codes: 0, 1 where the self-test finds a difference, 2 for errors.\n",
            argv[0]);
    return app::error;
  }
  const app::Outcome outcome = app::boot();
  if (outcome != app::ok || only_test) return outcome;
  while (app::answer()) {
  }
  return app::outcome();
}
