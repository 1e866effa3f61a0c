"""What esp-tflite-micro's wrappers of ESP-NN ask for, by processor and by the library's release.

Sources: ``kernels/esp_nn`` of esp-tflite-micro (to 1.4.0), which hands geometry to the library's
``get_..._scratch_size`` functions: :mod:`export.arena.esp_nn_s3` and :mod:`export.arena.esp_nn_p4`. On other processors
and for the rest of its operators it asks for nothing, but for SOFTMAX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from typing import Literal

from export.arena.esp_nn_p4 import p4_convolution, p4_depthwise
from export.arena.esp_nn_releases import FIRST, LATER, RELEASES, Release
from export.arena.esp_nn_s3 import s3_convolution, s3_depthwise
from export.arena.esp_nn_windows import Windows
from export.arena.kernels import Call, Kernels, Needs, Rule, elements
from export.arena.reference import RULES, per_channel, softmax_tables, unpacked_weights

__all__ = ["Target", "convolution_scratch", "depthwise_scratch", "esp_nn", "softmax_scratch"]

#: Processors with kernels of their own; all others take portable C.
Target = Literal["esp32s3", "esp32p4", "generic"]
_Scratch = Callable[[Target, Release, Windows], int]
#: A convolution's structure: the reference kernels' with an index.
_STRUCTURE = 80
#: Two tables of 256 sums with room to align, which SOFTMAX of later releases fills while it runs.
_SOFTMAX_TABLES = 2 * 256 * 4 + 16


def convolution_scratch(target: Target, release: Release, at: Windows) -> int:
    """Bytes that ``esp_nn_get_conv_scratch_size`` asks for.

    Args:
        target: the processor.
        release: of the library.
        at: the convolution.
    """
    if target == "generic":
        return 0
    return s3_convolution(release, at) if target == "esp32s3" else p4_convolution(release, at)


def depthwise_scratch(target: Target, release: Release, at: Windows) -> int:
    """Bytes that ``esp_nn_get_depthwise_conv_scratch_size`` asks for.

    Args:
        target: the processor.
        release: of the library.
        at: the convolution.
    """
    if target == "generic":
        return 0
    return s3_depthwise(release, at) if target == "esp32s3" else p4_depthwise(release, at)


def softmax_scratch(release: Release, width: int) -> int:
    """Bytes that ``esp_nn_get_softmax_scratch_size`` asks for, on any processor.

    Args:
        release: of the library.
        width: what it is told of a row.
    """
    return max(4 * width, _SOFTMAX_TABLES) if release == LATER else 4 * width


def _convolution(target: Target, release: Release, scratch: _Scratch, call: Call) -> Needs:
    # Weights of 4 bits are unpacked first; the library is asked whatever the weights' type and the dilation.
    sizes = unpacked_weights(call)
    if call.input(0).dtype == "int8":
        size = scratch(target, release, Windows.of(call))
        sizes += (size,) if size > 0 else ()
    return per_channel(call, call.output.shape[3], _STRUCTURE, *sizes)


def _softmax(release: Release, call: Call) -> Needs:
    source = call.input(0)
    if source.dtype != "int8" or call.output.dtype != "int8":
        return Needs((64, *softmax_tables(call)))
    # The wrapper takes the second axis for a row's width, whichever is the last.
    width = source.shape[1] if len(source.shape) > 1 else elements(source)
    return Needs((64,), (softmax_scratch(release, width),))


def _rules(target: Target, release: Release) -> Mapping[str, Rule]:
    return {
        **RULES,
        "CONV_2D": partial(_convolution, target, release, convolution_scratch),
        "DEPTHWISE_CONV_2D": partial(_convolution, target, release, depthwise_scratch),
        "SOFTMAX": partial(_softmax, release),
    }


#: Processors in the order in which to ask for them, with the preprocessor's condition.
_TARGETS: tuple[tuple[Target, str, str], ...] = (
    ("esp32s3", "ESP32-S3", "defined(CONFIG_IDF_TARGET_ESP32S3)"),
    ("esp32p4", "ESP32-P4", "defined(CONFIG_IDF_TARGET_ESP32P4)"),
    ("generic", "other processors, such as ESP32 and ESP32-C3", ""),
)
#: On top where nobody knows the release.
_MARGIN = 1024


def esp_nn(day: date | None = None) -> tuple[tuple[Kernels, ...], ...]:
    """By processor; of each the releases that a build may have.

    Args:
        day: of the library's source; ``None`` where nobody knows, which is any release, with a margin.
    """
    releases: tuple[Release, ...]
    if day is not None and day < LATER.since:
        # The state that was there on that day; before the first one, the first.
        releases = (max((each for each in RELEASES if each.since <= day), key=lambda each: each.since, default=FIRST),)
        which, margin = f"of {day}", 0
    else:
        releases, which, margin = (*RELEASES, LATER), "of any release to August 2026", _MARGIN
    return tuple(
        tuple(
            Kernels(
                f"esp_nn_{target}_{release.name}", f"ESP-NN {which} on {about}", _rules(target, release), condition,
                margin,
            )
            for release in releases
        )
        for target, about, condition in _TARGETS
    )  # fmt: skip
