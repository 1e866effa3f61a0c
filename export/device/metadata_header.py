"""``<name>_metadata.h``: what a model's file says of itself, for C."""

from __future__ import annotations

from collections.abc import Sequence

from export.c_language.names import c_identifier
from export.c_language.text import close_guard, double_literal, open_guard
from export.tflite.metadata import NAME, ModelMetadata
from qtorch.features import Feature

__all__ = ["metadata_header"]


def metadata_header(name: str, metadata: ModelMetadata, arena_bytes: int, model: bytes) -> str:
    """``<name>_metadata.h``: the same figures for C, and where the JSON lies in the model's array.

    Args:
        name: the model's, any string.
        metadata: what stands in the file.
        arena_bytes: likewise.
        model: the file.

    Raises:
        ValueError: the file does not hold this metadata.
    """
    name = c_identifier(name)
    upper, text = name.upper(), metadata.json(arena_bytes)
    lines = [
        f'#define {upper}_METADATA_NAME "{NAME}"',
        f"// The JSON text begins here in {name}_model_data and has no terminating zero.",
        f"#define {upper}_METADATA_OFFSET {model.index(text)}u",
        f"#define {upper}_METADATA_SIZE {len(text)}u",
        f"#define {upper}_VERSION {_c_string(metadata.version)}",
        f'#define {upper}_WEIGHTS_SHA256 "{metadata.weights_sha256}"',
        *([f"#define {upper}_METADATA_ARENA_BYTES {arena_bytes}u"] if arena_bytes else []),
        "",
    ]
    if metadata.classes:
        lines += _names(name, "class", metadata.classes)
    for side, features in (("input", metadata.interface.inputs), ("output", metadata.interface.outputs)):
        lines += _features(name, side, features)
    guard, body = f"{name}_metadata", "\n".join(lines)
    return f"// What {name}'s file says of itself.\n{open_guard(guard)}\n{body}{close_guard(guard)}"


def _names(name: str, what: str, names: Sequence[str]) -> list[str]:
    listed = ",\n".join(f"      {_c_string(each)}" for each in names)
    return [
        f"#define {name.upper()}_{what.upper()}_COUNT {len(names)}",
        f"// Name of {what} i, 0 <= i < {name.upper()}_{what.upper()}_COUNT.",
        f"static inline const char *{name}_{what}_name(int i) {{",
        f"  static const char *const names[] = {{\n{listed},\n  }};",
        "  return names[i];",
        "}",
        "",
    ]


def _features(name: str, side: str, features: Sequence[Feature]) -> list[str]:
    lines = _names(name, f"{side}_feature", [f"{f.name} [{f.unit}]" if f.unit else f.name for f in features])
    for field, meaning in (
        ("offset", "physical value that the network sees as 0"),
        ("span", "difference it sees as 1"),
    ):
        values = ", ".join(double_literal(getattr(feature, field)) for feature in features)
        lines += [
            f"// {side} feature i: {meaning}.",
            f"static inline double {name}_{side}_feature_{field}(int i) {{",
            f"  static const double values[] = {{{values}}};",
            "  return values[i];",
            "}",
            "",
        ]
    return lines


def _c_string(text: str) -> str:
    """A C string literal of the text's UTF-8; octal escapes end after three digits, hexadecimal ones would not."""
    plain = {ord('"'): '\\"', ord("\\"): "\\\\", ord("?"): "\\?"}
    return '"' + "".join(plain.get(b) or (chr(b) if 32 <= b < 127 else f"\\{b:03o}") for b in text.encode()) + '"'
