// REDUCE_MAX and REDUCE_MIN over some axes, on one grid. TFLM: kernels/internal/reference/reduce.h, ReduceGeneric.
#ifndef QTORCH_EXTREMUM_OVER_AXES_H_
#define QTORCH_EXTREMUM_OVER_AXES_H_

#include "element.h"

// out [kept_0][kept_1] from extrema over [over_0][over_1]; in is read in steps of kept_step_0 ... elements. largest is
// 1 or 0; width: bytes of a code.
Q_KERNEL void extremum_over_axes(const void *in, void *out, int kept_0, int kept_1, int kept_step_0, int kept_step_1,
                                 int over_0, int over_1, int over_step_0, int over_step_1, int width, int largest) {
  for (int i = 0, at = 0; i < kept_0; ++i) {
    for (int j = 0; j < kept_1; ++j, ++at) {
      int16_t found = q_get(in, i * kept_step_0 + j * kept_step_1, width, 0);
      for (int k = 0; k < over_0; ++k) {
        const int first = i * kept_step_0 + j * kept_step_1 + k * over_step_0;
        for (int l = 0; l < over_1; ++l) {
          const int16_t code = q_get(in, first + l * over_step_1, width, 0);
          if ((code > found) == largest) found = code;
        }
      }
      q_put(out, at, width, found);
    }
  }
}

#endif  // QTORCH_EXTREMUM_OVER_AXES_H_
