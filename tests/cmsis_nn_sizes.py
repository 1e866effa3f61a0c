"""CMSIS-NN's own buffer-size functions, taken out of its sources and compiled for this machine, by instructions.

They are C without intrinsics, but stand (in older releases) in files that have some: so each is compiled alone.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

_FUNCTION = re.compile(
    r"^(?:__STATIC_\w+ )?(?:int32_t|bool)\s+(arm_\w*_get_\w*buffer_size\w*|arm_nn_is_\w+)\([^)]*\)\s*\{.*?^\}",
    re.MULTILINE | re.DOTALL,
)
#: What they say by name: a line, and those that it goes on in.
_DEFINE = re.compile(
    r"^ *#define (?:MAX|MIN|S4_CH_IN_BLOCK_MVE|CH_IN_BLOCK_MVE|REVERSE_\w+|USE_FAST_\w+|CONVERT_\w+)\b(?:.*\\\n)*.*$",
    re.MULTILINE,
)
_BEFORE = """
#include <stdbool.h>
#include <stdint.h>
#define __STATIC_INLINE static inline
#define __STATIC_FORCEINLINE static inline
#include "arm_nn_types.h"
"""
_BEHIND = """
#define DIMS cmsis_nn_dims in = {v[0], v[1], v[2], v[3]}, filter = {v[4], v[5], v[6], v[7]}, \\
    out = {v[8], v[9], v[10], v[11]}
#define SET(p) p.stride.h = v[12]; p.stride.w = v[13]; p.padding.h = v[14]; p.padding.w = v[15]; \\
    p.dilation.h = v[16]; p.dilation.w = v[17]
#define CONV(of) int32_t at_##of(const int *v) { DIMS; cmsis_nn_conv_params p = {0}; SET(p); \\
    return of(&p, &in, &filter, &out); }
#define DEPTHWISE(of) int32_t at_##of(const int *v) { DIMS; cmsis_nn_dw_conv_params p = {0}; SET(p); \\
    p.ch_mult = v[18]; return of(&p, &in, &filter, &out); }
#define TRANSPOSED(of) int32_t at_##of(const int *v) { DIMS; cmsis_nn_transpose_conv_params p = {0}; SET(p); \\
    return of(&p, &in, &filter, &out); }
#define EARLIER_TRANSPOSED(of) int32_t at_##of(const int *v) { DIMS; return of(&in, &filter, &out); }
#define REVERSED(of) int32_t at_##of(const int *v) { DIMS; cmsis_nn_transpose_conv_params p = {0}; SET(p); \\
    return of(&p, &in, &filter); }
#define FILTER(of) int32_t at_##of(const int *v) { DIMS; return of(&filter); }
#define POOL(of) int32_t at_##of(const int *v) { return of(v[10], v[3]); }
"""
_CALLS = {
    "arm_convolve_wrapper_s8_get_buffer_size": "CONV",
    "arm_convolve_wrapper_s4_get_buffer_size": "CONV",
    "arm_convolve_wrapper_s16_get_buffer_size": "CONV",
    "arm_depthwise_conv_wrapper_s8_get_buffer_size": "DEPTHWISE",
    "arm_depthwise_conv_wrapper_s4_get_buffer_size": "DEPTHWISE",
    "arm_transpose_conv_s8_get_buffer_size": "TRANSPOSED",
    "arm_transpose_conv_s8_get_reverse_conv_buffer_size": "REVERSED",
    "arm_fully_connected_s8_get_buffer_size": "FILTER",
    "arm_svdf_s8_get_buffer_size": "FILTER",
    "arm_avgpool_s8_get_buffer_size": "POOL",
}
#: What the compiler says of a processor, as the library's functions ask for it.
INSTRUCTIONS = {"portable": (), "dsp": ("-DARM_MATH_DSP",), "mve": ("-DARM_MATH_DSP", "-DARM_MATH_MVEI")}


class Sizes:
    """The functions of one source tree, for a processor.

    Args:
        root: the tree.
        folder: for what is compiled.
        unit: a key of :data:`INSTRUCTIONS`.
    """

    def __init__(self, root: Path, folder: Path, unit: str) -> None:
        files = (root / "Include/arm_nnsupportfunctions.h", *sorted((root / "Source").rglob("*.c")))
        texts = [file.read_text(encoding="utf-8") for file in files]
        found = {
            match[1]: match[0]
            for text in texts
            for match in _FUNCTION.finditer(text)
            if not re.search("_f16|_f32", match[1])
        }
        said = dict.fromkeys(match[0] for text in texts for match in _DEFINE.finditer(text))
        self.names = frozenset(found)
        declared = [each[: each.index("{")].strip() + ";" for each in found.values()]
        entries = []
        for name, kind in _CALLS.items():
            if name in found:
                earlier = kind == "TRANSPOSED" and "transpose_conv_params" not in found[name]
                entries.append(f"{'EARLIER_' if earlier else ''}{kind}({name})")
        (folder / "arm_nn_math_types.h").write_text("#include <stdint.h>\n", encoding="utf-8")
        (folder / "arm_nn_types.h").write_text(
            (root / "Include/arm_nn_types.h").read_text(encoding="utf-8"), encoding="utf-8"
        )
        source, library = folder / f"sizes_{unit}.c", folder / f"sizes_{unit}.so"
        text = (_BEFORE, *said, *declared, *found.values(), _BEHIND, *entries)
        source.write_text("\n".join(text), encoding="utf-8")
        subprocess.run(
            [
                "gcc",
                "-w",
                "-shared",
                "-fPIC",
                *INSTRUCTIONS[unit],
                f"-I{folder}",
                f"-I{root / 'Include'}",
                source,
                "-o",
                library,
            ],
            check=True,
        )
        self._library = ctypes.CDLL(str(library))

    def of(self, name: str, *values: int) -> int:
        """What a function returns."""
        return int(getattr(self._library, f"at_{name}")((ctypes.c_int * len(values))(*values)))
