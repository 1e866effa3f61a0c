"""What modules keep beside parameters and buffers, as one tensor each, so that a state dict holds tensors alone.

safetensors, averages of weights and exporters of PyTorch's own take every entry of a state dict for a tensor.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qtorch.errors import BadCheckpoint
from qtorch.surroundings import without_values

__all__ = ["packed", "unpacked"]

#: Hexadecimal digits of the checksum, which come first.
_DIGITS = 8
#: The only key of what stands for a tensor.
_TENSOR = "tensor"
#: What ``N`` is a multiple of: small states are of one size, as readers want it that fill tensors which are there.
_STEP = 128


def packed(state: Any, longest: Any = None) -> Tensor:
    """State as a tensor: int16 ``[N]`` on the CPU, characters of a checksum and JSON; sums of 250 such are in range.

    Args:
        state: dicts with strings as keys, lists, tuples, numbers, strings, ``None`` and tensors of any dtype and
            device. Of the same dtypes and shapes, ``N`` is the same whatever the tensors hold.
        longest: another one that takes more room, or as much, which ``N`` is to have.
    """
    text = _json(state)
    size = _DIGITS + max(len(text), len(_json(longest)))
    body = text.ljust(-(-size // _STEP) * _STEP - _DIGITS)
    characters = f"{zlib.crc32(body):0{_DIGITS}x}".encode() + body
    return torch.frombuffer(bytearray(characters), dtype=torch.uint8).to(torch.int16)


def unpacked(state: Any) -> Any:
    """What was :func:`packed`, tensors on the CPU, tuples as lists; what is no tensor, of a version before, as it is.

    Raises:
        BadCheckpoint: it was changed since, as by an average over whole state dicts.
    """
    if not isinstance(state, Tensor):
        return state
    # What was averaged with its like is in floats, next to what it was; the checksum says whether it is that.
    values = torch.nan_to_num(state.detach().cpu().double().flatten()).numpy()
    given = np.clip(np.rint(values), 0, 255).astype(np.uint8).tobytes()
    checksum, body = given[:_DIGITS], given[_DIGITS:]
    if checksum != f"{zlib.crc32(body):0{_DIGITS}x}".encode():
        raise BadCheckpoint(
            where="what a state dict says of ranges and quantization (its entries '_extra_state')",
            expected="the bytes that were saved",
            got=f"{tuple(state.shape)} of {state.dtype}, others",
            remedy="load them as they were saved; of networks with other ranges average the parameters alone, as "
            "torch.optim.swa_utils.AveragedModel does, and calibrate then",
        )
    return _restored(json.loads(body))


def _json(state: Any) -> bytes:
    return json.dumps(_plain(state), separators=(",", ":")).encode()


def _plain(state: Any) -> Any:
    if isinstance(state, Tensor):
        kind = str(state.dtype).removeprefix("torch.")
        if without_values(state):
            return {_TENSOR: [kind, list(state.shape), None]}
        data = state.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        return {_TENSOR: [kind, list(state.shape), base64.b64encode(data).decode()]}
    if isinstance(state, Mapping):
        return {name: _plain(each) for name, each in state.items()}
    if isinstance(state, list | tuple):
        return [_plain(each) for each in state]
    return state


def _restored(state: Any) -> Any:
    if isinstance(state, list):
        return [_restored(each) for each in state]
    if not isinstance(state, dict):
        return state
    if set(state) != {_TENSOR}:
        return {name: _restored(each) for name, each in state.items()}
    kind, shape, data = state[_TENSOR]
    dtype: torch.dtype = getattr(torch, kind)
    if data is None:
        return torch.empty(shape, dtype=dtype, device="meta")
    known = base64.b64decode(data)
    return torch.frombuffer(bytearray(known), dtype=dtype).reshape(shape) if known else torch.empty(shape, dtype=dtype)
