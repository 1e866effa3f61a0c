"""Attributes and shapes drawn around those of a row's samples: some that its kernel takes, and many that it can't."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from export.graph.ir import Graph, Node, Value
from export.graph.passes.frozen import frozen
from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.qparams import INDICES, QParams
from qtorch.row.row import Row, Sample, Shape

__all__ = ["Drawn", "drawn_cases"]

_MOST_ELEMENTS = 20_000


@dataclass(frozen=True)
class Drawn:
    """A case as a file may have it: attributes not normalized, shapes and qparams by role, and codes to run it on."""

    row: Row
    attrs: dict[str, Any]
    shapes: dict[str, Shape]
    qparams: dict[str, QParams | None]
    fixed: frozenset[str]

    @property
    def normalized(self) -> Mapping[str, Any]:
        """Attributes as the row's cells read them."""
        return self.row.normalized(self.attrs, self.shapes)

    def codes(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Random ones; of indices those of the table's rows."""
        codes = {}
        for role, shape in self.shapes.items():
            grid = self.qparams[role]
            assert grid is not None
            low, high = CODE_RANGE[grid.dtype] if grid.dtype in ("int4", "int8", "int16") else (-100, 100)
            if grid == INDICES:
                low, high = 0, self.shapes["table"][0] - 1 if "table" in self.shapes else 100
            low = max(low, CODE_RANGE[grid.dtype][0])
            dtype = "int8" if grid.dtype == "int4" else grid.dtype
            codes[role] = rng.integers(low + (role != "input" and low < -100), high, shape, dtype=dtype, endpoint=True)
        return codes

    def graph(self, outputs: tuple[Shape, ...], codes: Mapping[str, np.ndarray], attrs: Mapping[str, Any]) -> Graph:
        """With outputs of these shapes."""
        values = {
            role: Value(shape, self.qparams[role], codes[role] if role in self.fixed else None)
            for role, shape in self.shapes.items()
        }
        names = self.row.output_roles(len(outputs))
        grid = self.qparams[next(role for role in self.qparams if role.startswith("output"))]
        # A state lies on one grid before and after a run.
        grids = [self.qparams.get(name.removeprefix("next_"), grid) for name in names]
        values |= {name: Value(shape, each) for name, shape, each in zip(names, outputs, grids, strict=True)}
        running = tuple(role for role in self.shapes if role not in self.fixed)
        graph = Graph(values, (Node(self.row.name, dict(attrs), tuple(self.shapes), names),), running, names)
        return frozen(graph) if self.row.frozen else graph


def drawn_cases(row: Row, rng: np.random.Generator, count: int) -> Iterator[Drawn]:
    """``count`` of them, each around one of the row's samples."""
    samples = [sample for sample in row.samples() if _small(sample)]
    for _ in range(count):
        sample = samples[int(rng.integers(len(samples)))]
        roles = tuple(role for role in row.input_roles(len(sample.arrays)) if role in sample.arrays)
        fixed = sample.constants | set(() if row.variadic else row.roles[row.runtime :])
        fixed = frozenset(role for role in roles if role in fixed and role not in row.carried)
        shapes = {r: tuple(sample.arrays[r].shape) for r in roles}
        shapes = {r: s if r in fixed else (1, *s[1:]) for r, s in shapes.items()}
        attrs = {
            name: _near(rng, value) if rng.random() < 0.3 and not row.frozen else value
            for name, value in sample.attrs.items()
        }
        for _ in range(int(rng.integers(0, 3))):
            role = roles[int(rng.integers(len(roles)))]
            shapes[role] = _near_shape(rng, shapes[role])
            if rng.random() < 0.4:
                # Elementwise ops and joins want several alike.
                shapes |= {other: shapes[role] for other in roles if other not in fixed}
        if all(0 < prod(shape) <= _MOST_ELEMENTS for shape in shapes.values()):
            yield Drawn(row, attrs, shapes, _grids(sample, shapes), fixed)


def _small(sample: Sample) -> bool:
    known = all(grid is not None for grid in sample.qparams.values())
    return known and all(array.size <= _MOST_ELEMENTS for array in sample.arrays.values())


def _grids(sample: Sample, shapes: Mapping[str, Shape]) -> dict[str, QParams | None]:
    """The sample's, per tensor where the number of channels is another."""
    grids = dict(sample.qparams)
    for role, grid in sample.qparams.items():
        if grid is None or role not in shapes or grid.axis is None:
            continue
        if not (grid.axis < len(shapes[role]) and shapes[role][grid.axis] == len(grid.scale)):
            for each in ("weight", "bias"):
                if (old := grids.get(each)) is not None:
                    grids[each] = QParams(old.scale[:1], old.zero_point[:1], old.dtype)
    return grids


def _near(rng: np.random.Generator, value: Any) -> Any:
    if isinstance(value, bool):
        return bool(rng.integers(2))
    if isinstance(value, int):
        return int(rng.choice([-5, -3, -2, -1, 0, 1, 2, 3, 4, 7, value + 1, 65_536 if value < 9 else value]))
    if not isinstance(value, tuple) or not value:
        return value
    items, at = list(value), int(rng.integers(len(value)))
    change = rng.random()
    if change < 0.7:
        items[at] = _near(rng, items[at])
    elif change < 0.8:
        items.pop(at)
    elif change < 0.9:
        items.append(items[at])
    else:
        items.reverse()
    return tuple(items)


def _near_shape(rng: np.random.Generator, shape: Shape) -> Shape:
    sizes = list(shape)
    change = rng.random()
    if not sizes or change < 0.1:
        return (*shape, int(rng.integers(1, 4)))
    at = int(rng.integers(len(sizes)))
    if change < 0.2:
        sizes.pop(at)
    elif change < 0.3:
        sizes.insert(at, 1)
    else:
        sizes[at] = int(rng.choice([1, 2, 3, 4, 6, sizes[at] + 1, sizes[at] * 2]))
    return tuple(sizes)
