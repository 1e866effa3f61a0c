"""What each number that a network says is worth on the device: its codes, its step, its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from export.console.page import Table
from export.figures.record import Record

__all__ = ["MOST", "OutputColumn", "as_json", "column_table", "confusion", "output_columns", "output_figures"]

#: Outputs beyond which nobody reads a table of them.
MOST = 32


@dataclass(frozen=True)
class OutputColumn:
    """One number of the output, on the test set.

    Attributes:
        name: of it, or its index.
        levels: how many different values it has on the device.
        step: of its grid, in its own unit.
        spread: standard deviation of what the float network says.
        steps: of that, ``spread / step``.
        agreement: R2 of the device against the float network; ``None`` where that says one value.
        r2_float: of the float network against the target; ``None`` without, or where the target is one value.
        r2_device: of the device, likewise.
    """

    name: str
    levels: int
    step: float
    spread: float
    steps: float
    agreement: float | None
    r2_float: float | None
    r2_device: float | None


def output_columns(
    device: Tensor, floats: Tensor, target: Tensor | None, step: float, titles: Sequence[str]
) -> tuple[OutputColumn, ...]:
    """One for each number of an output; none where there is one alone, or too many to read.

    Args:
        device: ``[N, T]``, dequantized.
        floats: the same of the float network.
        target: likewise, if there is one of that shape.
        step: of the output's grid.
        titles: names, ``T`` of them, or none.
    """
    if device.ndim != 2 or not 2 <= device.shape[1] <= MOST or floats.shape != device.shape:
        return ()
    wanted = None if target is None or target.shape != device.shape else target.double().numpy()
    got, plain = device.double().numpy(), floats.double().numpy()
    columns = []
    for i in range(got.shape[1]):
        spread = float(plain[:, i].std())
        named = titles[i] if len(titles) == got.shape[1] else f"output {i}"
        columns.append(
            OutputColumn(
                named, len(np.unique(got[:, i])), step, spread, spread / step, _determined(got[:, i], plain[:, i]),
                None if wanted is None else _determined(plain[:, i], wanted[:, i]),
                None if wanted is None else _determined(got[:, i], wanted[:, i]),
            )
        )  # fmt: skip
    return tuple(columns)


def _determined(got: np.ndarray, wanted: np.ndarray) -> float | None:
    variance = float(wanted.var())
    return 1 - float(((got - wanted) ** 2).mean()) / variance if variance else None


def as_json(columns: Sequence[OutputColumn]) -> list[dict[str, Any]]:
    """Plain values; what there is none of is left out."""
    return [{key: value for key, value in asdict(each).items() if value is not None} for each in columns]


def column_table(columns: Sequence[dict[str, Any]], few: float) -> Table:
    """One row per output of :func:`as_json`; marked are those whose standard deviation has fewer steps than ``few``."""

    def shown(each: dict[str, Any], key: str) -> str:
        return f"{each[key]:.4g}" if key in each else ""

    return Table(
        ("output", "values", "step", "spread", "steps", "R2 with float", "R2 float", "R2 device"),
        "lrrrrrrr",
        tuple((each["name"], each["levels"], *(shown(each, key) for key in _SHOWN)) for each in columns),
        "each output on the test set: different values on the device, its grid's step, and its own standard deviation",
        frozenset(i for i, each in enumerate(columns) if 0 < each["steps"] < few),
    )


_SHOWN = ("step", "spread", "steps", "agreement", "r2_float", "r2_device")


def confusion(target: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Counts ``[classes, classes]``: rows are true classes, columns those with the largest output."""
    classes = max(output.shape[1], int(target.max(initial=0)) + 1)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (target, output.argmax(1)), 1)
    return counts


def output_figures(
    records: Mapping[str, Record], target: Tensor | None, step: float, titles: Sequence[str]
) -> dict[str, Any]:
    """``"outputs"``, each by itself, or of a classifier ``"confusion"``, for machines; empty of a single output.

    Args:
        records: of the tests of the float network, ``"float"``, and of the exported one, the last.
        target: ``[N, T]``, or classes ``[N]``.
        step: of the output's grid.
        titles: of the outputs.
    """
    plain, device = records.get("float"), list(records.values())[-1] if records else None
    if plain is None or device is None or plain.outputs is None or device.outputs is None:
        return {}
    if target is not None and target.ndim == 1 and not target.is_floating_point():
        classes = device.outputs.shape[1]
        if classes > MOST:
            return {}
        named = list(titles) if len(titles) == classes else [f"class {i}" for i in range(classes)]
        counts = {stage: confusion(target.numpy(), each.outputs.numpy()).tolist() for stage, each in records.items()
                  if each.outputs is not None}  # fmt: skip
        return {"confusion": {"classes": named, "rows": "true class", **counts}}
    columns = output_columns(device.outputs, plain.outputs, target, step, titles)
    return {"outputs": as_json(columns)} if columns else {}
