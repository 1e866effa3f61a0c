"""ESP-NN's own size functions, compiled out of its sources for this machine: what the arena's rules must give.

They are C without assembly, but stand in files that have some: so each function is compiled alone.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

from export.arena.esp_nn_releases import FIRST, RELEASES, WITH_P4, Release
from export.arena.esp_nn_windows import Windows

#: Of a function whose name ends so: from the start of its line to the brace that stands there alone.
_FUNCTION = re.compile(
    r"^(?:static )?(?:inline )?\w+ (esp_nn_get_\w*scratch_size_\w+)\([^)]*\)\s*\{.*?^\}", re.MULTILINE | re.DOTALL
)
_BEFORE = """
#include <stdint.h>
#include <stddef.h>
#include "esp_nn_defs.h"
#define max(a, b) ((a) > (b) ? (a) : (b))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define L1D_BUDGET 32768
"""
_BEHIND = """
#define CALL(of, params) do { \\
    data_dims_t input = {v[1], v[0], v[2], 1}, kernel = {v[4], v[3], v[5], 0}, output = {v[7], v[6], v[8], 1}; \\
    params.stride.width = v[12]; params.stride.height = v[11]; \\
    params.padding.width = v[10]; params.padding.height = v[9]; \\
    return of(&input, &kernel, &output, &params); } while (0)
"""


def release_of(root: Path) -> Release:
    """The state of the size functions that a source tree has by its manifest, which says no version before 1.2."""
    manifest = (root / "idf_component.yml").read_text(encoding="utf-8")
    stated = re.search(r"^version: (.*)$", manifest, re.MULTILINE)
    if stated is None:
        return WITH_P4 if (root / "src/convolution/esp_nn_conv_esp32p4.c").exists() else FIRST
    number = _number(stated[1])
    return next((each for each in reversed(RELEASES) if _number(each.name) <= number), FIRST)


def _number(version: str) -> tuple[int, ...]:
    """Of ``"1.2.0~1"`` or ``1.0.0-rc1``: three numbers."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


class Sizes:
    """The functions of one source tree.

    Args:
        root: the tree.
        folder: for what is compiled.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        found = {
            match[1]: match[0]
            for file in sorted((root / "src").rglob("*.c"))
            for match in _FUNCTION.finditer(file.read_text(encoding="utf-8"))
        }
        entries = []
        for name in found:
            if "depthwise" in name:
                body = f"dw_conv_params_t p = {{0}}; p.ch_mult = v[13]; CALL({name}, p);"
            elif "_conv_" in name:
                body = f"conv_params_t p = {{0}}; CALL({name}, p);"
            elif "softmax" in name:
                body = f"return {name}(v[0], 1);"
            else:
                continue
            entries.append(f"int at_{name}(const int *v) {{ {body} }}")
        source = folder / "sizes.c"
        source.write_text("\n".join((_BEFORE, *found.values(), _BEHIND, *entries)), encoding="utf-8")
        library = folder / "sizes.so"
        subprocess.run(["gcc", "-w", "-shared", "-fPIC", f"-I{root / 'include'}", source, "-o", library], check=True)
        self.names = frozenset(found)
        self._library = ctypes.CDLL(str(library))

    def of(self, name: str, *values: int) -> int:
        """What a function returns."""
        call = getattr(self._library, f"at_{name}")
        return int(call((ctypes.c_int * len(values))(*values)))


def values(at: Windows) -> tuple[int, ...]:
    """In the order in which the compiled functions take them."""
    return (
        at.height, at.width, at.channels, at.kernel_height, at.kernel_width, at.depth, at.output_height,
        at.output_width, at.outputs, at.top, at.left, at.down, at.across, at.multiplier,
    )  # fmt: skip
