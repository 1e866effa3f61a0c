"""Of which kind a float network's file is: ``torch.save``'s, SafeTensors', or what is refused in words."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal, TypeAlias

from export.file_kinds import KINDS, archive_kind, is_safetensors, kind_of
from qtorch.errors import BadCheckpoint

__all__ = ["FileKind", "file_kind"]

FileKind: TypeAlias = Literal["torch", "safetensors", "tflite"]

#: Of a file, as much as tells what it is.
_HEAD = 4096

_SAVE_STATE = "where it was made, torch.save(net.state_dict(), 'net.pt'), and pass that with --model"
_CONVERT = "convert it with TensorFlow's own converter; networks of PyTorch are quantized here"

#: What to do with a file of another kind, by its name; of a kind that is not here, it is refused by its first bytes.
_REMEDIES = {
    "torchscript": _SAVE_STATE,
    "exported": _SAVE_STATE,
    "onnx": _SAVE_STATE,
    "executorch": _SAVE_STATE,
    "keras": _CONVERT,
    "hdf5": _CONVERT,
    "saved_model": _CONVERT,
    "npz": "pass them as --data, and here the network",
    "numpy": "pass it as --data, and here the network",
    "pickle": "write it with torch.save(net, ...) or torch.save(net.state_dict(), ...)",
    "html": "download the file itself: of a page in a browser, its raw form",
    "lfs": "fetch the file itself: git lfs pull",
    "gzip": "unpack it, and pass the file that torch.save or Lightning wrote",
}


def file_kind(path: Path) -> FileKind:
    """Of which kind a float network's file is.

    Raises:
        BadCheckpoint: there is no such file, or it is of a kind that holds no PyTorch network; says which, and what to
            do.
    """
    try:
        if path.is_dir():
            raise _refused(path, "a folder", "pass the file in it that torch.save or Lightning wrote")
        with path.open("rb") as opened:
            head = opened.read(_HEAD)
    except OSError as error:
        raise BadCheckpoint(
            where=str(path), expected="a file that can be read", got=str(error.strerror or error),
            remedy="check the path",
        ) from error  # fmt: skip
    if head.startswith(b"PK"):
        return _archive_kind(path)
    if is_safetensors(head, path.stat().st_size):
        return "safetensors"
    if head[4:8] == b"TFL3":
        return "tflite"
    kind = kind_of(head)
    if kind is not None and kind.name == "torch":
        return "torch"
    if kind is not None and kind.name in _REMEDIES:
        raise _refused(path, kind.words, _REMEDIES[kind.name])
    raise _refused(
        path, "nothing" if not head else f"a file that begins with {head[:8]!r}",
        "pass what torch.save(net.state_dict(), ...) or Lightning wrote",
    )  # fmt: skip


def _refused(path: Path, got: str, remedy: str) -> BadCheckpoint:
    return BadCheckpoint(
        where=str(path), expected="a float network that torch.save, SafeTensors or Lightning wrote", got=got,
        remedy=remedy,
    )  # fmt: skip


def _archive_kind(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names, damaged = archive.namelist(), archive.testzip()
    # Of a damaged archive zipfile says so in whatever way it does.
    except Exception as error:
        raise _refused(path, f"a zip archive that can't be read: {error}", "copy the file again") from error
    if damaged is not None:
        raise _refused(path, f"a zip archive whose checksum of {damaged} is wrong", "copy the file again")
    kind = archive_kind(names)
    if kind == "torch":
        return "torch"
    if kind:
        raise _refused(path, KINDS[kind].words, _REMEDIES[kind])
    raise _refused(
        path, f"a zip archive of {', '.join(sorted(names)[:3]) or 'nothing'}",
        "pass the file that torch.save or Lightning wrote, without packing it",
    )  # fmt: skip
