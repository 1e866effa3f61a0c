#include "tflm_self_test.h"

#include "tflm_board.h"
#include "tflm_console.h"
#include "tflm_inference.h"
#include "tflm_layers.h"
#include "tflm_model.h"

namespace self_test {

namespace {

void print_nanoseconds(uint64_t ticks, uint64_t inferences) {
  // Whole seconds apart, so that 64 bits hold whatever they hold of nanoseconds.
  const uint64_t rate = board::ticks_per_second();
  console::print_unsigned((ticks / rate * 1000000000u + ticks % rate * 1000000000u / rate) / inferences);
  board::print(" ns");
}

#if !defined(SELF_TEST_WITHOUT_LAYERS)

// One inference, compared operator by operator. false where TFLite Micro fails.
bool compare(Report& report, size_t vector, bool again) {
  static int8_t output[model::output_size];
  layers::expect(model::layer_checks(vector), model::layer_count);
  const bool invoked = inference::invoke(model::test_input(vector), output);
  const layers::Found found = layers::found();
  layers::expect(nullptr, 0);
  ++report.inferences;
  if (!found.differs) return invoked;
  if (report.wrong == 0) {
    report.wrong_vector = vector;
    report.layer = found.layer;
    report.expected_check = found.expected;
    report.check = found.got;
    report.unwritten = found.unwritten;
    report.refused = found.refused;
    report.again = again;
  }
  ++report.wrong;
  return invoked;
}

bool compare_layers(Report& report) {
  static int8_t output[model::output_size];
  for (size_t vector = 0; vector < model::layer_vectors; ++vector) {
    // Right before and wrong after other data: something that should stay was written over, or is a state.
    if (!compare(report, vector, false)) return false;
    if (!inference::invoke(model::test_input((vector + 1) % model::test_count), output)) return false;
    if (!compare(report, vector, true)) return false;
  }
  return true;
}

void print_hexadecimal(uint32_t value) {
  char text[11] = "0x";
  for (int digit = 0; digit < 8; ++digit) text[2 + digit] = "0123456789abcdef"[(value >> (28 - 4 * digit)) & 15u];
  text[10] = '\0';
  board::print(text);
}

void print_build() {
  board::print("compiled with the macros:"
#if defined(CMSIS_NN)
               " CMSIS_NN"
#endif
#if defined(ESP_NN)
               " ESP_NN"
#endif
#if defined(TFLM_REFERENCE_KERNELS)
               " TFLM_REFERENCE_KERNELS"
#endif
#if defined(__ARM_FEATURE_MVE)
               " __ARM_FEATURE_MVE"
#endif
#if defined(__ARM_FEATURE_DSP)
               " __ARM_FEATURE_DSP"
#endif
#if defined(NDEBUG)
               " NDEBUG"
#endif
               "\n");
}

void print_layers(const Report& report) {
  board::print("operators: ");
  console::print_unsigned(model::layer_count);
  board::print(" in ");
  console::print_unsigned(report.inferences);
  board::print(" inferences, ");
  console::print_unsigned(report.wrong);
  board::print(report.wrong == 0 && report.invoked ? " differ: passed\n" : " differ: FAILED\n");
  if (report.wrong == 0) return;
  board::print(report.refused ? "operator that failed: number " : "first operator that differs: number ");
  console::print_unsigned(report.layer);
  board::print(", ");
  board::print(model::layer_kind(report.layer));
  board::print(", of vector ");
  console::print_unsigned(report.wrong_vector);
  if (report.refused) {
    board::print(": its kernel returned an error");
  } else {
    board::print(": expected checksum ");
    print_hexadecimal(report.expected_check);
    board::print(", got ");
    print_hexadecimal(report.check);
  }
  board::print("\n");
  if (report.unwritten) {
    board::print("its output was not written: the kernel gave up, and what calls it does not look\n");
  } else if (report.again) {
    board::print("it was right before other data ran: a kernel keeps a state, or writes over what others keep\n");
  }
  board::print("the model was made for TFLite Micro's edition @edition@\n"
               "likely cause: another TFLite Micro or kernel library was compiled, or with flags that change integers; what to "
               "look at: see docs/which_tflm.md of the exporter, \"A board gives other codes\"\n");
  print_build();
}

#endif  // SELF_TEST_WITHOUT_LAYERS

}  // namespace

Report run() {
  Report report = {};
  static int8_t output[model::output_size];
  if (model::sequence && !inference::reset()) return report;
  for (size_t vector = 0; vector < model::test_count; ++vector) {
    const uint64_t started = board::ticks();
    if (!inference::invoke(model::test_input(vector), output)) {
#if !defined(SELF_TEST_WITHOUT_LAYERS)
      // Once more, to see at which operator.
      if (vector < model::layer_vectors) compare(report, vector, false);
#endif
      return report;
    }
    const uint64_t taken = board::ticks() - started;
    if (vector == 0 || taken < report.fastest) report.fastest = taken;
    report.total += taken;
    ++report.vectors;
    const int8_t* expected = model::test_output(vector);
    for (size_t element = 0; element < model::output_size; ++element) {
      if (output[element] == expected[element]) continue;
      if (report.mismatches == 0) {
        report.vector = vector;
        report.element = element;
        report.expected = expected[element];
        report.got = output[element];
      }
      ++report.mismatches;
    }
  }
#if !defined(SELF_TEST_WITHOUT_LAYERS)
  if (!compare_layers(report)) return report;
#endif
  // What the vectors left in the states is nobody's past.
  if (model::sequence && !inference::reset()) return report;
  report.invoked = true;
  return report;
}

void print(const Report& report) {
  board::print("self-test of ");
  board::print(model::name());
  board::print(": ");
  console::print_unsigned(report.vectors);
  board::print(" vectors, ");
  console::print_unsigned(report.mismatches);
  board::print(" of ");
  console::print_unsigned(report.vectors * model::output_size);
  board::print(report.mismatches == 0 && report.invoked ? " codes differ: passed\n" : " codes differ: FAILED\n");
  if (report.mismatches > 0) {
    board::print("first difference: vector ");
    console::print_unsigned(report.vector);
    board::print(", output ");
    console::print_unsigned(report.element);
    board::print(": expected ");
    console::print_signed(report.expected);
    board::print(", got ");
    console::print_signed(report.got);
    board::print("\n");
  }
#if !defined(SELF_TEST_WITHOUT_LAYERS)
  print_layers(report);
#endif
  if (report.vectors == 0) return;
  board::print("time per inference: ");
  print_nanoseconds(report.fastest, 1);
  board::print(" at best, ");
  print_nanoseconds(report.total, report.vectors);
  board::print(" on average; ");
  console::print_unsigned(report.fastest);
  board::print(" ticks at ");
  console::print_unsigned(board::ticks_per_second());
  board::print(" Hz\narena: ");
  console::print_unsigned(inference::arena_used());
  board::print(" of ");
  console::print_unsigned(model::arena_bytes);
  board::print(" bytes used\n");
}

}  // namespace self_test
