"""A second memory of a board: faster than its RAM, or larger and slower, and how C puts an array there."""

from __future__ import annotations

from dataclasses import dataclass

from qtorch.errors import BadConfiguration

__all__ = ["Memory"]


@dataclass(frozen=True)
class Memory:
    """A memory beside that in which a program's data lie.

    Attributes:
        name: for people.
        bytes: that it has.
        faster: whether it is than the board's RAM; else it is the slower one.
        source: who says so.
        guard: a macro that is there only where the build of the board's ecosystem compiles; empty: the project's own
            build says how an array gets there, by ``-D<MODEL>_FAST_MEMORY`` or ``-D<MODEL>_SLOW_MEMORY``.
        header: that has :attr:`attribute`.
        attribute: in front of an array, puts it there.
        needs: what that build has to be told besides; empty: nothing.

    Raises:
        BadConfiguration: it has no bytes, or an attribute without what it depends on.
    """

    name: str
    bytes: int
    faster: bool
    source: str
    guard: str = ""
    header: str = ""
    attribute: str = ""
    needs: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.bytes, int) or isinstance(self.bytes, bool) or self.bytes <= 0:
            raise BadConfiguration(
                where=f"Memory {self.name!r}: bytes", expected="a whole number above 0", got=repr(self.bytes),
                remedy="take it from the data sheet",
            )  # fmt: skip
        if bool(self.guard) != bool(self.attribute):
            raise BadConfiguration(
                where=f"Memory {self.name!r}: guard, attribute",
                expected="both, or neither where a project's own build places the array",
                got=f"{self.guard!r}, {self.attribute!r}",
                remedy="give the macro of the ecosystem's build, such as ESP_PLATFORM, and its attribute",
            )
