"""Scratch buffers of ESP-NN's convolutions on ESP32-P4, by release.

Sources: ``esp_nn_conv_esp32p4.c`` and ``esp_nn_depthwise_conv_esp32p4.c`` from 1.1.0 to 1.2.3; of later releases
``esp_nn_conv_riscv_pie.c`` and ``esp_nn_depthwise_conv_riscv_pie.c`` of summer 2026.
"""

from __future__ import annotations

from export.arena.esp_nn_releases import FILLED_VECTORS, LATER, WITH_P4, Release
from export.arena.esp_nn_s3 import s3_convolution
from export.arena.esp_nn_windows import Windows, of_one_place
from export.arena.kernels import rounded

__all__ = ["p4_convolution", "p4_depthwise"]

_KIB = 1024
#: What a convolution tries to stay below.
_BUDGET = 32 * _KIB
#: Numbers of the windows of which later releases lay out 16 beside each other.
_BESIDE = range(128, 2304 + 1)
#: Bytes of filter that its cache holds.
_CACHED = 96 * _KIB


def p4_convolution(release: Release, at: Windows) -> int:
    """Bytes that ``esp_nn_get_conv_scratch_size`` asks for."""
    if not release.has(WITH_P4):
        return 0
    if not release.has(FILLED_VECTORS):
        # Until then it is what ESP32-S3 asked for at first.
        return s3_convolution(WITH_P4, at)
    later, sums = release == LATER, 4 * at.outputs
    if at.one_by_one:
        return 20 * at.outputs + 64 if at.channels < 16 else of_one_place(at, 32)
    beside = later and at.window in _BESIDE and at.outputs >= 16
    if not at.padded and at.row >= 16 and not beside:
        return at.kernel_area * rounded(at.channels, 16) * at.outputs + 32 + sums
    streamed = later and at.padded and at.row >= 16 and at.window * at.outputs > _CACHED
    if at.window >= 16 and not streamed:
        return sums + at.window + 32 + (16 * at.window + 16 if later and at.window < _BESIDE.stop else 0)
    if not at.padded:
        return sums + at.kernel_area * _lanes(at) * at.outputs + at.height * at.width * _lanes(at) + 32
    return (_later_rows(at) if later else _rows(at)) + sums + 32


def _lanes(at: Windows) -> int:
    """Channels that make a row of a window fill a vector of 16."""
    return rounded(-(-16 // at.kernel_width), 16)


def _rows(at: Windows) -> int:
    """Of a padded convolution whose windows have fewer than 16 numbers: its filter, and some rows of the input."""
    sums = 4 * at.outputs
    whole = (at.width + 2 * at.left) * (at.height + 2 * at.top) * at.channels
    if whole + sums <= _BUDGET:
        return whole + at.kernel_area * rounded(at.channels, 16) * at.outputs
    filters = at.kernel_area * _lanes(at) * at.outputs
    row, left = (at.width + 2 * at.left) * _lanes(at), _BUDGET - sums - filters
    at_once = 1
    if left > 0 and at.kernel_height * row <= left:
        at_once = min((left - at.kernel_height * row) // (at.down * row) + 1, at.output_height)
    return ((at_once - 1) * at.down + at.kernel_height + 2 * at.top) * row + filters


def _later_rows(at: Windows) -> int:
    filters, channels = 0, at.channels
    if at.row < 16:
        channels = _lanes(at)
        filters = at.kernel_area * channels * at.outputs
    row, at_once = (at.width + 2 * at.left) * channels, at.output_height
    left = _BUDGET - 4 * at.outputs - filters - at.kernel_height * row
    if (at_once - 1) * at.down * row > left:
        at_once = max(1, min(left // (at.down * row) + 1, at_once)) if left >= 0 else 1
    return filters + ((at_once - 1) * at.down + at.kernel_height) * row


def p4_depthwise(release: Release, at: Windows) -> int:
    """Bytes that ``esp_nn_get_depthwise_conv_scratch_size`` asks for."""
    return 4 * at.channels if release == LATER and at.multiplier == 1 and at.channels >= 8 else 0
