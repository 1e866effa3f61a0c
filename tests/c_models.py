"""Small models in hand-written C, in the form that an export has, for whatever builds and runs such sources."""

from __future__ import annotations

import numpy as np

_HEADER = """\
#ifndef @NAME@_MODEL_H
#define @NAME@_MODEL_H
#include <stdint.h>
#define @NAME@_INPUT_SIZE @in@
#define @NAME@_OUTPUT_SIZE @out@
#ifdef __cplusplus
extern "C" {
#endif
int8_t *@name@_input(void);
int8_t *@name@_output(void);
void @name@_invoke(const int8_t *in, int8_t *out);
#ifdef __cplusplus
}
#endif
#endif
"""

#: Weights of the dense layer, outputs first.
WEIGHTS = np.array([[1, -2, 3, -4], [50, 60, -70, 80], [-128, 127, 5, 0]])
_DENSE = """\
#include "dense_model.h"
#ifdef __AVR__
#include <avr/pgmspace.h>
#define WEIGHT(i) ((int8_t)pgm_read_byte(&weights[i]))
#else
#define PROGMEM
#define WEIGHT(i) (weights[i])
#endif

static const int8_t weights[12] PROGMEM = {@weights@};
static int8_t memory[7];

int8_t *dense_input(void) { return memory; }

int8_t *dense_output(void) { return memory + 4; }

void dense_invoke(const int8_t *in, int8_t *out) {
  for (uint8_t o = 0; o < 3; ++o) {
    int32_t sum = 100 * (o + 1);
    for (uint8_t i = 0; i < 4; ++i) {
      sum += (int32_t)in[i] * WEIGHT(4 * o + i);
    }
    sum /= 64;
    out[o] = (int8_t)(sum < -128 ? -128 : sum > 127 ? 127 : sum);
  }
}
"""


def header(name: str, inputs: int, outputs: int) -> str:
    """``<name>_model.h``."""
    sizes = {"@name@": name, "@NAME@": name.upper(), "@in@": str(inputs), "@out@": str(outputs)}
    text = _HEADER
    for placeholder, value in sizes.items():
        text = text.replace(placeholder, value)
    return text


def dense(weights: np.ndarray = WEIGHTS) -> dict[str, str]:
    """A layer of four inputs and three outputs: sources by file name."""
    listed = ", ".join(str(weight) for weight in weights.ravel())
    return {"dense_model.h": header("dense", 4, 3), "dense_model.c": _DENSE.replace("@weights@", listed)}


def dense_samples(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs int8 ``[count, 4]`` and what the layer computes, int8 ``[count, 3]``; not by the same code."""
    inputs = np.random.default_rng(0).integers(-128, 128, (count, 4)).astype(np.int8)
    sums = inputs.astype(np.int64) @ WEIGHTS.T + 100 * np.arange(1, 4)
    return inputs, np.clip(np.trunc(sums / 64), -128, 127).astype(np.int8)


def copying(body: str, before: str = "") -> dict[str, str]:
    """A model of one input that does ``body`` and then copies it to its output: sources by file name.

    ``before`` stands before the function.
    """
    source = f"""\
#include "copy_model.h"
{before}
void copy_invoke(const int8_t *in, int8_t *out) {{
{body}
  *out = *in;
}}
"""
    return {"copy_model.h": header("copy", 1, 1), "copy_model.c": source}
