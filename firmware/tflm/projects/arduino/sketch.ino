// The model @name@: a self-test at the start, then a line of results for every sample typed into the serial monitor
// (115200 baud): physical values, separated by blanks or commas.
//
@axes@
#include <@name@_firmware.h>

static bool ready = false;

void setup() { ready = app::boot() == app::ok; }

void loop() {
  if (!ready) {
    // What failed stands in the serial monitor.
    delay(1000);
    return;
  }
  app::answer();
}
