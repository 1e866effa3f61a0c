// The export's test vectors, replayed: the device must compute the very codes that training promised.
#ifndef TFLM_SELF_TEST_H_
#define TFLM_SELF_TEST_H_

#include <stddef.h>
#include <stdint.h>

namespace self_test {

struct Report {
  bool invoked;       // every vector could be run
  size_t vectors;     // that were run
  size_t mismatches;  // output codes that differ, of all vectors
  // The first mismatch, if there is one.
  size_t vector;
  size_t element;
  int8_t expected;
  int8_t got;
  // Clock ticks of the fastest inference, and of all together.
  uint64_t fastest;
  uint64_t total;

  // Of the test by operators: inferences that were compared, those that differed, and of the first of these the vector,
  // the operator, the checksums; whether the operator wrote nothing; whether it returned an error, and there are none;
  // whether the same vector was right before other data.
  size_t inferences;
  size_t wrong;
  size_t wrong_vector;
  size_t layer;
  uint32_t expected_check;
  uint32_t check;
  bool unwritten;
  bool refused;
  bool again;

  bool passed() const { return invoked && mismatches == 0 && wrong == 0; }
};

// Replays all vectors; then the first ones twice more, with other data in between, and compares what each operator gives.
// inference::begin() must have succeeded.
Report run();

void print(const Report& report);

}  // namespace self_test

#endif  // TFLM_SELF_TEST_H_
