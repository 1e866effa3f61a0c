"""The proof: file, network and engines agree to the bit, or nothing is exported.

In: a graph, a file's bytes and inputs. Out: how many outputs are equal. For bundles and commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.public_names import public_names

if TYPE_CHECKING:
    from export.parity.outputs import ParityReport, corner_codes, parity

__all__ = ["ParityReport", "corner_codes", "parity"]

#: Where each name is at home.
_HOMES = {
    "ParityReport": "export.parity.outputs",
    "corner_codes": "export.parity.outputs",
    "parity": "export.parity.outputs",
}

__getattr__, __dir__ = public_names(__name__, _HOMES)
