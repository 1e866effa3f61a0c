#include "tflm_inference.h"

#include <string.h>

#include <new>

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"
#include "tflm_board.h"
#include "tflm_console.h"
#include "tflm_layers.h"
#include "tflm_model.h"
#if defined(MODEL_RESOURCE_VARIABLES)
#include "tensorflow/lite/micro/micro_allocator.h"
#include "tensorflow/lite/micro/micro_resource_variable.h"
#endif

namespace inference {

namespace {

alignas(16) uint8_t arena[model::arena_bytes];
// Built in begin() and never destroyed: firmware doesn't end, and destructors of globals would cost memory and code.
#if defined(SELF_TEST_WITHOUT_LAYERS)
using Resolver = model::Resolver;
#else
using Resolver = layers::Watched<model::Resolver, model::op_count>;
#endif
alignas(Resolver) unsigned char resolver_storage[sizeof(Resolver)];
alignas(tflite::MicroInterpreter) unsigned char interpreter_storage[sizeof(tflite::MicroInterpreter)];
tflite::MicroInterpreter* interpreter = nullptr;

bool failed(const char* what) {
  board::print("error: ");
  board::print(model::name());
  board::print(": ");
  board::print(what);
  board::print("\n");
  return false;
}

// A tensor of another type or size than the export's means other compile-time settings here and in the library, such as
// TF_LITE_STATIC_MEMORY, which changes what lies where in a TfLiteTensor.
bool counted(const TfLiteTensor* tensor, size_t& elements) {
  if (tensor == nullptr || tensor->type != kTfLiteInt8) return false;
  elements += tensor->bytes;
  return true;
}

// The interpreter over the arena, with resource variables where the model has some.
tflite::MicroInterpreter* made(const tflite::Model* loaded, const Resolver& resolver) {
#if defined(MODEL_RESOURCE_VARIABLES)
  tflite::MicroAllocator* allocator = tflite::MicroAllocator::Create(arena, model::arena_bytes);
  if (allocator == nullptr) return nullptr;
  tflite::MicroResourceVariables* variables =
      tflite::MicroResourceVariables::Create(allocator, MODEL_RESOURCE_VARIABLES);
  return ::new (interpreter_storage) tflite::MicroInterpreter(loaded, resolver, allocator, variables);
#else
  return ::new (interpreter_storage) tflite::MicroInterpreter(loaded, resolver, arena, model::arena_bytes);
#endif
}

bool ends_fit() {
  size_t taken = 0;
  for (size_t index = 0; index < interpreter->inputs_size(); ++index) {
    if (!counted(interpreter->input(index), taken)) return false;
  }
  size_t given = 0;
  for (size_t index = 0; index < interpreter->outputs_size(); ++index) {
    if (!counted(interpreter->output(index), given)) return false;
  }
  return taken == model::input_size && given == model::output_size;
}

}  // namespace

bool begin() {
  const tflite::Model* loaded = tflite::GetModel(model::data());
  if (loaded->version() != TFLITE_SCHEMA_VERSION) {
    return failed("the model's schema version is not this TFLite Micro's; export again or take another TFLite Micro");
  }
  Resolver& resolver = *::new (resolver_storage) Resolver;
  if (model::register_ops(resolver) != kTfLiteOk) return failed("an operator could not be registered");
  interpreter = made(loaded, resolver);
  if (interpreter == nullptr || interpreter->initialization_status() != kTfLiteOk) return failed("the interpreter could not be set up");
  if (interpreter->AllocateTensors() != kTfLiteOk) {
    board::print("arena: ");
    console::print_unsigned(model::arena_bytes);
    board::print(" bytes\n");
    return failed("AllocateTensors failed; optimized kernels may need a larger arena, see the _arena.h file");
  }
  if (!ends_fit()) {
    return failed("expected int8 inputs and outputs of the exported sizes; is the library built with other settings?");
  }
  return true;
}

// Built anew: what CALL_ONCE has set once, an interpreter's own Reset() does not set again.
bool reset() { return begin(); }

bool invoke(const int8_t* input, int8_t* output) {
  if (interpreter == nullptr) return failed("invoke was called before begin");
  for (size_t index = 0; index < interpreter->inputs_size(); ++index) {
    TfLiteTensor* tensor = interpreter->input(index);
    memcpy(tensor->data.int8, input, tensor->bytes);
    input += tensor->bytes;
  }
#if !defined(SELF_TEST_WITHOUT_LAYERS)
  layers::restart();
#endif
  if (interpreter->Invoke() != kTfLiteOk) return failed("Invoke failed");
  for (size_t index = 0; index < interpreter->outputs_size(); ++index) {
    const TfLiteTensor* tensor = interpreter->output(index);
    memcpy(output, tensor->data.int8, tensor->bytes);
    output += tensor->bytes;
  }
  return true;
}

bool predict(const float* physical, float* results) {
  static int8_t input[model::input_size];
  static int8_t output[model::output_size];
  model::quantize(physical, input);
  if (!invoke(input, output)) return false;
  model::dequantize(output, results);
  return true;
}

size_t arena_used() { return interpreter == nullptr ? 0 : interpreter->arena_used_bytes(); }

}  // namespace inference
