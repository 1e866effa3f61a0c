#pragma once
#include <stdio.h>
#include <stdlib.h>
// The macros that make Arduino a place where names must be chosen well.
#define HIGH 0x1
#define LOW 0x0
#define INPUT 0x0
#define OUTPUT 0x1
#define B0 0
#define F(text) text
// The end of what was typed ends the program.
#ifndef NO_MONITOR
inline void delay(unsigned long) { exit(0); }
inline unsigned long millis() { return 0; }
static const bool monitored = true;
#else
// On a battery: nobody types, and half a minute is all that is looked at.
inline unsigned long& passed() {
  static unsigned long milliseconds = 0;
  return milliseconds;
}
inline unsigned long millis() { return passed(); }
inline void delay(unsigned long milliseconds) {
  passed() += milliseconds;
  if (passed() > 30000) exit(0);
}
static const bool monitored = false;
#endif
inline unsigned long micros() {
  static unsigned long now = 0;
  return now += 7;
}
struct StandInSerial {
  int next = -2;
  void begin(unsigned long) {}
  explicit operator bool() const { return monitored; }
  void print(const char* text) { fputs(text, stdout); }
  int available() {
    if (next == -2) next = getchar();
    return next == EOF ? 0 : 1;
  }
  int read() {
    const int character = next;
    next = -2;
    return character;
  }
};
static StandInSerial Serial;
void setup();
void loop();
