"""What an export does without where data are gone, in words: the keys of ``left_out`` in metrics.json, and why."""

from __future__ import annotations

from collections.abc import Mapping

from export.figures.stage_names import STAGES
from export.figures.subject import Subject

__all__ = ["in_sentences", "without_data"]

#: What a person calls what is left out; stages have names of their own.
_CALLED = {
    "test": "test figures",
    "interface": "names and scaling of inputs and outputs in the headers",
    "predictions": "predictions",
    "layers": "cost of each layer",
    "c": "plain C",
    "firmware": "the firmware project",
    "tflm": "headers for TFLite Micro",
    "onnx": "ONNX",
}


def without_data(subject: Subject) -> dict[str, str]:
    """What beside test figures can't be made of a subject, by name, and why."""
    left = {}
    if subject.inputs.get("test") is None:
        left = dict.fromkeys(("quantization_report.csv", "predictions", "layers"), subject.inputs.why("test"))
    if subject.ends.absent:
        left["interface"] = subject.ends.absent
    return left


def in_sentences(left_out: Mapping[str, str]) -> list[str]:
    """One line for each reason.

    Example:
        >>> in_sentences({"test": "no test data: test.csv is gone", "predictions": "no test data: test.csv is gone"})
        ['left out: test figures, predictions (no test data: test.csv is gone)']
    """
    by_reason: dict[str, list[str]] = {}
    for what, reason in left_out.items():
        by_reason.setdefault(reason, []).append(_CALLED.get(what, STAGES.get(what, what)))
    return [f"left out: {', '.join(names)} ({reason})" for reason, names in by_reason.items()]
