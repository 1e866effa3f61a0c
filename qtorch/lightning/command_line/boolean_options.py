"""Boolean options with and without a word behind them: ``--export.c`` and ``--export.c true`` are the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["TRUTHS", "with_values"]

#: What may be said of a boolean option.
TRUTHS = {"true": True, "false": False, "yes": True, "no": False}


def with_values(arguments: Sequence[str], booleans: Collection[str]) -> list[str]:
    """The arguments, with ``=true`` at each boolean option that no value follows.

    >>> with_values(["--export.c", "--out", "D", "--export.strip", "false"], {"--export.c", "--export.strip"})
    ['--export.c=true', '--out', 'D', '--export.strip', 'false']

    Args:
        arguments: of a command line.
        booleans: its options that are true or false.
    """
    behind = [*arguments, ""][1:]
    return [
        f"{word}=true" if word in booleans and value.lower() not in TRUTHS else word
        for word, value in zip(arguments, behind, strict=False)
    ]
