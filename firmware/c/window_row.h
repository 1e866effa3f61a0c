// A row of the window of an output pixel, and where the windows of three such pixels begin.
#ifndef QTORCH_WINDOW_ROW_H_
#define QTORCH_WINDOW_ROW_H_

#include "kernel.h"

// count copies of a code, four at a time.
Q_KERNEL int8_t *q_filled(int8_t *to, int code, int count) {
  const uint32_t four = (uint32_t)(uint8_t)code * 0x01010101u;
  for (; count >= 4; count -= 4, to += 4) memcpy(to, &four, 4);
  for (; count > 0; --count) *to++ = (int8_t)code;
  return to;
}

// count codes, four at a time.
Q_KERNEL int8_t *q_copied(int8_t *to, const int8_t *from, int count) {
  for (; count >= 4; count -= 4, to += 4, from += 4) {
    uint32_t four;
    memcpy(&four, from, 4);
    memcpy(to, &four, 4);
  }
  for (; count > 0; --count) *to++ = *from++;
  return to;
}

// A row of a window that reaches beyond the image, in copy, with a code in place of what lies outside.
Q_APART void q_padded_row(const int8_t *in, int8_t *copy, int in_h, int in_w, int in_c, int row, int left, int window_w,
                          int padding_code) {
  const int first = left < 0 ? -left : 0, last = in_w - left < window_w ? in_w - left : window_w;
  if (row < 0 || row >= in_h || first >= last) {
    q_filled(copy, padding_code, window_w * in_c);
    return;
  }
  int8_t *to = q_filled(copy, padding_code, first * in_c);
  to = q_copied(to, in + (row * in_w + left + first) * in_c, (last - first) * in_c);
  q_filled(to, padding_code, (window_w - last) * in_c);
}

// A row of a window, with a code in place of what lies outside the image: in the image itself where it can be, else in
// copy, int8 [window_w][in_c]. row is the image's row, left its first column; without padding, nothing is outside.
Q_KERNEL const int8_t *q_window_row(const int8_t *in, int8_t *copy, int in_h, int in_w, int in_c, int row, int left,
                                    int window_w, int padded, int padding_code) {
  if (!padded || (row >= 0 && row < in_h && left >= 0 && left + window_w <= in_w)) {
    return in + (row * in_w + left) * in_c;
  }
  q_padded_row(in, copy, in_h, in_w, in_c, row, left, window_w, padding_code);
  return copy;
}

// Where the windows of three output pixels begin, the first-th and those behind it: rows and columns of the image, what
// is there, and whether all three are inside of it.
typedef struct {
  int top[3], left[3], inside;
  const int8_t *at[3];
} q_corners;

Q_KERNEL q_corners q_three_corners(const int8_t *in, int first, int in_h, int in_w, int in_c, int out_w, int window_h,
                                   int window_w, int stride_h, int stride_w, int padding_top, int padding_left,
                                   int padded) {
  q_corners found;
  int y = first / out_w, x = first - y * out_w;
  found.inside = 1;
  for (int k = 0; k < 3; ++k) {
    const int top = y * stride_h - padding_top, left = x * stride_w - padding_left;
    found.top[k] = top;
    found.left[k] = left;
    found.at[k] = in + (top * in_w + left) * in_c;
    if (padded && (top < 0 || left < 0 || top + window_h > in_h || left + window_w > in_w)) found.inside = 0;
    if (++x == out_w) {
      x = 0;
      ++y;
    }
  }
  return found;
}

// The i-th row of the k-th of three windows.
Q_KERNEL const int8_t *q_row_of_three(const q_corners *corners, int k, int i, const int8_t *in, int8_t *copy, int in_h,
                                      int in_w, int in_c, int window_w, int padded, int padding_code) {
  if (!padded || corners->inside) return corners->at[k] + i * in_w * in_c;
  return q_window_row(in, copy, in_h, in_w, in_c, corners->top[k] + i, corners->left[k], window_w, padded,
                      padding_code);
}

#endif  // QTORCH_WINDOW_ROW_H_
