"""A trained network as files that firmware is built from, each proven to compute the network's own integers.

:func:`export_network` exports a network of any loop, :func:`export_checkpoint` what Lightning trained. What is named
here is public, and imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.public_names import public_names

if TYPE_CHECKING:
    from export.boards import BOARDS, Board, Supply, board, register_board
    from export.bundle.bundle import Bundle
    from export.calls.network import export_network
    from export.graph.build import integer_graph
    from export.lightning_run.export_bundle import ExportBundle
    from export.lightning_run.exported_checkpoint import export_checkpoint
    from export.options import ExportOptions
    from export.parity.outputs import corner_codes
    from export.rows import row_parity
    from export.tflite.reader import read_tflite
    from export.tflite.writer import write_tflite

__all__ = [
    "BOARDS",
    "Board",
    "Bundle",
    "ExportBundle",
    "ExportOptions",
    "Supply",
    "board",
    "corner_codes",
    "export_checkpoint",
    "export_network",
    "integer_graph",
    "read_tflite",
    "register_board",
    "row_parity",
    "write_tflite",
]

#: Where each name is at home.
_HOMES = {
    "BOARDS": "export.boards",
    "Board": "export.boards",
    "Bundle": "export.bundle.bundle",
    "ExportBundle": "export.lightning_run.export_bundle",
    "ExportOptions": "export.options",
    "Supply": "export.boards",
    "board": "export.boards",
    "corner_codes": "export.parity.outputs",
    "export_checkpoint": "export.lightning_run.exported_checkpoint",
    "export_network": "export.calls.network",
    "integer_graph": "export.graph.build",
    "read_tflite": "export.tflite.reader",
    "register_board": "export.boards",
    "row_parity": "export.rows",
    "write_tflite": "export.tflite.writer",
}

__getattr__, __dir__ = public_names(__name__, _HOMES)
