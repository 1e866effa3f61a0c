"""``metrics.json``: all figures of one export, and the other files of plain numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.boards import Board
from export.bundle.attempted import Attempted
from export.bundle.int8_files import Int8Files
from export.bundle.proof import Proof
from export.c.compiled import not_run
from export.cost.board_share import board_shares
from export.cost.choice_cost import ChoiceCost
from export.cost.macs import all_multiply_accumulates
from export.figures.left_out import without_data
from export.figures.output_columns import output_figures
from export.figures.provenance import provenance
from export.figures.quantization_report import findings
from export.figures.record import Record, target_of
from export.figures.stages import StageFigures
from export.figures.subject import Subject
from export.figures.tensor_error import TensorError
from export.figures.verdict import Verdict
from export.graph.ir import Graph
from export.interface.tensor_layout import TensorLayout

__all__ = ["Measured", "float_metrics", "int8_metrics", "json_bytes"]


@dataclass(frozen=True)
class Measured:
    """What was measured of an exported network.

    Attributes:
        stage: under which its own figures stand.
        test: test figures by stage.
        verdict: on them.
        errors: what each tensor loses.
        choices: what choices cost.
        counted: what an inference takes on the board.
    """

    stage: str
    test: StageFigures
    verdict: Verdict
    errors: tuple[TensorError, ...] = ()
    choices: tuple[ChoiceCost, ...] = ()
    counted: Mapping[str, Any] | None = None

    @property
    def records(self) -> dict[str, Record]:
        """What the tests of the float network and of the exported one met, the latter last."""
        return {stage: self.test.records[stage] for stage in ("float", self.stage) if stage in self.test.records}


def int8_metrics(
    subject: Subject, files: Int8Files, proof: Proof, measured: Measured, target: Board, project: bool,
    checkpoint: bytes | None, attempted: Attempted,
) -> dict[str, Any]:  # fmt: skip
    """Figures of an int8 network.

    Args:
        subject: of the export.
        files: what was written.
        proof: of them.
        measured: on the data.
        target: the board.
        project: whether a firmware project is made.
        checkpoint: the file that the networks are kept in, if they are in one.
        attempted: what nobody asked for by name.
    """
    # Labels of anomalies are no classes of an autoencoder's outputs.
    samples = None if subject.kind == "reconstruction" else measured.records.get(measured.stage)
    target_rows = None if samples is None else target_of(samples)
    left_out = measured.test.left_out | without_data(subject) | attempted.left_out
    graph, c, model = files.graph, files.c, files.file.data
    metrics = {
        "task": subject.name,
        "data": {} if subject.rows is None else dict(subject.rows.about),
        **_tested(subject, measured),
        "sha256": provenance(model, checkpoint, measured.test),
        "tflite_bytes": len(model),
        **({"arena_bytes": files.file.arena_bytes} if files.file.arena_bytes else {}),
        **({"arena_plan": files.file.plan.as_json()} if files.file.plan else {}),
        "tensors": [layout.as_json() for layout in files.layouts],
        "macs": all_multiply_accumulates(graph),
        **output_figures(measured.records, target_rows, _step(graph), files.titles),
        "quantization": {"tensors": len(measured.errors), "findings": findings(measured.errors)},
        **({"choices": [cost.as_json() for cost in measured.choices]} if measured.choices else {}),
        **({"left_out": left_out} if left_out else {}),
        **(
            {} if c is None else {"c": {**c.figures, "not_run": not_run(graph, target.cpu), **(measured.counted or {})}}
        ),
        **({"c_tensors": [layout.as_json() for layout in files.c_layouts]} if c and files.final is not graph else {}),
        **{option: dict(form.figures) for option, form in proof.forms.items()},
    }
    return metrics | {"shares": [share.as_json() for share in board_shares(metrics, target, project)]}


def float_metrics(
    subject: Subject, kind: str, model: bytes, layouts: tuple[TensorLayout, ...], measured: Measured, target: Board,
    checkpoint: bytes | None, attempted: Attempted,
) -> dict[str, Any]:  # fmt: skip
    """Figures of a network in a float format.

    Args:
        subject: of the export.
        kind: the format.
        model: its file.
        layouts: of its inputs and outputs.
        measured: on the data.
        target: the board.
        checkpoint: see :func:`int8_metrics`, like the next.
        attempted: as above.
    """
    left_out = measured.test.left_out | attempted.left_out
    metrics = {
        "task": subject.name,
        "format": kind,
        **_tested(subject, measured),
        "sha256": provenance(model, checkpoint, measured.test),
        **({"left_out": left_out} if left_out else {}),
        "tflite_bytes": len(model),
        "tensors": [layout.as_json() for layout in layouts],
    }
    return metrics | {"shares": [share.as_json() for share in board_shares(metrics, target)]}


def _tested(subject: Subject, measured: Measured) -> dict[str, Any]:
    unknown = measured.test.unknown_columns
    return {
        "columns": measured.test.columns,
        **({"unknown_columns": unknown} if unknown else {}),
        "test": measured.test.figures,
        "float_network": subject.networks.float_name,
        "verdict": measured.verdict.as_json(),
    }


def _step(graph: Graph) -> float:
    qparams = graph.values[graph.outputs[0]].qparams
    return 1.0 if qparams is None else qparams.scale[0]


def json_bytes(figures: Mapping[str, Any]) -> bytes:
    """A file of them."""
    return (json.dumps(_finite(dict(figures)), indent=2, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    """JSON has no NaN: what is not finite is null."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
