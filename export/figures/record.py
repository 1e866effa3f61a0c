"""What the test of one network met: which samples, what it read and said, and what its outputs were to be."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from export.figures.sample_figures import constant_output

__all__ = ["Record", "bytes_of", "sha256_of", "target_of"]


@dataclass(frozen=True)
class Record:
    """A test of one network.

    Attributes:
        samples: SHA-256 of everything that the batches held, in order.
        inputs: what the network read, ``[N, ...]``; ``None`` where that is large, and where there are no outputs.
        outputs: what it said, ``[N, ...]``; ``None`` where a batch has no one call with one tensor.
        others: tensors of the batches with a row for each sample that the network did not read, by place in a batch.
        places: names of all places, such as ``"['x']"``, ``"[0]"``, ``".x"``.
    """

    samples: str
    inputs: Tensor | None
    outputs: Tensor | None
    others: dict[int, Tensor]
    places: tuple[str, ...] = ()


def target_of(record: Record) -> Tensor | None:
    """What the outputs of a test are to be: the one tensor of the batches that can be that, of several the second."""
    if record.outputs is None:
        return None
    fitting = {i: each for i, each in record.others.items() if constant_output(record.outputs, each) is not None}
    return next(iter(fitting.values())) if len(fitting) == 1 else fitting.get(1)


def sha256_of(*tensors: Tensor) -> str:
    """SHA-256 of types, shapes and values, in hexadecimal."""
    digest = hashlib.sha256()
    for each in tensors:
        digest.update(f"{each.dtype} {tuple(each.shape)}".encode())
        digest.update(bytes_of(each.detach().cpu()))
    return digest.hexdigest()


def bytes_of(tensor: Tensor) -> bytes:
    """The values of a tensor in memory on the CPU, in C order."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
