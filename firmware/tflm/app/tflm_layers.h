// What each operator of the model gives, looked at right after it ran: its outputs share their memory with later ones.
//
// The resolver hands the interpreter the kernels' own functions, wrapped: that works with every TFLite Micro, with and
// without messages, and takes no memory in the arena.
#ifndef TFLM_LAYERS_H_
#define TFLM_LAYERS_H_

#include <stddef.h>
#include <stdint.h>

#include <type_traits>
#include <utility>

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace layers {

// What was found in one inference.
struct Found {
  bool differs;
  // Nothing was written into the outputs, although the kernel did not complain.
  bool unwritten;
  // It complained, and the inference ended there: no checksums.
  bool refused;
  size_t layer;
  uint32_t expected;
  uint32_t got;
};

// From now on inferences are compared with checksums, one for each operator; 0 stands for none. nullptr: not compared.
void expect(const uint32_t* checks, size_t count);

// What differed first since then.
Found found();

// Before each inference: its first operator comes next.
void restart();


// What a kernel's wrapper asks and says: whether anybody looks; an output before the run, and after it; all of them seen.
bool watching();
void filled(uint8_t* bytes, size_t size);
void seen(const uint8_t* bytes, size_t size);
void done();
// The kernel returned an error.
void gave_up();

// Bytes of a tensor.
template <typename Tensor>
size_t size_of(const Tensor& tensor) {
  size_t size = 0;
  switch (tensor.type) {
    case kTfLiteInt8:
    case kTfLiteUInt8:
    case kTfLiteBool:
      size = 1;
      break;
    case kTfLiteInt16:
      size = 2;
      break;
    case kTfLiteInt32:
    case kTfLiteFloat32:
      size = 4;
      break;
    default:
      return 0;
  }
  for (int axis = 0; axis < tensor.dims->size; ++axis) size *= static_cast<size_t>(tensor.dims->data[axis]);
  return size;
}

// A resolver of `count` kinds of operators, whose kernels are looked at.
template <typename Resolver, size_t count>
class Watched : public Resolver {
 public:
  // Its name changed in 2023.
  using Registration = std::remove_pointer_t<decltype(
      std::declval<const tflite::MicroOpResolver&>().FindOp(tflite::BuiltinOperator_ADD))>;
  using Kernel = std::remove_const_t<Registration>;
  using Invoke = decltype(Kernel::invoke);

  using Resolver::FindOp;
  Registration* FindOp(tflite::BuiltinOperator kind) const override {
    Registration* original = Resolver::FindOp(kind);
    if (original == nullptr) return nullptr;
    size_t slot = 0;
    while (slot < taken && slots[slot].kind != kind) ++slot;
    if (slot == count) return original;
    if (slot == taken) {
      slots[slot] = Slot{kind, original->invoke, *original};
      slots[slot].wrapped.invoke = wrapper(slot, std::make_index_sequence<count>());
      ++taken;
    }
    return &slots[slot].wrapped;
  }

 private:
  struct Slot {
    tflite::BuiltinOperator kind;
    Invoke original;
    Kernel wrapped;
  };

  // Whether something that the operator reads begins there.
  static bool is_input(TfLiteContext* context, const TfLiteNode* node, const void* bytes) {
    for (int input = 0; input < node->inputs->size; ++input) {
      const int index = node->inputs->data[input];
      if (index >= 0 && context->GetEvalTensor(context, index)->data.data == bytes) return true;
    }
    return false;
  }

  template <size_t slot>
  static TfLiteStatus run(TfLiteContext* context, TfLiteNode* node) {
    if (!watching()) return slots[slot].original(context, node);
    for (int output = 0; output < node->outputs->size; ++output) {
      const auto* tensor = context->GetEvalTensor(context, node->outputs->data[output]);
      uint8_t* bytes = static_cast<uint8_t*>(tensor->data.data);
      const size_t size = size_of(*tensor);
      // A plan in the file may leave a RESHAPE where it was: its output has the contents already.
      if (!is_input(context, node, bytes)) filled(bytes, size);
    }
    const TfLiteStatus status = slots[slot].original(context, node);
    if (status != kTfLiteOk) {
      gave_up();
      return status;
    }
    for (int output = 0; output < node->outputs->size; ++output) {
      const auto* tensor = context->GetEvalTensor(context, node->outputs->data[output]);
      seen(static_cast<const uint8_t*>(tensor->data.data), size_of(*tensor));
    }
    done();
    return status;
  }

  template <size_t... every>
  static Invoke wrapper(size_t slot, std::index_sequence<every...>) {
    const Invoke all[] = {&run<every>...};
    return all[slot];
  }

  static size_t taken;
  static Slot slots[count];
};

template <typename Resolver, size_t count>
size_t Watched<Resolver, count>::taken = 0;
template <typename Resolver, size_t count>
typename Watched<Resolver, count>::Slot Watched<Resolver, count>::slots[count] = {};

}  // namespace layers

#endif  // TFLM_LAYERS_H_
