"""A function of ``firmware/c`` for AVR, called with bytes in simavr."""

from __future__ import annotations

import numpy as np

from export.c.kernels import kernel_text
from firmware.emulation import MACHINES, Replay, replay

__all__ = ["NUMBERS_OF_A_LEVEL", "little", "on_an_uno"]

#: Statements that read what levels are made of (firmware/c/requantize_avr.h): 3, 4 and 3 bytes.
NUMBERS_OF_A_LEVEL = """\
  __uint24 moved, fraction;
  uint32_t multiplier;
  memcpy(&moved, in, 3);
  memcpy(&multiplier, in + 3, 4);
  memcpy(&fraction, in + 7, 3);
"""


def little(numbers: list[int], count: int) -> np.ndarray:
    """int8 ``[N, count]``."""
    return np.array([list((n % (1 << 8 * count)).to_bytes(count, "little")) for n in numbers], np.uint8).view(np.int8)


def on_an_uno(kernel: str, body: str, inputs: np.ndarray, expected: np.ndarray) -> Replay:
    """A function of ``firmware/c``, called by ``body`` on ``in`` and ``out``."""
    header = (
        f"#include <stdint.h>\n#define RAW_INPUT_SIZE {inputs.shape[1]}\n#define RAW_OUTPUT_SIZE {expected.shape[1]}\n"
        "void raw_invoke(const int8_t *in, int8_t *out);\n"
    )
    includes = '#include "raw_model.h"\n#include <string.h>\n'
    source = f"{includes}{kernel_text({kernel: ''})}\nvoid raw_invoke(const int8_t *in, int8_t *out) {{\n{body}}}\n"
    return replay(MACHINES["atmega328p"], {"raw_model.h": header, "raw_model.c": source}, "raw", inputs, expected)
