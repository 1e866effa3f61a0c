"""The proof: file, network and engines agree to the bit, or nothing is exported.

In: a graph, a file's bytes and inputs. Out: how many outputs are equal. For bundles and commands.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.parity.outputs import ParityReport, corner_codes, parity

__all__ = ["ParityReport", "corner_codes", "parity"]

#: Where each name is at home: a package of functions imports none before it is asked for.
_HOMES = {
    "ParityReport": "export.parity.outputs",
    "corner_codes": "export.parity.outputs",
    "parity": "export.parity.outputs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
