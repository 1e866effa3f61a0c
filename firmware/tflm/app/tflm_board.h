// What the application asks of the machine it runs on. One file, board_*.cpp, answers.
#ifndef TFLM_BOARD_H_
#define TFLM_BOARD_H_

#include <stdint.h>

namespace board {

// Starts console and clock. Call once, first.
void begin();

// Writes to the console. The text ends with 0.
void print(const char* text);

// Waits for the next character of the console; -1 at the end of the input, where the console has an end.
int read_char();

// A clock that runs on. Where the board's own counter has 32 bits, it is carried on from call to call: what lies between
// two calls must be less than its turn, which board_*.cc says.
uint64_t ticks();
uint32_t ticks_per_second();

}  // namespace board

#endif  // TFLM_BOARD_H_
