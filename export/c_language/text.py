"""Small pieces of C text that the headers share."""

from __future__ import annotations

import textwrap

__all__ = ["close_guard", "comment", "double_literal", "float_literal", "open_guard", "parenthesized", "quoted"]


def float_literal(value: float) -> str:
    """A C literal that reads back as exactly the float32 ``value``. Nine digits do; C++11 has no hexadecimal floats."""
    digits = f"{value:.9g}"
    return f"{digits}f" if "." in digits or "e" in digits else f"{digits}.0f"


def double_literal(value: float) -> str:
    """A C literal that reads back as exactly ``value``: Python's repr, at most 17 digits."""
    return parenthesized(repr(float(value)))


def parenthesized(number: str) -> str:
    return f"({number})" if number.startswith("-") else number


def quoted(text: str) -> str:
    """A person's text for a ``//`` comment: one line, nothing unprintable, and no backslash that could continue it."""
    return '"' + " ".join("".join(c if c.isprintable() and c != "\\" else " " for c in text).split()) + '"'


def open_guard(file: str) -> str:
    return f"#ifndef {file.upper()}_H_\n#define {file.upper()}_H_\n"


def close_guard(file: str) -> str:
    return f"\n#endif  // {file.upper()}_H_\n"


def comment(text: str) -> str:
    """``//`` lines of at most 120 characters, broken between words; no line feed at the end."""
    wrapped = textwrap.wrap(text, 117, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"// {line}" for line in wrapped)
