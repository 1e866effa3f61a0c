"""Pieces of C text: literals that read back as what was written, comments that stay comments."""

from __future__ import annotations

import numpy as np

from export.c_language.text import double_literal, float_literal, quoted


def test_a_float_literal_reads_back_exactly() -> None:
    bits = np.random.default_rng(0).integers(0x00800000, 0x7F000000, 2000, dtype=np.uint32)
    for value in [*bits.view(np.float32).tolist(), 1.0, 0.1, 16777215.0, 3e38]:
        assert np.float32(float_literal(value).removesuffix("f")) == np.float32(value)
        assert float(double_literal(value)) == value


def test_a_comment_ends_where_its_line_does() -> None:
    assert quoted("a\nb\\") == '"a b"'
    assert quoted("  \\\\ \x07c\\ d ") == '"c d"'
