"""Flags of a build that change integers: generated headers refuse them, before a device computes other codes."""

from __future__ import annotations

__all__ = ["refused_build_flags"]

#: Macro, the condition under which the sources at hand act on it, whose it is, and the remedy.
_FLAGS = (
    (
        "TFLITE_SINGLE_ROUNDING",
        "defined(TFLITE_SINGLE_ROUNDING) && TFLITE_SINGLE_ROUNDING",
        "TFLite Micro then rounds once where training rounded twice",
        "remove -DTFLITE_SINGLE_ROUNDING from the build of the library and of the application",
    ),
    (
        "CMSIS_NN_USE_SINGLE_ROUNDING",
        "defined(CMSIS_NN_USE_SINGLE_ROUNDING)",
        "CMSIS-NN then rounds once where training rounded twice",
        "remove -DCMSIS_NN_USE_SINGLE_ROUNDING from the build of the library and of the application",
    ),
    (
        "CMSIS_NN_USE_REQUANTIZE_INLINE_ASSEMBLY",
        "defined(CMSIS_NN_USE_REQUANTIZE_INLINE_ASSEMBLY)",
        "CMSIS-NN's inline assembly was seen to compute other codes (CMSIS-NN#177)",
        "remove -DCMSIS_NN_USE_REQUANTIZE_INLINE_ASSEMBLY from the build of the library and of the application",
    ),
    (
        "SKIP_NUDGE",
        "defined(SKIP_NUDGE) || defined(CONFIG_NN_SKIP_NUDGE)",
        "ESP-NN's fast requantization differs by one step",
        "idf.py menuconfig, ESP-NN: switch off NN_SKIP_NUDGE, and remove -DSKIP_NUDGE",
    ),
)


def refused_build_flags() -> str:
    """Lines of the preprocessor, for a header that whoever compiles with TFLite Micro includes.

    A macro that only the library's own build defines is not seen by them: what is one there is said in a comment.
    """
    checks = "".join(
        f'#if {condition}\n#error "{macro} is defined: {why}. Remedy: {remedy}."\n#endif\n'
        for macro, condition, why, remedy in _FLAGS
    )
    return f"""\
// Flags that change integers. They act where the library is compiled, and are seen here if the whole build has them, or
// if ESP-IDF's menuconfig set them. One that the library's build alone was given is found by the self-test only.
#if defined(ESP_PLATFORM)
#include "sdkconfig.h"
#endif
{checks}"""
