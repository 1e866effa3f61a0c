"""Every string becomes a name that C, C++ and Arduino leave alone."""

from __future__ import annotations

import random
import re

import pytest

from export.c_language.names import c_identifier


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("fuel consumption", "fuel_consumption"),
        ("Engine-Size (L)", "engine_size_l"),
        ("3-D model!", "model_3_d_model"),
        ("größe", "grosse"),
        ("Ångström²", "angstrom2"),
        ("__x__y__", "x_y"),
        ("", "model"),
        ("  !?", "model"),
        ("車", "model"),
        ("model", "model"),
        ("class", "class_model"),
        ("Class", "class_model"),
        ("xor_eq", "xor_eq_model"),
        ("B0", "b0_model"),
        ("b00000001", "b00000001_model"),
        ("F", "f_model"),
        ("int8_t", "int8_t_model"),
    ],
)
def test_names(name: str, identifier: str) -> None:
    assert c_identifier(name) == identifier


def test_taken_words_get_a_suffix() -> None:
    words = """
        PI HIGH LOW INPUT OUTPUT min max abs round bit word byte boolean interrupts DEFAULT EXTERNAL SERIAL sq radians
        degrees A0 constexpr co_await requires alignas thread_local and not restrict inline
    """
    for word in words.split():
        assert c_identifier(word) == f"{word.lower()}_model"


def test_any_string_gives_a_stable_identifier() -> None:
    generator = random.Random(0)
    alphabet = 'abAB019_ -!/\\"\n\0ßöİK²\u202e\ud800'
    for _ in range(2000):
        identifier = c_identifier("".join(generator.choices(alphabet, k=generator.randrange(8))))
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", identifier)
        assert c_identifier(identifier) == identifier
