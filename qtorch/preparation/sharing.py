"""Which tensors of a network must have one and the same grid: solved once, before anything is measured.

A union-find over the nodes that compute tensors. A set's grid may be fixed by a kernel, is of one type, and begins at
zero if everything that is computed into it does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import fx

from qtorch.config import LayerConfig
from qtorch.numbers.qparams import QParams

__all__ = ["SharedGrid", "Sharing"]


@dataclass
class SharedGrid:
    """What is known of a set of tensors that share a grid."""

    dtype: str
    config: LayerConfig
    fixed: QParams | None = None
    rectified: bool = False
    smallest: float = 0.0


class Sharing:
    """The sets, and what is known of each."""

    def __init__(self) -> None:
        self._parent: dict[fx.Node, fx.Node] = {}
        self._grids: dict[fx.Node, SharedGrid] = {}

    def __contains__(self, node: fx.Node) -> bool:
        return node in self._parent

    def add(self, node: fx.Node, grid: SharedGrid) -> None:
        """A tensor with a grid of its own."""
        self._parent[node] = node
        self._grids[node] = grid

    def root(self, node: fx.Node) -> fx.Node:
        """The node that stands for its set."""
        while self._parent[node] is not node:
            node = self._parent[node]
        return node

    def grid(self, node: fx.Node) -> SharedGrid:
        """What is known of the set that ``node`` is in."""
        return self._grids[self.root(node)]

    def join(self, node: fx.Node, other: fx.Node) -> None:
        """Make ``node``, whether it is known or not, share ``other``'s grid."""
        theirs = self.root(other)
        if node not in self._parent:
            self._parent[node] = theirs
            return
        mine = self.root(node)
        if mine is theirs:
            return
        a, b = self._grids.pop(mine), self._grids[theirs]
        assert a.dtype == b.dtype
        assert a.fixed == b.fixed
        self._parent[mine] = theirs
        config = replace(b.config, margin=max(a.config.margin, b.config.margin))
        self._grids[theirs] = SharedGrid(
            a.dtype, config, a.fixed, a.rectified and b.rectified, max(a.smallest, b.smallest)
        )
