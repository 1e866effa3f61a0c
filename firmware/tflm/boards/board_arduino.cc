// Any board with an Arduino core: the serial console and micros().
#include <Arduino.h>

#include "tflm_board.h"

namespace board {

void begin() {
  Serial.begin(115200);
  // Boards with USB of their own lose what is printed before the monitor is there; others don't wait. On a battery there
  // is never one.
  const unsigned long started = millis();
  while (!Serial && millis() - started < 3000) delay(10);
}

void print(const char* text) { Serial.print(text); }

int read_char() {
  while (Serial.available() <= 0) delay(1);
  return Serial.read();
}

uint64_t ticks() {
  // micros() turns every 71.6 minutes.
  static uint64_t total = 0;
  static uint32_t last = 0;
  const uint32_t now = static_cast<uint32_t>(micros());
  total += static_cast<uint32_t>(now - last);
  last = now;
  return total;
}

uint32_t ticks_per_second() { return 1000000u; }

}  // namespace board
