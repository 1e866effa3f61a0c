"""The state of every random generator that training may draw from, as plain values that a checkpoint can hold."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from qtorch.ranges.observer import gathered, is_distributed

__all__ = ["random_state", "restore_random_state"]


def random_state() -> list[dict[str, Any]]:
    """Of every process of a run, in the order of their ranks: Python's, NumPy's and PyTorch's generators."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    mine = {
        "python": random.getstate(),
        "numpy": (kind, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    return gathered(mine) if is_distributed() else [mine]


def restore_random_state(states: list[dict[str, Any]]) -> None:
    """Go on drawing where :func:`random_state` was taken; a run of another size leaves its generators alone."""
    rank, size = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if is_distributed() else (0, 1)
    if len(states) != size:
        return
    state = states[rank]
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
