"""Model files that something happened to: cut, flipped, and with numbers, lists and indices that no converter writes.

Damage of bytes is what storage and downloads do; damage by the schema reaches what a flipped bit seldom does, a file
that is a whole flatbuffer and means nothing.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

__all__ = ["DAMAGE", "damaged"]

_EXTREMES = (0, 1, 2, -1, 127, 128, 255, 65_535, 65_536, 2**20, 2**30, 2**31 - 1, -(2**31), 2**32 - 1)


def _cut(model: bytes, draw: random.Random) -> bytes:
    return model[: draw.randrange(len(model))]


def _without_a_part(model: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(8, len(model))
    return model[:start] + model[start + draw.choice((1, 4, 16, 64)) :]


def _flipped(model: bytes, draw: random.Random) -> bytes:
    """A few bits, half of them among the tables, which a writer puts at the front and the end."""
    changed = bytearray(model)
    for _ in range(draw.choice((1, 1, 2, 8))):
        near = draw.random() < 0.5
        at = draw.randrange(min(len(model), 2048)) if near else draw.randrange(len(model))
        changed[at] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _word(model: bytes, draw: random.Random) -> bytes:
    """A number of four bytes, of those that are offsets, sizes, indices and lengths."""
    changed = bytearray(model)
    end = len(model) - 4 if draw.random() < 0.5 else min(len(model) - 4, 4096)
    at = draw.randrange(0, end) // 4 * 4
    changed[at : at + 4] = struct.pack("<I", draw.choice(_EXTREMES) % 2**32)
    return bytes(changed)


def _filled(model: bytes, draw: random.Random) -> bytes:
    changed, at = bytearray(model), draw.randrange(8, len(model))
    length = min(draw.choice((4, 16, 256)), len(model) - at)
    changed[at : at + length] = bytes([draw.choice((0, 255))]) * length
    return bytes(changed)


def _swapped(model: bytes, draw: random.Random) -> bytes:
    """A part of the file in the place of another."""
    length = draw.choice((4, 8, 32))
    here, there = (draw.randrange(8, max(9, len(model) - length)) // 4 * 4 for _ in range(2))
    changed = bytearray(model)
    changed[here : here + length] = model[there : there + length]
    return bytes(changed[: len(model)])


def _by_schema(model: bytes, draw: random.Random) -> bytes:
    """A field or two of the schema's objects changed, and the whole packed again."""
    for _ in range(20):
        root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(model)))
        for _ in range(draw.choice((1, 1, 2))):
            _change(draw.choice(list(_objects(root))), draw)
        if draw.random() < 0.15:
            _reorder(root, draw)
        builder = flatbuffers.Builder(1024)
        try:
            builder.Finish(root.Pack(builder), b"TFL3")
        # What the schema's own types do not hold, the packer refuses.
        except Exception:
            continue
        return bytes(builder.Output())
    return _word(model, draw)


def _objects(value: Any, depth: int = 0) -> Iterator[Any]:
    """Every object of the schema, tensors and operators more often than the rest."""
    if isinstance(value, list):
        for each in value:
            yield from _objects(each, depth)
    elif getattr(value, "__dict__", None):
        yield value
        if type(value).__name__ in ("TensorT", "OperatorT", "SubGraphT"):
            yield value
        for each in vars(value).values():
            yield from _objects(each, depth + 1)


def _change(value: Any, draw: random.Random) -> None:
    name = draw.choice(list(vars(value)))
    old = getattr(value, name)
    if isinstance(old, bool):
        new: Any = not old
    elif isinstance(old, int):
        new = draw.choice((*_EXTREMES, old + 1, old - 1))
    elif isinstance(old, float):
        new = draw.choice((0.0, -1.0, 1e-45, 3e38, float("inf"), float("nan")))
    elif isinstance(old, list | np.ndarray):
        new = _other_list(old.tolist() if isinstance(old, np.ndarray) else old, draw)
        if isinstance(old, np.ndarray) and new is not None:
            new = np.asarray([int(n) % 256 if old.dtype == np.uint8 else n for n in new]).astype(old.dtype)
    elif isinstance(old, bytes | str):
        new = draw.choice((None, b"", b"\xff\xfe", b"x" * 5000))
    else:
        new = None
    setattr(value, name, new)


def _other_list(old: list[Any], draw: random.Random) -> list[Any] | None:
    kind = draw.randrange(7)
    if kind == 0 or not old:
        return draw.choice((None, [], None if old else [0], None if old else [draw.choice(_EXTREMES)]))
    if kind == 1:
        return old[:-1]
    if kind == 2:
        return old + old[-1:]
    if kind == 3:
        return draw.sample(old, len(old))
    if kind == 4:
        return old * 2
    place = draw.randrange(len(old))
    if isinstance(old[place], int | float):
        extreme = draw.choice((*_EXTREMES, old[place] + 1))
        return [
            *old[:place],
            type(old[place])(extreme) if isinstance(old[place], float) else extreme,
            *old[place + 1 :],
        ]
    return [*old[:place], *old[place + 1 :]]


def _reorder(root: Any, draw: random.Random) -> None:
    """Operators before those that make what they read, or reading what they make themselves."""
    graph = root.subgraphs[0] if root.subgraphs else None
    if graph is None or not graph.operators:
        return
    if draw.random() < 0.5:
        draw.shuffle(graph.operators)
        return
    one, other = draw.choice(graph.operators), draw.choice(graph.operators)
    if other.outputs is not None:
        one.inputs = list(other.outputs)


#: Ways in which a file is damaged, by name.
DAMAGE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": _cut,
    "without a part": _without_a_part,
    "flipped": _flipped,
    "word": _word,
    "filled": _filled,
    "swapped": _swapped,
    "schema": _by_schema,
}
#: How many of ten are damaged in which way.
_SHARES = ("cut", "without a part", "flipped", "flipped", "word", "filled", "swapped", "schema", "schema", "schema")


def damaged(models: Sequence[bytes], seed: int) -> tuple[str, bytes]:
    """The way of damage and the file of a seed."""
    draw = random.Random(seed)
    kind = draw.choice(_SHARES)
    return kind, DAMAGE[kind](draw.choice(models), draw)
