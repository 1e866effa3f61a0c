"""Whether a module computes what LiteRT computes of the file that it was made of."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from export.engines.apart import run_apart
from export.engines.litert import LITERT_REFERENCE
from export.tflite.file_data import FileContents
from export.tflite.form import FileForm
from qtorch.errors import ParityError

__all__ = ["compared"]

_SAMPLES = 8
#: The largest difference that is none, as a share of the largest output: sums of floats in another order.
_ROUNDING = 1e-4
#: Where LiteRT quantizes activations by the range of each sample, to 255 steps.
_HYBRID = 0.1


def compared(model: bytes, contents: FileContents, form: FileForm, net: nn.Module, where: str) -> str:
    """Compare outputs for random inputs.

    Args:
        model: the whole file.
        contents: of it.
        form: what it is.
        net: made of it.
        where: what to call the file in an error.

    Returns: what was found, in a sentence.

    Raises:
        ParityError: they differ by more than floats do.
        EngineRefused: LiteRT does not run the file.
    """
    absent = LITERT_REFERENCE.absent()
    if absent:
        return f"{where}: its network was not compared with LiteRT's: {absent}"
    entry, rng = contents.subgraphs[0], np.random.default_rng(0)
    shapes = [entry.tensors[index].shape for index in entry.inputs]
    inputs = tuple(rng.normal(size=(_SAMPLES, *shape[1:])).astype(np.float32) for shape in shapes)
    wanted = run_apart(LITERT_REFERENCE, model, inputs)
    with torch.no_grad():
        outputs = net(*map(torch.from_numpy, inputs))
    got = (outputs,) if isinstance(outputs, Tensor) else outputs
    share = max(_share(g.numpy(), w) for g, w in zip(got, wanted, strict=True))
    allowed = _HYBRID if form.form == "dynamic range" else _ROUNDING
    if not share <= allowed:
        raise ParityError(
            f"{where}: LiteRT's outputs differ from those of the network that was read, by {share:.2g} of the largest; "
            f"expected at most {allowed:g}"
        )
    return f"{where}: {form.what}; its network equals LiteRT's up to {share:.1g} of the largest output"


def _share(got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, as a share of the largest number; NaN where shapes differ or one is none."""
    if got.shape != wanted.shape:
        return float("nan")
    largest = float(np.abs(wanted).max(initial=0.0))
    difference = float(np.abs(got - wanted).max(initial=0.0))
    return difference / largest if largest else difference
