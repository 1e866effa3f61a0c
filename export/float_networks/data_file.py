"""Numbers in a file: arrays of NumPy, tensors, or lines of a table; read as numbers alone, so that no code runs."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qtorch.errors import BadData

__all__ = ["data_in", "is_data_file"]

#: Suffixes of files that are meant where no such file is there.
_SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".csv", ".tsv", ".txt")
#: Of a table's columns, those that are targets; others may have a number behind it: ``y0``, ``target_1``.
_TARGET_COLUMNS = ("y", "target", "targets", "label", "labels", "class")
_SAVE = "write it with numpy.savez(path, x=inputs, y=targets), or torch.save((inputs, targets), path)"


def is_data_file(path: str) -> bool:
    """Whether it names a file, there or not, rather than a class."""
    return Path(path).exists() or path.endswith(_SUFFIXES) or "/" in path


def data_in(path: Path) -> Any:
    """What a file holds: an array, arrays by name, or whatever of tensors was saved; of a table ``x`` and ``y``.

    Raises:
        BadData: there is no such file, or it is of another kind, or holds other things than numbers.
    """
    if path.is_dir():
        raise BadData(
            where=str(path), expected="a file of numbers", got="a folder",
            remedy="name a function that reads it, as --data my_package:read --data.folder DIR",
        )  # fmt: skip
    try:
        with path.open("rb") as opened:
            head = opened.read(8)
        return _read(path, head)
    except BadData:
        raise
    # NumPy, PyTorch and zipfile say of foreign bytes what is wrong in whatever way they do.
    except Exception as error:
        got = str(error.strerror or error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise BadData(
            where=str(path), expected="numbers in .npy, .npz, .pt or .csv", got=" ".join(got.split())[:300],
            remedy="check the path" if isinstance(error, FileNotFoundError) else _SAVE,
        ) from error  # fmt: skip


def _read(path: Path, head: bytes) -> Any:
    if head.startswith(b"\x93NUMPY"):
        return np.load(path, allow_pickle=False)
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if names and all(name.endswith(".npy") for name in names):
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        return torch.load(path, map_location="cpu", weights_only=True)
    if head.startswith(b"\x80"):
        return torch.load(path, map_location="cpu", weights_only=True)
    return _table(path)


def _table(path: Path) -> Any:
    """Lines of numbers; of the columns under a heading, those named as targets are targets."""
    text = path.read_text(encoding="utf-8-sig")
    if not text.strip():
        raise BadData(where=str(path), expected="lines of numbers", got="an empty file", remedy=_SAVE)
    try:
        delimiter = csv.Sniffer().sniff(text[:4096], ",;\t ").delimiter
    except csv.Error:
        delimiter = ","
    lines = [line for line in csv.reader(text.splitlines(), delimiter=delimiter) if any(map(str.strip, line))]
    headed = not all(map(_is_number, lines[0]))
    heading, rows = (lines[0], lines[1:]) if headed else ([], lines)
    first = 2 if headed else 1
    for index, row in enumerate(rows):
        if len(row) != len(rows[0]) or (headed and len(row) != len(heading)):
            raise BadData(
                where=f"{path}, row {index + first}", expected=f"{len(heading or rows[0])} numbers", got=f"{len(row)}",
                remedy="correct the row",
            )  # fmt: skip
        wrong = next((cell for cell in row if not _is_number(cell)), None)
        if wrong is not None:
            raise BadData(
                where=f"{path}, row {index + first}", expected="numbers alone", got=repr(wrong),
                remedy="turn texts into numbers, or leave the column out",
            )  # fmt: skip
    if not rows:
        raise BadData(where=str(path), expected="lines of numbers", got="a heading alone", remedy=_SAVE)
    numbers = np.array([[float(cell) for cell in row] for row in rows], dtype=np.float64)
    targets = [i for i, name in enumerate(heading) if _is_target(name)]
    inputs = [i for i in range(numbers.shape[1]) if i not in targets]
    found = {"x": numbers[:, inputs].astype(np.float32)}
    return found | ({"y": _targets(numbers[:, targets], heading[targets[0]])} if targets else {})


def _targets(columns: np.ndarray, name: str) -> np.ndarray:
    """Whole numbers in a column called label or class are classes."""
    is_class = name.strip().lower() in ("label", "labels", "class") and columns.shape[1] == 1
    if is_class and bool((columns == np.round(columns)).all()):
        return columns[:, 0].astype(np.int64)
    return columns.astype(np.float32)


def _is_target(name: str) -> bool:
    return name.strip().lower().rstrip("0123456789").rstrip("_") in _TARGET_COLUMNS


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
