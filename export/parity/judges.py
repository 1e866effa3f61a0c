"""Who judges here, and who is reported: chosen among the engines by what they say of themselves."""

from __future__ import annotations

from export.engines import ENGINES, Engine, InspectableEngine
from qtorch.errors import BadConfiguration
from qtorch.numbers.fixedpoint import Rounding

__all__ = ["all_engines", "exact_judge", "judge_here", "judges_here", "may_judge", "reported_here"]


def may_judge() -> tuple[InspectableEngine, ...]:
    """Engines that may judge integers, the preferred one first, whether they run here or not."""
    ranked = [
        (engine.preference, engine)
        for engine in ENGINES.values()
        if isinstance(engine, InspectableEngine) and engine.preference is not None
    ]
    return tuple(engine for _, engine in sorted(ranked, key=lambda each: each[0]))


def all_engines() -> tuple[Engine, ...]:
    """Every engine: those that may judge by preference, the others in the order of their files."""
    first = may_judge()
    return (*first, *(engine for engine in ENGINES.values() if engine not in first))


def judges_here(narrow_weights: bool = False) -> tuple[InspectableEngine, ...]:
    """Engines that may judge and run here, the preferred one first.

    Args:
        narrow_weights: only those that have kernels for float activations with float16 or int8 weights.

    Raises:
        BadConfiguration: there is none.
    """
    able = [engine for engine in may_judge() if engine.narrow_weights or not narrow_weights]
    here = tuple(engine for engine in able if not engine.absent())
    if not here:
        raise BadConfiguration(
            where="engines",
            expected=f"one that judges: {', '.join(engine.name for engine in able)}",
            got="none that runs here",
            remedy="; ".join(engine.absent() for engine in able),
        )
    return here


def judge_here() -> InspectableEngine:
    """The engine that must equal the integer reference here: TFLite Micro, else LiteRT's reference kernels.

    One that rounds once is held against the reference with single rounding.

    Raises:
        BadConfiguration: none runs here.
    """
    return judges_here()[0]


def exact_judge() -> InspectableEngine | None:
    """The judge if it computes the very integers of the reference; ``None`` of one that rounds once, or without one."""
    engine = next((engine for engine in may_judge() if not engine.absent()), None)
    return engine if engine is not None and engine.rounding is Rounding.DOUBLE else None


def reported_here() -> tuple[Engine, ...]:
    """Engines that run here and are reported beside the judge."""
    return tuple(engine for engine in all_engines() if engine.reported and not engine.absent())
