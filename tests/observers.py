"""Every observer that a configuration can name, so that a new one is tested before anyone remembers to."""

from __future__ import annotations

from qtorch.ranges.observers import OBSERVERS

__all__ = ["every_observer"]


def every_observer(**parameters: str) -> list[str]:
    """Specifications of all, in their order; ``parameters`` by name, as they stand behind the first colon."""
    unknown = parameters.keys() - OBSERVERS.keys()
    assert not unknown, unknown
    return [f"{name}:{parameters[name]}" if name in parameters else name for name in OBSERVERS]
