// ARG_MAX and ARG_MIN along one axis: where the first of the largest, or smallest, codes stands. TFLM:
// kernels/internal/reference/arg_min_max.h, ArgMinMax.
#ifndef QTORCH_PLACES_OF_EXTREMA_H_
#define QTORCH_PLACES_OF_EXTREMA_H_

#include "kernel.h"

// in int8 [outer][along][inner], out int32 [outer][inner]. largest is 1 or 0.
Q_KERNEL void places_of_extrema(const int8_t *in, int32_t *out, int outer, int along, int inner, int largest) {
  for (int i = 0; i < outer; ++i) {
    for (int j = 0; j < inner; ++j) {
      const int8_t *codes = in + (i * along * inner + j);
      int8_t found = codes[0];
      int place = 0;
      for (int k = 1; k < along; ++k) {
        const int8_t code = codes[k * inner];
        if (largest ? code > found : code < found) {
          found = code;
          place = k;
        }
      }
      out[i * inner + j] = place;
    }
  }
}

#endif  // QTORCH_PLACES_OF_EXTREMA_H_
