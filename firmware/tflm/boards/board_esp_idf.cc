// ESP-IDF: the console of its C library, and esp_timer.
#include <stdio.h>

#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "tflm_app.h"
#include "tflm_board.h"

extern "C" void app_main(void);

namespace board {

void begin() {}

void print(const char* text) {
  fputs(text, stdout);
  fflush(stdout);
}

int read_char() {
  // The console doesn't block: EOF means that nothing has arrived yet.
  for (;;) {
    const int character = getchar();
    if (character != EOF) return character;
    clearerr(stdin);
    vTaskDelay(1);
  }
}

uint64_t ticks() { return static_cast<uint64_t>(esp_timer_get_time()); }

uint32_t ticks_per_second() { return 1000000u; }

}  // namespace board

void app_main(void) {
  if (app::boot() != app::ok) return;
  while (app::answer()) {
  }
}
