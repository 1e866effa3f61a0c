"""``metrics.json`` of a file that others made: what there is to say without the network that it was made from."""

from __future__ import annotations

import hashlib
from typing import Any

from export.bundle.editions import edition_figures, editions_of
from export.c.compiled import not_run
from export.c.model import CModel
from export.compiled_file.model_in_file import ModelInFile
from export.compiled_file.request import Request
from export.compiled_file.tflm_form import TflmForm
from export.cost.board_share import board_shares
from export.cost.macs import all_multiply_accumulates
from export.faults.found import Finding
from export.interface.tensor_layout import TensorLayout

__all__ = ["file_metrics"]


def file_metrics(
    model: ModelInFile, request: Request, layouts: tuple[TensorLayout, ...], c: CModel,
    counted: dict[str, Any], form: TflmForm | None, left_out: dict[str, str], faults: tuple[Finding, ...],
) -> dict[str, Any]:  # fmt: skip
    """The figures.

    Args:
        model: in the file.
        request: what was asked for.
        layouts: of the inputs and outputs of the C.
        c: the plain C.
        counted: what one inference takes on the board's emulated processor; empty if nothing was counted.
        form: the file written again, if it was.
        left_out: what could not be had, and why.
        faults: what the board's TFLite Micro would compute otherwise.
    """
    target = request.target
    metrics: dict[str, Any] = {
        "source": {"file": request.where.replace("\\", "/").rpartition("/")[2], "bytes": len(model.data)},
        "sha256": {"source": hashlib.sha256(model.data).hexdigest()},
        "tflite_bytes": len(form.written.file.data) if form else len(model.data),
        **({"arena_bytes": form.written.file.arena_bytes} if form and form.written.file.arena_bytes else {}),
        **({"arena_plan": form.written.file.plan.as_json()} if form and form.written.file.plan else {}),
        "tensors": [layout.as_json() for layout in (form.written.layouts if form else layouts)],
        "c_tensors": [layout.as_json() for layout in layouts],
        "macs": all_multiply_accumulates(model.core),
        "c": {
            **c.figures,
            "not_run": not_run(model.core, target.cpu),
            **({"inference": counted} if counted else {}),
        },
        **({"left_out": left_out} if left_out else {}),
        "faults": [finding.as_json() for finding in faults],
    }
    if form is not None:
        metrics["sha256"]["tflite"] = hashlib.sha256(form.written.file.data).hexdigest()
        metrics["tflm"] = edition_figures(
            request.edition, form.avoided, editions_of(form.written.file.data, target.cpu)
        )
    return metrics | {"shares": [share.as_json() for share in board_shares(metrics, target)]}
