// <name>_invoke of a model that TFLite Micro interprets, for the rigs to count and weigh as they do the plain C.
#include "interpreted.h"

#include <string.h>

#include <new>

#include "model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {

using Resolver = tflite::MicroMutableOpResolver<RIG_OPS>;

// Built when they are needed and never destroyed: the start-up code runs no constructors.
alignas(Resolver) unsigned char resolver_storage[sizeof(Resolver)];
alignas(tflite::MicroInterpreter) unsigned char interpreter_storage[sizeof(tflite::MicroInterpreter)];
tflite::MicroInterpreter* interpreter = nullptr;
int8_t* input_codes = nullptr;
const int8_t* output_codes = nullptr;

bool fits(const TfLiteTensor* tensor, size_t elements) {
  return tensor != nullptr && tensor->type == kTfLiteInt8 && tensor->bytes == elements;
}

}  // namespace

extern "C" int interpreted_begin(uint32_t bytes) {
  const tflite::Model* model = tflite::GetModel(RIG_DATA);
  if (model->version() != TFLITE_SCHEMA_VERSION) return 0;
  Resolver& resolver = *::new (resolver_storage) Resolver;
  if (RIG_REGISTER(resolver) != kTfLiteOk) return 0;
  tflite::MicroInterpreter* made =
      ::new (interpreter_storage) tflite::MicroInterpreter(model, resolver, interpreted_arena, bytes);
  if (made->initialization_status() != kTfLiteOk || made->AllocateTensors() != kTfLiteOk) return 0;
  if (!fits(made->input(0), RIG_INPUTS) || !fits(made->output(0), RIG_OUTPUTS)) return 0;
  input_codes = made->input(0)->data.int8;
  output_codes = made->output(0)->data.int8;
  interpreter = made;
  return 1;
}

extern "C" int interpreted_run(void) { return interpreter->Invoke() == kTfLiteOk; }

// The first call also sets up, because plain C has nothing that a rig could call before; a trap says that it failed.
extern "C" void RIG_CALL(const int8_t* in, int8_t* out) {
  if (interpreter == nullptr && interpreted_begin(interpreted_arena_size) == 0) __builtin_trap();
  memcpy(input_codes, in, RIG_INPUTS);
  if (interpreted_run() == 0) __builtin_trap();
  memcpy(out, output_codes, RIG_OUTPUTS);
}
