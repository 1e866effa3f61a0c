"""What a file is, by its content: one that ``torch.save`` wrote, one of SafeTensors, or what is refused in words.

No name and no suffix is looked at, so that a renamed file is what it was.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from qtorch.errors import BadCheckpoint

__all__ = ["FileKind", "file_kind"]

FileKind: TypeAlias = Literal["torch", "safetensors"]

#: How ``torch.save`` begins a file where it is told not to write a zip archive: a number of its own, pickled.
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
#: Of a file, as much as tells what it is.
_HEAD = 64
#: Fields of ONNX's ModelProto beside its version, which comes first: texts and messages, field number << 3 | 2.
_ONNX_FIELDS = {field << 3 | 2 for field in (2, 3, 4, 6, 7, 8, 14)}
#: The greatest version of ONNX that one byte holds is far above those that there are.
_ONNX_VERSIONS = range(1, 64)

_SAVE_STATE = "where it was made, torch.save(net.state_dict(), 'net.pt'), and pass that with --model"


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
    if head.startswith(_OLD_TORCH):
        return "torch"
    if _is_safetensors(head, path.stat().st_size):
        return "safetensors"
    for begins, got, remedy in _OTHERS:
        if begins(head):
            raise _refused(path, got, remedy)
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
    for is_this, got, remedy in _ARCHIVES:
        if is_this([name.partition("/")[2] or name for name in names], names):
            raise _refused(path, got, remedy)
    if any(name.endswith("/data.pkl") for name in names):
        return "torch"
    raise _refused(
        path, f"a zip archive of {', '.join(sorted(names)[:3]) or 'nothing'}",
        "pass the file that torch.save or Lightning wrote, without packing it",
    )  # fmt: skip


#: Of archives: what tells one by the names in it, below its folder and whole; what it is; what to do.
_ARCHIVES: Sequence[tuple[Callable[[list[str], list[str]], bool], str, str]] = (
    (
        lambda below, whole: any(name.startswith("code/") for name in below),
        "a TorchScript archive, in which layers are compiled",
        _SAVE_STATE,
    ),
    (
        lambda below, whole: (
            any(name in below or name in whole for name in ("archive_format", "models/model.json"))
            or any("serialized_exported_program" in name for name in whole)
        ),
        "a program of torch.export (.pt2), in which layers are taken apart",
        _SAVE_STATE,
    ),
    (
        lambda below, whole: any(name.endswith(".weights.h5") for name in whole),
        "a Keras model",
        "convert it with TensorFlow's own converter; networks of PyTorch are quantized here",
    ),
    (
        lambda below, whole: bool(whole) and all(name.endswith(".npy") for name in whole),
        "arrays of NumPy, which are data",
        "pass them as --data, and here the network",
    ),
)


def _is_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and 2 <= length <= size - 8


#: Of files that are no archives, the like.
_OTHERS: Sequence[tuple[Callable[[bytes], bool], str, str]] = (
    (
        lambda head: head.startswith(b"\x89HDF"),
        "an HDF5 file, as Keras writes",
        "convert it with TensorFlow's own converter; networks of PyTorch are quantized here",
    ),
    (
        lambda head: head[4:8] == b"TFL3",
        "a .tflite model, which is converted already",
        "qtorch summary shows what is in it; pass the network that it was made of",
    ),
    (
        lambda head: len(head) > 2 and head[0] == 8 and head[1] in _ONNX_VERSIONS and head[2] in _ONNX_FIELDS,
        "an ONNX model, in which layers are taken apart",
        _SAVE_STATE,
    ),
    (
        lambda head: head.startswith(b"\x93NUMPY"),
        "an array of NumPy, which is data",
        "pass it as --data, and here the network",
    ),
    (
        lambda head: head.startswith(b"\x80"),
        "a pickle that torch.save did not write",
        "write it with torch.save(net, ...) or torch.save(net.state_dict(), ...)",
    ),
)
