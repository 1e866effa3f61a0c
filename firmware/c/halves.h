// Two weights of 4 bits in a byte, -8..7 each: 16 times the one, and 8 more than the other.
#ifndef QTORCH_HALVES_H_
#define QTORCH_HALVES_H_

#include "kernel.h"

Q_KERNEL int q_low_s4(int8_t pair) { return (pair & 15) - 8; }
Q_KERNEL int q_high_s4(int8_t pair) { return pair >> 4; }

#endif  // QTORCH_HALVES_H_
