// What a sketch includes: the model @name@ and the application around it.
//
//   app::boot()           loads the model and runs the self-test
//   app::answer()         one sample from the serial monitor
//   inference::predict()  physical values of your own, from sensors, say
//
@axes@
#ifndef @NAME@_FIRMWARE_H_
#define @NAME@_FIRMWARE_H_

// First: it leads Arduino's builder to the library, whose other headers have folders in their names.
#include <Chirale_TensorFlowLite.h>

#include "tflm_app.h"
#include "tflm_inference.h"
#include "tflm_model.h"

#endif  // @NAME@_FIRMWARE_H_
