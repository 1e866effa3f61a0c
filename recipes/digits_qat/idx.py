"""The IDX files that MNIST is published in.

Source: the format's description on the MNIST database's page (LeCun, Cortes, Burges 1998): two zero bytes, a byte for
the type of the values (8: unsigned bytes), a byte for the number of dimensions, the dimensions as big-endian 32-bit
integers, then the values with the last dimension changing fastest.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qtorch.errors import BadData

__all__ = ["SIDE", "Digits", "read_digits", "read_idx"]

#: Pixels along an edge of MNIST's images.
SIDE = 28
_FORMAT = "an IDX file of unsigned bytes"
_AGAIN = "download the file again"


@dataclass(frozen=True)
class Digits:
    """``images`` uint8 ``[N, 28, 28]``, 0 background to 255 ink; ``labels`` uint8 ``[N]``, 0 to 9."""

    images: np.ndarray
    labels: np.ndarray


def read_digits(folder: Path, part: str) -> Digits:
    """Read ``<part>-images-idx3-ubyte`` and ``<part>-labels-idx1-ubyte``, each as it is or as ``.gz``.

    Args:
        folder: that holds both.
        part: ``train`` or ``t10k``.

    Raises:
        BadData: a file is missing, or is no IDX file; images are not 28 by 28; a label is above 9; counts differ.
    """
    images_path, labels_path = (_find(folder, f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if images.shape[1:] != (SIDE, SIDE):
        raise _bad(
            images_path,
            f"images of {SIDE} by {SIDE} pixels",
            f"{images.shape[1]} by {images.shape[2]}",
            "pass MNIST, or a data set of its format",
        )
    if len(images) != len(labels):
        raise _bad(
            labels_path,
            f"{len(images)} labels, as there are images in {images_path.name}",
            f"{len(labels)}",
            "take both files from the same data set",
        )
    if labels.max() > 9:
        at = int(labels.argmax())
        raise _bad(
            labels_path, "labels from 0 to 9", f"{labels[at]} at position {at}", "pass a data set of the ten digits"
        )
    return Digits(images, labels)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The uint8 array with so many dimensions that an IDX file holds; compressed where its name ends in ``.gz``.

    Raises:
        BadData: unreadable, another type or number of dimensions, no values, or fewer or more than the header says.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _bad(path, "a readable file", f"{error}", "check the path; " + _AGAIN) from error
    magic, header = bytes([0, 0, 8, dimensions]), 4 + 4 * dimensions
    if content[:4] != magic:
        got = f"0x{content[:4].hex()}" if content else "an empty file"
        remedy = "decompress it, or let its name end in .gz" if content[:2] == b"\x1f\x8b" else _AGAIN
        raise _bad(path, f"{_FORMAT} with {dimensions} dimensions, which begins with 0x{magic.hex()}", got, remedy)
    if len(content) < header:
        raise _bad(path, f"a header of {header} bytes", f"{len(content)} bytes", _AGAIN)
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", dimensions, 4))
    if not all(shape):
        raise _bad(path, "dimensions of at least 1", f"{shape}", _AGAIN)
    if len(content) - header != math.prod(shape):
        raise _bad(
            path,
            f"{math.prod(shape)} values behind the header, as its dimensions {shape} say",
            f"{len(content) - header}",
            _AGAIN,
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise _bad(folder, f"a file {name} or {name}.gz", "neither", "put MNIST's four files into this folder")


def _bad(path: Path, expected: str, got: str, remedy: str) -> BadData:
    return BadData(where=str(path), expected=expected, got=got, remedy=remedy)
