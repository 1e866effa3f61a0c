// The model in TFLite Micro's interpreter.
#ifndef TFLM_INFERENCE_H_
#define TFLM_INFERENCE_H_

#include <stddef.h>
#include <stdint.h>

namespace inference {

// Loads the model and allocates its tensors. Call once. On failure prints what went wrong and returns false.
bool begin();

// Of a model that keeps states: a new sequence begins, as after begin(). Takes as long as that.
bool reset();

// Codes, model::input_size, to codes, model::output_size; several inputs or outputs stand one after another. On failure
// prints and returns false.
bool invoke(const int8_t* input, int8_t* output);

// The same for physical values: quantizes, invokes, dequantizes. The order of both arrays, which nothing checks:
@axes@
bool predict(const float* physical, float* results);

// What TFLite Micro has taken of the arena after begin().
size_t arena_used();

}  // namespace inference

#endif  // TFLM_INFERENCE_H_
