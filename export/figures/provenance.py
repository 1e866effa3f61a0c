"""What a report is of: hashes of the files and of the data, and the day."""

from __future__ import annotations

import hashlib
import os
import time

from export.figures.stages import StageFigures
from qtorch.errors import BadConfiguration

__all__ = ["day", "provenance"]


def provenance(model: bytes, checkpoint: bytes | None, test: StageFigures) -> dict[str, str]:
    """SHA-256 in hexadecimal of the model file, of the checkpoint if there is one, and of the test samples if known.

    The samples' is of types, shapes and values of all tensors of the test part, batch by batch as the test was run.
    """
    hashes = {"tflite": hashlib.sha256(model).hexdigest()}
    if checkpoint is not None:
        hashes["checkpoint"] = hashlib.sha256(checkpoint).hexdigest()
    samples = {record.samples for record in test.records.values()}
    return hashes | ({"test_samples": samples.pop()} if len(samples) == 1 else {})


def day() -> str:
    """Today as ``YYYY-MM-DD`` in UTC, or that of ``SOURCE_DATE_EPOCH``, in seconds since 1970, where it is set.

    Source: https://reproducible-builds.org/specs/source-date-epoch/

    Raises:
        BadConfiguration: it is no whole number.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        seconds = time.time() if not epoch else int(epoch)
        return time.strftime("%Y-%m-%d", time.gmtime(seconds))
    except (ValueError, OverflowError, OSError) as error:
        raise BadConfiguration(
            where="SOURCE_DATE_EPOCH",
            expected="seconds since 1970 as a whole number",
            got=repr(epoch),
            remedy="unset it, or set it to the time of the last change, as git log -1 --format=%ct prints it",
        ) from error
