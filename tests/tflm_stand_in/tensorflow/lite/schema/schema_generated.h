#pragma once
#include <stdint.h>
#define TFLITE_SCHEMA_VERSION (3)
namespace tflite {
enum BuiltinOperator { BuiltinOperator_ADD = 0, BuiltinOperator_FULLY_CONNECTED = 9 };
struct Model {
  uint8_t bytes[6];
  unsigned int version() const { return bytes[0] % 16u; }
  unsigned int arena() const { return bytes[1] + 256u * bytes[2]; }
};
inline const Model* GetModel(const void* data) { return static_cast<const Model*>(data); }
}  // namespace tflite
