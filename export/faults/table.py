"""Faults as a table for people."""

from __future__ import annotations

from collections.abc import Iterable

from export.faults.fault import Fault

__all__ = ["fault_table"]

_WHERE = {
    "tflm": "TFLite Micro",
    "cmsis_nn": "CMSIS-NN",
    "esp_nn": "ESP-NN",
    "tflm_cmsis_nn": "TFLite Micro around CMSIS-NN",
    "tflm_esp_nn": "esp-tflite-micro around ESP-NN",
}


def fault_table(faults: Iterable[Fault]) -> str:
    """GitHub-flavoured Markdown, one line for each fault."""
    head = "| library | processors | operators | wrong when | then | days | instead | known from |"
    return "\n".join([head, "|---" * 8 + "|", *(_line(fault) for fault in faults)])


def _line(fault: Fault) -> str:
    form = f"`{fault.form}`; " if fault.form else ""
    cells = (
        _WHERE[fault.where],
        ", ".join(fault.cores) or "all",
        ", ".join(fault.operators),
        _condition(fault),
        fault.effect,
        _days(fault),
        f"{form}{fault.remedy}",
        f"{fault.sure}: {fault.source}",
    )
    return f"| {' | '.join(cells)} |"


def _condition(fault: Fault) -> str:
    """The first paragraph of what the condition says of itself."""
    return " ".join((fault.holds.__doc__ or "").split("\n\n")[0].split()).replace("``", "`").removesuffix(".")


def _days(fault: Fault) -> str:
    if fault.since is None:
        return "all" if fault.until is None else f"before {fault.until}"
    return f"from {fault.since}" + (f" to before {fault.until}" if fault.until else "")
