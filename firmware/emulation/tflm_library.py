"""TFLite Micro's libraries in its source tree, as upstream's Makefile names them for ``TARGET=cortex_m_generic``."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from firmware.emulation.machines import FREESTANDING, MACHINES, ROOMIER, Machine, Need

__all__ = ["Library", "libraries", "optimization"]

_LIBRARY = "libtensorflow-microlite.a"
_MAKEFILE = "tensorflow/lite/micro/tools/make/Makefile"
_FOLDER = re.compile(
    r"cortex_m_generic_(?P<arch>cortex-m[^_]+)_(?P<build>default|debug|release_with_logs|release)"
    r"(?:_(?P<kernels>[a-z_]+))?_gcc"
)
#: Machine for each TARGET_ARCH, and flags where upstream's floating-point registers or calls are not the machine's.
_ARCHS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cortex-m0": ("cortex_m0", ()),
    "cortex-m3": ("cortex_m3", ()),
    "cortex-m4": ("cortex_m4", ("-mcpu=cortex-m4+nofp", "-mthumb", "-mfloat-abi=soft")),
    "cortex-m4+fp": ("cortex_m4", ()),
    "cortex-m7": ("cortex_m7", ("-mcpu=cortex-m7+nofp", "-mthumb", "-mfloat-abi=soft")),
    "cortex-m7+fp": ("cortex_m7", ()),
    "cortex-m33": ("cortex_m33", ()),
    "cortex-m55": ("cortex_m55", ()),
}


@dataclass(frozen=True)
class Library:
    """A built library.

    Attributes:
        root: the source tree.
        file: the archive.
        arch: upstream's ``TARGET_ARCH``.
        build: its ``BUILD_TYPE``.
        kernels: its ``OPTIMIZED_KERNEL_DIR``; ``"reference"`` without one.
    """

    root: Path
    file: Path
    arch: str
    build: str
    kernels: str

    @property
    def machine(self) -> Machine:
        """The machine that runs its programs: with the flags of the library's objects and with a C library."""
        name, flags = _ARCHS[self.arch]
        machine = ROOMIER.get(name, MACHINES[name])
        link = tuple("-nostartfiles" if part == "-nostdlib" else part for part in machine.link)
        return dataclasses.replace(
            machine,
            # The start-up code runs before a C library may be called.
            flags=(*(("-std=c99", *flags) if flags else machine.flags), *FREESTANDING),
            needs=(
                *machine.needs,
                Need("/usr/lib/arm-none-eabi/newlib/libstdc++_nano.a", "libstdc++-arm-none-eabi-newlib"),
            ),
            # memory.c has functions that a C library has better ones of.
            start=tuple(source for source in machine.start if source != "memory.c"),
            link=(*link, "--specs=nano.specs", "--specs=nosys.specs", str(self.file), "-lstdc++", "-lm"),
        )

    @property
    def compile_flags(self) -> tuple[str, ...]:
        """Where its headers lie, and what they must be told to match it."""
        downloads = self.root / "tensorflow/lite/micro/tools/make/downloads"
        includes = (self.root, downloads / "flatbuffers/include", downloads / "gemmlowp")
        defines = ["TF_LITE_STATIC_MEMORY"]
        if self.kernels != "reference":
            defines.append(self.kernels.upper())
        if self.build.startswith("release"):
            defines.append("NDEBUG")
        if self.build == "release":
            defines.append("TF_LITE_STRIP_ERROR_STRINGS")
        # As system headers: warnings are upstream's.
        return (*(f"-isystem{folder}" for folder in includes), *(f"-D{define}" for define in defines))


def libraries(root: Path) -> tuple[Library, ...]:
    """All libraries under ``root/gen`` for processors that a machine here has, in the order of their folders."""
    present = []
    for file in sorted(root.glob(f"gen/*/lib/{_LIBRARY}")):
        named = _FOLDER.fullmatch(file.parents[1].name)
        if named is not None and named["arch"] in _ARCHS:
            present.append(Library(root, file, named["arch"], named["build"], named["kernels"] or "reference"))
    return tuple(present)


def optimization(root: Path) -> dict[str, str]:
    """The compiler's levels in upstream's Makefile: ``core``, ``kernel`` and ``third_party_kernel``, such as ``-O2``.

    They are the Makefile's defaults; a level given on its command line leaves no trace in a library.
    """
    makefile = root / _MAKEFILE
    text = makefile.read_text(encoding="utf-8") if makefile.exists() else ""
    # armclang's own level stands first; the last one is gcc's.
    return {
        each[1].lower(): each[2] for each in re.finditer(r"^ *([A-Z_]+)_OPTIMIZATION_LEVEL := (-O\w+)$", text, re.M)
    }
