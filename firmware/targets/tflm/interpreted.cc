// <name>_invoke of a model that TFLite Micro interprets, for the rigs to count and weigh as they do the plain C.
#include "interpreted.h"

#include <string.h>

#include <new>

#include "model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"
#if RIG_VARIABLES
#include "tensorflow/lite/micro/micro_resource_variable.h"
#endif

namespace {

using Resolver = tflite::MicroMutableOpResolver<RIG_OPS>;

// Built when they are needed and never destroyed: the start-up code runs no constructors.
alignas(Resolver) unsigned char resolver_storage[sizeof(Resolver)];
alignas(tflite::MicroInterpreter) unsigned char interpreter_storage[sizeof(tflite::MicroInterpreter)];
tflite::MicroInterpreter* interpreter = nullptr;

struct Bytes {
  char* data;
  size_t count;
};
Bytes inputs[RIG_INPUT_TENSORS];
Bytes outputs[RIG_OUTPUT_TENSORS];

// Whether a tensor is there; `left` are the bytes of it and of those behind it.
bool found(TfLiteTensor* tensor, Bytes* bytes, size_t* left) {
  if (tensor == nullptr || tensor->bytes > *left) return false;
  *bytes = {tensor->data.raw, tensor->bytes};
  *left -= tensor->bytes;
  return true;
}

}  // namespace

extern "C" int interpreted_begin(uint32_t bytes) {
  const tflite::Model* model = tflite::GetModel(RIG_DATA);
  if (model->version() != TFLITE_SCHEMA_VERSION) return 0;
  Resolver& resolver = *::new (resolver_storage) Resolver;
  if (RIG_REGISTER(resolver) != kTfLiteOk) return 0;
#if RIG_VARIABLES
  tflite::MicroAllocator* allocator = tflite::MicroAllocator::Create(interpreted_arena, bytes);
  tflite::MicroResourceVariables* variables = tflite::MicroResourceVariables::Create(allocator, RIG_VARIABLES);
  if (variables == nullptr) return 0;
  tflite::MicroInterpreter* made =
      ::new (interpreter_storage) tflite::MicroInterpreter(model, resolver, allocator, variables);
#else
  tflite::MicroInterpreter* made =
      ::new (interpreter_storage) tflite::MicroInterpreter(model, resolver, interpreted_arena, bytes);
#endif
  if (made->initialization_status() != kTfLiteOk || made->AllocateTensors() != kTfLiteOk) return 0;
  if (made->inputs_size() != RIG_INPUT_TENSORS || made->outputs_size() != RIG_OUTPUT_TENSORS) return 0;
  size_t ins = RIG_INPUTS, outs = RIG_OUTPUTS;
  for (size_t i = 0; i < RIG_INPUT_TENSORS; ++i) {
    if (!found(made->input(i), &inputs[i], &ins)) return 0;
  }
  for (size_t i = 0; i < RIG_OUTPUT_TENSORS; ++i) {
    if (!found(made->output(i), &outputs[i], &outs)) return 0;
  }
  if (ins != 0 || outs != 0) return 0;
  interpreter = made;
  return 1;
}

extern "C" int interpreted_run(void) { return interpreter->Invoke() == kTfLiteOk; }

// A trap says that it failed.
extern "C" void RIG_SET_UP(void) {
  if (interpreted_begin(interpreted_arena_size) == 0) __builtin_trap();
}

extern "C" void RIG_CALL(const int8_t* in, int8_t* out) {
  for (const Bytes& each : inputs) {
    // Of a lone tensor the compiler knows the size.
    const size_t count = RIG_INPUT_TENSORS == 1 ? RIG_INPUTS : each.count;
    memcpy(each.data, in, count);
    in += count;
  }
  if (interpreted_run() == 0) __builtin_trap();
  for (const Bytes& each : outputs) {
    const size_t count = RIG_OUTPUT_TENSORS == 1 ? RIG_OUTPUTS : each.count;
    memcpy(out, each.data, count);
    out += count;
  }
}
