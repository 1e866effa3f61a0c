#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

struct TfLiteTensor {
  TfLiteType type;
  union {
    int8_t* int8;
    char* raw;
  } data;
  size_t bytes;
};

namespace tflite {
class MicroInterpreter {
 public:
  MicroInterpreter(const Model* model, const MicroOpResolver& resolver, uint8_t* arena, size_t arena_bytes)
      : model_(model), resolver_(resolver), arena_bytes_(arena_bytes) {
    int8_t* codes = reinterpret_cast<int8_t*>(arena);
    input_ = TfLiteTensor{kTfLiteInt8, {codes}, model->bytes[4]};
    // Where the file says so, the output lies on the input.
    output_ = TfLiteTensor{kTfLiteInt8, {codes + (model->bytes[0] / 16 == 3 ? 0 : model->bytes[4])}, model->bytes[5]};
  }
  TfLiteStatus initialization_status() const { return kTfLiteOk; }
  TfLiteStatus AllocateTensors() { return model_->arena() <= arena_bytes_ ? kTfLiteOk : kTfLiteError; }
  size_t inputs_size() const { return 1; }
  size_t outputs_size() const { return 1; }
  TfLiteTensor* input(size_t) { return &input_; }
  TfLiteTensor* output(size_t) { return &output_; }
  size_t arena_used_bytes() const { return model_->arena(); }
  // One operator, FULLY_CONNECTED, whose output is tensor 1.
  TfLiteStatus Invoke() {
    const TFLMRegistration* registration = resolver_.FindOp(BuiltinOperator_FULLY_CONNECTED);
    TfLiteIntArray inputs = {1, {0}}, outputs = {1, {1}};
    TfLiteNode node = {&inputs, &outputs};
    TfLiteContext context = {this, Tensor};
    return registration->invoke(&context, &node);
  }
  TfLiteStatus LookUp() {
    const uint8_t* rows = model_->bytes + 6;
    const uint8_t kind = model_->bytes[0] / 16;
    // What a wrapper around a kernel does that swallows its error.
    if (kind == 1) return kTfLiteOk;
    // What RESHAPE does where its output is its input.
    if (kind == 3) return kTfLiteOk;
    for (unsigned int vector = 0; vector < model_->bytes[3]; ++vector) {
      const int8_t* row = reinterpret_cast<const int8_t*>(rows) + vector * (input_.bytes + output_.bytes);
      if (memcmp(row, input_.data.int8, input_.bytes) != 0) continue;
      memcpy(output_.data.int8, row + input_.bytes, output_.bytes);
      // A state: after the whole table has been asked for, the first of its outputs is another one.
      if (kind == 2 && ++runs_ > model_->bytes[3] + 2 && vector == 0) ++output_.data.int8[0];
      return kTfLiteOk;
    }
    memset(output_.data.int8, input_.data.int8[0], output_.bytes);
    return kTfLiteOk;
  }

 private:
  static TfLiteEvalTensor* Tensor(const TfLiteContext* context, int index) {
    MicroInterpreter* self = static_cast<MicroInterpreter*>(context->impl_);
    TfLiteTensor& tensor = index == 0 ? self->input_ : self->output_;
    self->dims_ = TfLiteIntArray{1, {static_cast<int>(tensor.bytes)}};
    self->eval_.data.int8 = tensor.data.int8;
    self->eval_.dims = &self->dims_;
    self->eval_.type = tensor.type;
    return &self->eval_;
  }

  const Model* model_;
  const MicroOpResolver& resolver_;
  size_t arena_bytes_;
  TfLiteTensor input_, output_;
  TfLiteIntArray dims_;
  TfLiteEvalTensor eval_;
  unsigned int runs_ = 0;
};

inline TfLiteStatus LookUp(TfLiteContext* context, TfLiteNode*) {
  return static_cast<MicroInterpreter*>(context->impl_)->LookUp();
}
}  // namespace tflite
