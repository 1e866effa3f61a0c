"""What another form of a graph costs: ops, products, bytes of constants and of working memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from export.c.memory_plan import Buffer, plan
from export.cost.macs import all_multiply_accumulates
from export.graph.bytes import raw_bytes
from export.graph.ir import Graph

__all__ = ["FormPrice", "price"]

#: Of tensors in TFLite Micro's arena, bytes.
_ALIGNMENT = 16


@dataclass(frozen=True)
class FormPrice:
    """How much more a graph takes than another; less where negative.

    Attributes:
        ops: nodes; in C those that move no byte take no time.
        macs: products that are summed, those with zeros between pixels among them.
        constant_bytes: weights, biases and tables; equal ones count once, as files hold them.
        arena_bytes: of all tensors in working memory, those of input and output too, planned as TFLite Micro does:
            every tensor a place of its own as long as it is needed. What kernels need besides is not in it.
    """

    ops: int
    macs: int
    constant_bytes: int
    arena_bytes: int

    def __str__(self) -> str:
        """In words: ``2 more ops, no more products, 16 more bytes of constants, 64 fewer of working memory``."""
        counts = (
            (self.ops, "op" if abs(self.ops) == 1 else "ops"),
            (self.macs, "products"),
            (self.constant_bytes, "bytes of constants"),
            (self.arena_bytes, "bytes of working memory"),
        )
        return ", ".join(_in_words(count, noun) for count, noun in counts)


def _in_words(count: int, noun: str) -> str:
    if not count:
        return f"no more {noun}"
    return f"{abs(count):,} {'more' if count > 0 else 'fewer'} {noun}"


def price(before: Graph, after: Graph) -> FormPrice:
    """Of ``after`` beyond ``before``."""
    return FormPrice(
        len(after.nodes) - len(before.nodes),
        all_multiply_accumulates(after) - all_multiply_accumulates(before),
        _constant_bytes(after) - _constant_bytes(before),
        _arena_bytes(after) - _arena_bytes(before),
    )


def _constant_bytes(graph: Graph) -> int:
    read = {name for node in graph.nodes for name in node.inputs}
    constants = graph.constants().items()
    return sum(len(data) for data in {raw_bytes(v.contents, v.dtype) for name, v in constants if name in read})


def _arena_bytes(graph: Graph) -> int:
    return plan(list(_buffers(graph)), _ALIGNMENT).peak


def _buffers(graph: Graph) -> Iterator[Buffer]:
    made = {name: index for index, node in enumerate(graph.nodes) for name in node.outputs}
    read = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    for name, value in graph.running().items():
        first = made.get(name, 0)
        last = len(graph.nodes) if name in graph.sinks else max(read.get(name, first), first)
        yield Buffer(name, value.bytes, first, last)
