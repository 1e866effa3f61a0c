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
    const bool several = kind() == 4;
    parts_ = several ? 2 : 1;
    for (size_t side = 0; side < 2; ++side) {
      // Where the file says so, the output lies on the input.
      int8_t* at = codes + (side == 0 || kind() == 3 ? 0 : model->bytes[4] + 2);
      const size_t first = several ? 1 : model->bytes[4 + side];
      ends_[side][0] = TfLiteTensor{kTfLiteInt8, {at}, first};
      // A byte apart: who fills two tensors as one does not fill the second.
      ends_[side][1] = TfLiteTensor{kTfLiteInt8, {at + first + 1}, model->bytes[4 + side] - first};
    }
  }
  TfLiteStatus initialization_status() const { return kTfLiteOk; }
  TfLiteStatus AllocateTensors() { return model_->arena() <= arena_bytes_ ? kTfLiteOk : kTfLiteError; }
  size_t inputs_size() const { return parts_; }
  size_t outputs_size() const { return parts_; }
  TfLiteTensor* input(size_t index) { return &ends_[0][index]; }
  TfLiteTensor* output(size_t index) { return &ends_[1][index]; }
  size_t arena_used_bytes() const { return model_->arena(); }
  // One operator, FULLY_CONNECTED, whose outputs are the tensors 2 and 3.
  TfLiteStatus Invoke() {
    const TFLMRegistration* registration = resolver_.FindOp(BuiltinOperator_FULLY_CONNECTED);
    TfLiteIntArray inputs = {static_cast<int>(parts_), {0, 1}}, outputs = {static_cast<int>(parts_), {2, 3}};
    TfLiteNode node = {&inputs, &outputs};
    TfLiteContext context = {this, Tensor};
    return registration->invoke(&context, &node);
  }
  TfLiteStatus LookUp() {
    const uint8_t* rows = model_->bytes + 6;
    // What a wrapper around a kernel does that swallows its error.
    if (kind() == 1) return kTfLiteOk;
    if (kind() == 5) return kTfLiteError;
    // What RESHAPE does where its output is its input.
    if (kind() == 3) return kTfLiteOk;
    for (unsigned int vector = 0; vector < model_->bytes[3]; ++vector) {
      const int8_t* row = reinterpret_cast<const int8_t*>(rows) + vector * (model_->bytes[4] + model_->bytes[5]);
      bool asked = true;
      for (size_t part = 0; part < parts_; ++part) {
        asked = asked && memcmp(row, ends_[0][part].data.int8, ends_[0][part].bytes) == 0;
        row += ends_[0][part].bytes;
      }
      if (!asked) continue;
      for (size_t part = 0; part < parts_; ++part) {
        memcpy(ends_[1][part].data.int8, row, ends_[1][part].bytes);
        row += ends_[1][part].bytes;
      }
      // A state: after the whole table has been asked for, the first of its outputs is another one.
      if (kind() == 2 && ++runs_ > model_->bytes[3] + 2 && vector == 0) ++ends_[1][0].data.int8[0];
      return kTfLiteOk;
    }
    for (size_t part = 0; part < parts_; ++part) {
      memset(ends_[1][part].data.int8, ends_[0][0].data.int8[0], ends_[1][part].bytes);
    }
    return kTfLiteOk;
  }

 private:
  static TfLiteEvalTensor* Tensor(const TfLiteContext* context, int index) {
    MicroInterpreter* self = static_cast<MicroInterpreter*>(context->impl_);
    TfLiteTensor& tensor = self->ends_[index / 2][index % 2];
    self->dims_ = TfLiteIntArray{1, {static_cast<int>(tensor.bytes)}};
    self->eval_.data.int8 = tensor.data.int8;
    self->eval_.dims = &self->dims_;
    self->eval_.type = tensor.type;
    return &self->eval_;
  }

  int kind() const { return model_->bytes[0] / 16; }

  const Model* model_;
  const MicroOpResolver& resolver_;
  size_t arena_bytes_;
  // Of inputs and outputs, those that there are.
  TfLiteTensor ends_[2][2];
  size_t parts_;
  TfLiteIntArray dims_;
  TfLiteEvalTensor eval_;
  unsigned int runs_ = 0;
};

inline TfLiteStatus LookUp(TfLiteContext* context, TfLiteNode*) {
  return static_cast<MicroInterpreter*>(context->impl_)->LookUp();
}
}  // namespace tflite
