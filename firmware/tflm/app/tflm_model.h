// The exported model @name@, under the names that the application uses. Everything here comes from the export.
#ifndef TFLM_MODEL_H_
#define TFLM_MODEL_H_

#include <stddef.h>
#include <stdint.h>

#include "@name@_arena.h"
#if !defined(SELF_TEST_WITHOUT_LAYERS)
#include "@name@_layer_checks.h"
#endif
#include "@name@_model_data.h"
#include "@name@_op_resolver.h"
#include "@name@_quantization.h"
#include "@name@_test_vectors.h"

#if defined(@NAME@_RESOURCE_VARIABLES)
#define MODEL_RESOURCE_VARIABLES @NAME@_RESOURCE_VARIABLES
#endif

namespace model {

using Resolver = tflite::MicroMutableOpResolver<@name@_op_count>;

enum : size_t {
  arena_bytes = @NAME@_ARENA_BYTES,
  op_count = @NAME@_OP_COUNT,
  input_size = @NAME@_TEST_INPUT_SIZE,
  output_size = @NAME@_TEST_OUTPUT_SIZE,
  test_count = @NAME@_TEST_COUNT,
};

// Whether the vectors are runs of one sequence, each of which hangs on those before.
#if defined(@NAME@_TEST_SEQUENCE)
enum : bool { sequence = true };
#else
enum : bool { sequence = false };
#endif

inline const char* name() { return "@name@"; }
inline const unsigned char* data() { return @name@_model_data; }
inline TfLiteStatus register_ops(Resolver& resolver) { return @name@_register_ops(resolver); }

// Physical values, [input_size], to codes and codes, [output_size], to physical values. Several inputs or outputs stand
// one after another.
inline void quantize(const float* physical, int8_t* codes) {
  @quantize@
}
inline void dequantize(const int8_t* codes, float* physical) {
  @dequantize@
}

inline const int8_t* test_input(size_t vector) { return @name@_test_inputs[vector]; }
inline const int8_t* test_output(size_t vector) { return @name@_test_outputs[vector]; }

#if !defined(SELF_TEST_WITHOUT_LAYERS)
enum : size_t { layer_count = @NAME@_LAYER_COUNT, layer_vectors = @NAME@_LAYER_VECTORS };
inline const uint32_t* layer_checks(size_t vector) { return @name@_layer_checks[vector]; }
inline const char* layer_kind(size_t layer) { return @name@_layer_kinds[@name@_layer_kind[layer]]; }
#endif

}  // namespace model

#endif  // TFLM_MODEL_H_
