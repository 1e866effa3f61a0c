#pragma once
#include <stdint.h>

#include "tensorflow/lite/schema/schema_generated.h"

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType {
  kTfLiteFloat32 = 1,
  kTfLiteInt32 = 2,
  kTfLiteUInt8 = 3,
  kTfLiteBool = 6,
  kTfLiteInt16 = 7,
  kTfLiteInt8 = 9
};
struct TfLiteIntArray {
  int size;
  int data[2];
};
struct TfLiteEvalTensor {
  union {
    void* data;
    int8_t* int8;
  } data;
  TfLiteIntArray* dims;
  TfLiteType type;
};
struct TfLiteNode {
  TfLiteIntArray* inputs;
  TfLiteIntArray* outputs;
};
struct TfLiteContext {
  void* impl_;
  TfLiteEvalTensor* (*GetEvalTensor)(const TfLiteContext* context, int tensor);
};
struct TFLMRegistration {
  TfLiteStatus (*invoke)(TfLiteContext* context, TfLiteNode* node);
};

namespace tflite {
TfLiteStatus LookUp(TfLiteContext* context, TfLiteNode* node);

class MicroOpResolver {
 public:
  virtual const TFLMRegistration* FindOp(BuiltinOperator kind) const = 0;
  virtual const TFLMRegistration* FindOp(const char* name) const = 0;

 protected:
  ~MicroOpResolver() = default;
};

template <unsigned int tOpCount>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
  const TFLMRegistration* FindOp(BuiltinOperator) const override { return &registration; }
  const TFLMRegistration* FindOp(const char*) const override { return nullptr; }
  TfLiteStatus AddFullyConnected() { return Add(); }
  TfLiteStatus AddTanh() { return Add(); }
  unsigned int count = 0;
  TFLMRegistration registration = {LookUp};

 private:
  TfLiteStatus Add() { return count++ < tOpCount ? kTfLiteOk : kTfLiteError; }
};
}  // namespace tflite
