"""A file of another writer while it is drawn, and what its steps draw alike: grids, weights, biases, names."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tests.schema_file import SchemaFile

__all__ = ["FUSED", "SAME", "VALID", "Drawing", "Held"]

_NAMES = (
    "int",
    "x",
    "x",
    "",
    "model/dense/BiasAdd;model/Relu",
    "größe",
    "a" * 300,
    "serving_default_x:0",
    "main",
    "1st",
)
#: None, RELU, RELU6 of the schema; what no kernel fuses now and then.
FUSED = (0, 0, 0, 1, 3)
SAME, VALID = 0, 1


@dataclass(frozen=True)
class Held:
    """A tensor of the file, computed or an input."""

    index: int
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    @property
    def rank(self) -> int:
        return len(self.shape)


class Drawing:
    """A file that grows; ``held`` are the tensors that a step may read."""

    def __init__(self, seed: int) -> None:
        self.rng, self.file, self.held = np.random.default_rng(seed), SchemaFile(), list[Held]()
        self.read: set[int] = set()
        self.steps: list[str] = []

    def one_of(self, choices):  # type: ignore[no-untyped-def]
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def number(self, low: int, high: int) -> int:
        """Both included."""
        return int(self.rng.integers(low, high + 1))

    def grid(self, dtype: str) -> tuple[float, int]:
        scale = float(np.float32(2.0 ** self.rng.uniform(-7, 0)))
        return (scale / 200, 0) if dtype == "int16" else (scale, self.one_of((0, -128, 127, self.number(-128, 127))))

    def tensor(self, shape, dtype: str = "int8", grid: tuple[float, int] | None = None, end: str = "") -> Held:  # type: ignore[no-untyped-def]
        shape = tuple(map(int, shape))
        scale, zero_point = grid or self.grid(dtype)
        name = f"{self.one_of(_NAMES)}{len(self.file.graph.tensors) if self.chance(0.9) else ''}"
        index = self.file.tensor(shape, dtype, scale, zero_point, name=name, end=end)
        made = Held(index, shape, dtype, scale, zero_point)
        if min(shape, default=1) > 0:
            self.held.append(made)
        return made

    def like(self, source: Held, shape, same: bool = True) -> Held:  # type: ignore[no-untyped-def]
        return self.tensor(shape, source.dtype, (source.scale, source.zero_point) if same else None)

    def ints(self, values, dtype=np.int32) -> int:  # type: ignore[no-untyped-def]
        return self.file.constant(np.array(values, dtype))

    def codes(self, shape, dtype: str = "int8") -> np.ndarray:  # type: ignore[no-untyped-def]
        low, high = (-127, 127) if dtype == "int8" else (-32767, 32767)
        return self.rng.integers(low, high, shape, np.int64, endpoint=True).astype(dtype)

    def axis(self, source: Held, first: int = 0) -> tuple[int, int]:
        """An axis, and how a file may say it."""
        axis = self.number(min(first, source.rank - 1), source.rank - 1)
        return axis, axis - source.rank if self.chance(0.4) else axis

    def put(self, name: str, inputs, outputs, table: str | None = None, version: int = 1, **options) -> None:  # type: ignore[no-untyped-def]
        self.steps.append(name)
        self.read.update(i for i in inputs if i >= 0)
        # Converters leave a table out whose fields are all as the schema has them.
        bare = table is not None and not any(options.values()) and self.chance(0.5)
        self.file.operator(
            name, list(inputs), [each.index for each in outputs], None if bare else table, options, version
        )

    def source(self, *ranks: int, dtypes: tuple[str, ...] = ("int8", "int16")) -> Held | None:
        """A tensor to read: the newest one mostly."""
        fit = [
            h for h in self.held if (not ranks or h.rank in ranks) and h.dtype in dtypes and math.prod(h.shape) <= 600
        ]
        if not fit:
            return None
        return fit[-1] if self.chance(0.7) else self.one_of(fit)

    def weights(self, shape, axis: int, per_channel: bool | None = None) -> tuple[int, list[float]]:  # type: ignore[no-untyped-def]
        count = shape[axis] if (self.chance(0.6) if per_channel is None else per_channel) else 1
        scales = [float(np.float32(2.0 ** self.rng.uniform(-10, -5))) for _ in range(count)]
        return self.file.constant(self.codes(shape), scales, axis=axis), scales

    def bias(self, count: int, source: Held, scales: list[float]) -> list[int]:
        kind = self.number(0, 5)
        if kind == 0:
            return [-1]
        if kind == 1:
            return []
        dtype = np.int64 if source.dtype == "int16" and self.chance(0.7) else np.int32
        data = self.rng.integers(-3000, 3000, count).astype(dtype)
        if kind == 2:
            return [self.file.constant(data)]
        return [self.file.constant(data, [float(np.float32(source.scale) * np.float32(s)) for s in scales])]
