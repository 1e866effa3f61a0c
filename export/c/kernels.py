"""The kernels of ``firmware/c`` as text: which files one needs, and what its parameters are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources

from qtorch.errors import UnsupportedLayer
from qtorch.row.kernel_call import KernelCall

__all__ = ["kernel_files", "kernel_parameters", "kernel_sources", "kernel_text"]

_LOCAL_INCLUDE = re.compile(r'^#include "([a-z0-9_]+)\.h"\n', re.MULTILINE)
_SYSTEM_INCLUDE = re.compile(r"^#include <[a-z0-9_./]+>\n", re.MULTILINE)
_GUARD = re.compile(r"^#(ifndef|define) QTORCH_[A-Z0-9_]+_H_\n|^#endif  // QTORCH_[A-Z0-9_]+_H_\n", re.MULTILINE)


@cache
def _source(name: str) -> str:
    return (resources.files("firmware") / "c" / f"{name}.h").read_text()


def kernel_sources(calls: Iterable[KernelCall]) -> dict[str, str]:
    """The kernels that calls need: text by name, empty for those that ``firmware/c`` has.

    Raises:
        UnsupportedLayer: a call brings a kernel of a name that another kernel has.
    """
    sources: dict[str, str] = {}
    for call in calls:
        other = sources.setdefault(call.kernel, call.text) != call.text
        if other or (call.text and (resources.files("firmware") / "c" / f"{call.kernel}.h").is_file()):
            raise UnsupportedLayer(
                where=f"kernel {call.kernel!r}",
                expected="a source of its own for each name",
                got="another one for the same name" if other else f"that of firmware/c/{call.kernel}.h",
                remedy="name the kernel in the row's C cell, and the function in its text, otherwise",
            )
    return sources


@cache
def kernel_parameters(kernel: str, text: str = "") -> dict[str, str]:
    """Types of the parameters of the function ``kernel`` in its own ``text``, or the file of that name, in order."""
    declaration = re.search(rf"\b{kernel}\(([^)]*)\)\s*{{", text or _source(kernel))
    assert declaration, f"{kernel}: expected a function of that name in its source"
    declared = (re.fullmatch(r"\s*(.*?)(\w+)\s*", each, re.DOTALL) for each in declaration.group(1).split(","))
    return {each[2]: " ".join(each[1].split()) for each in declared if each}


def kernel_files(kernels: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the kernels and of what they include, each once, in an order that compiles.

    Args:
        kernels: text by name, empty for those that ``firmware/c`` has.
    """
    done: dict[str, None] = {}

    def take(name: str) -> None:
        if name in done:
            return
        for included in _LOCAL_INCLUDE.findall(kernels.get(name) or _source(name)):
            take(included)
        done[name] = None

    for kernel in kernels:
        take(kernel)
    return tuple(done)


def kernel_text(kernels: Mapping[str, str]) -> str:
    """The sources of :func:`kernel_files`, without ``#include``."""
    texts = []
    for name in kernel_files(kernels):
        text = kernels.get(name) or _source(name)
        for pattern in (_LOCAL_INCLUDE, _SYSTEM_INCLUDE, _GUARD):
            text = pattern.sub("", text)
        texts.append(re.sub(r"\n{3,}", "\n\n", text).strip("\n"))
    return "\n\n".join(texts)
