"""Scratch buffers of ESP-NN's convolutions on ESP32-S3, by release.

Sources: ``esp_nn_conv_esp32s3.c`` and ``esp_nn_depthwise_conv_s8_esp32s3.c``, from 1.0.0-rc1 to 1.2.3. Of later
releases the largest of what their sources of summer 2026 say.
"""

from __future__ import annotations

from dataclasses import replace

from export.arena.esp_nn_releases import FILLED_VECTORS, LATER, WHOLE_WINDOWS, WITH_ROOM, Release
from export.arena.esp_nn_windows import Windows, of_one_place
from export.arena.kernels import rounded

__all__ = ["s3_convolution", "s3_depthwise"]

_KIB = 1024
#: Bytes of filter from which on later releases go through it by panels, and what they hold outputs in.
_PANEL, _STAGED = 24 * _KIB, 16 * _KIB
#: Padded input from which on a depthwise convolution takes some rows at a time; and all of it in 16 bits.
_WHOLE, _WHOLE_WIDE = 40 * _KIB, 48 * _KIB


def s3_convolution(release: Release, at: Windows) -> int:
    """Bytes that ``esp_nn_get_conv_scratch_size`` asks for."""
    if release == LATER:
        return _later(at)
    room = 64 if release.has(FILLED_VECTORS) else 32
    if at.one_by_one:
        return of_one_place(at, room)
    size = at.kernel_area * rounded(at.channels, 16) * at.outputs + room + 4 * at.outputs
    if at.padded:
        size += (at.height + 2 * at.top) * (at.width + 2 * at.left) * at.channels
    if not release.has(WHOLE_WINDOWS):
        return size
    if at.row < 16 <= at.window:
        return _whole_windows(at, room)
    size += rounded(at.row, 16) * at.kernel_height * at.outputs
    below, right = at.loosely_behind
    if below or right:
        size += (at.height + below) * (at.width + right) * at.channels
    return size


def _whole_windows(at: Windows, room: int) -> int:
    window = rounded(at.window, 16)
    return 4 * at.outputs + 16 + at.outputs * window + 16 + window + room


def _later(at: Windows) -> int:
    if 0 < at.depth < at.channels and at.channels % at.depth == 0:
        groups = at.channels // at.depth
        if at.outputs % groups == 0:
            one = replace(at, channels=at.depth, outputs=at.outputs // groups)
            slices = at.height * at.width * one.channels + at.output_height * at.output_width * one.outputs
            return _later(one) + slices + 64
    if at.kernel == (3, 3) and at.channels % 16 == 0 and at.outputs >= 16:
        each = at.window * (at.outputs + 1) + 4 * at.outputs + 32
        staged = (16 + 24) * at.window + _STAGED + 64 + 32
        return max(each, staged) if at.output_height * at.output_width >= 16 else each
    if at.one_by_one:
        transposed = 16 * rounded(at.channels, 8) if at.height * at.width >= 8 else 0
        panels = 24 * at.channels + _STAGED if at.channels * at.outputs > _PANEL else 0
        return max(transposed, 24 * at.channels + 8 * at.outputs, panels) + 64
    if at.row < 16 <= at.window:
        return _whole_windows(at, 64)
    below, right = at.behind
    padded = 0
    if at.padded or below or right:
        padded = (at.height + at.top + below) * (at.width + at.left + right) * at.channels
    filters = max(rounded(at.row, 16) * at.kernel_height, at.window) * at.outputs
    return padded + filters + 64 + 4 * at.outputs


def s3_depthwise(release: Release, at: Windows) -> int:
    """Bytes that ``esp_nn_get_depthwise_conv_scratch_size`` asks for."""
    if release == LATER:
        return max(s3_depthwise(FILLED_VECTORS, at), _later_depthwise(at))
    wide = 2 * (at.kernel_area * at.outputs + at.height * at.width * at.channels)
    if at.multiplier == 1 and at.channels % 16 == 0 and at.kernel == (3, 3):
        return _three_by_three(release, at)
    if release.has(WHOLE_WINDOWS):
        if at.multiplier == 1 and at.channels > 3:
            return _each_channel(at, wide)
    elif at.multiplier == 1 and at.channels % 8 == 0 and at.kernel == (3, 3):
        return wide + (32 if release.has(WITH_ROOM) else 16)
    if at.multiplier % 4 == 0:
        return wide + (32 if release.has(WITH_ROOM) else 16)
    return 32


def _three_by_three(release: Release, at: Windows) -> int:
    """Of int8 throughout: the filter, and the padded input or some rows of it."""
    filters = 9 * at.channels
    below, right = (2 * at.top, 2 * at.left) if at.padded else at.loosely_behind
    if not below and not right:
        return filters + 16
    whole = (at.height + below) * (at.width + right) * at.channels
    if release.has(WHOLE_WINDOWS) and whole > _WHOLE:
        whole = 3 * (at.width + right) * at.channels
    return filters + whole + 16


def _each_channel(at: Windows, wide: int) -> int:
    """Of others with one output for each channel: in 16 bits, or with more channels."""
    if at.channels % 8:
        channels = rounded(at.channels, 8)
        size = rounded(2 * at.kernel_area * channels, 16)
        size = rounded(size + 2 * at.height * at.width * channels, 16)
        size = rounded(size + at.output_height * at.output_width * channels, 16)
        return size + 3 * 4 * channels + 16
    if at.kernel == (3, 3) and at.channels >= 12:
        channels = rounded(at.channels, 16)
        below, right = at.loosely_behind
        padded = (at.height + 2 * at.top + below) * (at.width + 2 * at.left + right)
        return (9 + padded + at.output_height * at.output_width) * channels + 64
    if at.kernel == (3, 3) or wide <= _WHOLE_WIDE:
        return wide + 32
    return 2 * at.kernel_area * at.channels + 2 * at.kernel_height * at.width * at.channels + 32


def _later_depthwise(at: Windows) -> int:
    if at.multiplier != 1 or at.channels % 8:
        return 0
    column = at.width == at.kernel_width == at.output_width == at.across == 1 and not at.left
    if column and at.channels % 16 == 0:
        return 4 * at.channels + 2 * at.kernel_height * at.channels + 64
    if at.kernel != (3, 3):
        return 0
    if at.channels % 16:
        return _each_channel(at, 0) + 3 * 4 * rounded(at.channels, 16)
    below, right = at.behind
    row, rows = (at.width + at.left + right) * at.channels, at.height + at.top + below
    if rows * row > _WHOLE:
        rows = min(max((_WHOLE - 9 * at.channels - 32) // row, 3), rows)
    return 9 * at.channels + rows * row + 32
