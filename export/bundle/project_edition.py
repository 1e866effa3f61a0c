"""The TFLite Micro of a firmware project, held against the one that the model was made for."""

from __future__ import annotations

from export.boards import Board
from export.device.pins import project_edition
from export.faults.found import Finding, faults_in
from qtorch.editions.edition import Edition
from qtorch.errors import BadConfiguration

__all__ = ["require_project_edition"]


def require_project_edition(model: bytes, board: Board, edition: Edition, certain: bool = False) -> None:
    """See that the TFLite Micro which a board's project asks for computes the model as training did.

    Args:
        model: the file, which ``edition`` computes so.
        board: whose project it is; one in plain C asks for none.
        edition: that the export is for.
        certain: leave out what hangs on the last bits of scales, which training changes.

    Raises:
        BadConfiguration: the project's TFLite Micro is another one, and computes something otherwise.
    """
    asked = project_edition(board, edition) if board.tflm else edition
    if asked == edition:
        return
    found: tuple[Finding, ...] = faults_in(model, asked, board.cpu)
    if certain:
        found = tuple(each for each in found if not each.fault.hangs_on_last_bits)
    if found:
        raise BadConfiguration(
            where="export.firmware",
            expected=f"a model that the project of {board.name} computes as training did; it asks for {asked.name} "
            f"({asked.description})",
            got=f"one for {edition.name}, and there {found[0]}",
            remedy=f"name that one with export.tflm {asked.name}; or leave export.firmware out, and build "
            f"{edition.name} and the headers into a project of your own",
        )
