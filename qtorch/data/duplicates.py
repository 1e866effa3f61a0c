"""Samples that occur more than once where each should be new."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

__all__ = ["digest", "duplicates", "fingerprints"]


def digest(sample: np.ndarray) -> bytes:
    """16 bytes that two samples share if, and for all that matters only if, they are equal."""
    return hashlib.blake2b(np.ascontiguousarray(sample).tobytes(), digest_size=16).digest()


def fingerprints(samples: Tensor) -> list[bytes]:
    """The digest of every sample of ``[N, ...]``."""
    return [digest(sample) for sample in samples.numpy()]


def duplicates(
    parts: Mapping[str, tuple[Sequence[bytes], Sequence[int]]], classes: Sequence[str], what: str = "recordings"
) -> tuple[str, ...]:
    """Findings about samples that occur in two parts, or in two classes.

    Example:
        >>> duplicates({"training": ([b"a", b"b"], [0, 1]), "test": ([b"a"], [0])}, ("flex", "punch"))
        ('1 of 1 recordings of the test part occur in the training part too: its figures are better than the network is',)

    Args:
        parts: by name, the training part first: the digest and the class of each sample.
        classes: their names.
        what: the samples are.
    """  # noqa: E501
    findings = []
    names = list(parts)
    for at, name in enumerate(names):
        for other in names[:at]:
            known = set(parts[other][0])
            count = sum(each in known for each in parts[name][0])
            if count:
                findings.append(
                    f"{count} of {len(parts[name][0])} {what} of the {name} part occur in the {other} part too: "
                    "its figures are better than the network is"
                )
    labels: defaultdict[bytes, set[int]] = defaultdict(set)
    for digests, kinds in parts.values():
        for each, kind in zip(digests, kinds, strict=True):
            labels[each].add(kind)
    torn = [kinds for kinds in labels.values() if len(kinds) > 1]
    if torn:
        between = ", ".join(classes[kind] for kind in sorted(set().union(*torn)))
        findings.append(f"{len(torn)} {what} stand in more than one class, among {between}: one label of each is wrong")
    return tuple(findings)
