// A row of the window of an output pixel, and where the windows of three such pixels begin.
#ifndef QTORCH_WINDOW_ROW_H_
#define QTORCH_WINDOW_ROW_H_

#include "kernel.h"

// A row of a window, with a code in place of what lies outside the image: in the image itself where it can be, else in
// copy, int8 [window_w][in_c]. row is the image's row, left its first column; without padding, nothing is outside.
Q_KERNEL const int8_t *q_window_row(const int8_t *in, int8_t *copy, int in_h, int in_w, int in_c, int row, int left,
                                    int window_w, int padded, int padding_code) {
  if (!padded) return in + (row * in_w + left) * in_c;
  const int inside = row >= 0 && row < in_h;
  if (inside && left >= 0 && left + window_w <= in_w) return in + (row * in_w + left) * in_c;
  int8_t *to = copy;
  for (int j = left; j < left + window_w; ++j) {
    const int present = inside && j >= 0 && j < in_w;
    const int8_t *const from = in + (row * in_w + j) * in_c;
    for (int c = 0; c < in_c; ++c) *to++ = present ? from[c] : (int8_t)padding_code;
  }
  return copy;
}

// Rows and columns of the image where the windows of three output pixels begin, the first-th and those behind it.
typedef struct {
  int top[3], left[3];
} q_corners;

Q_KERNEL q_corners q_three_corners(int first, int out_w, int stride_h, int stride_w, int padding_top,
                                   int padding_left) {
  q_corners found;
  int y = first / out_w, x = first - y * out_w;
  for (int k = 0; k < 3; ++k) {
    found.top[k] = y * stride_h - padding_top;
    found.left[k] = x * stride_w - padding_left;
    if (++x == out_w) {
      x = 0;
      ++y;
    }
  }
  return found;
}

#endif  // QTORCH_WINDOW_ROW_H_
