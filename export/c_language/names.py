"""Names for C: whatever a person calls a model or a quantity becomes an identifier that every target compiles."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["c_identifier"]

#: C11 keywords; those with an underscore and a capital can't arise here, their <std*.h> spellings can.
_C11 = """
    auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    alignas alignof bool complex imaginary noreturn static_assert thread_local
"""

#: C++20 keywords and alternative tokens that C11 lacks, and the words that C++20 gives a meaning in context.
_CPP20 = """
    and and_eq asm bitand bitor catch char8_t char16_t char32_t class co_await co_return co_yield compl concept
    consteval constexpr constinit const_cast decltype delete dynamic_cast explicit export false friend mutable namespace
    new noexcept not not_eq nullptr operator or or_eq private protected public reinterpret_cast requires static_cast
    template this throw true try typeid typename using virtual wchar_t xor xor_eq final override import module
"""

#: Types, objects and functions that the generated code or the platform already declares at file scope.
_DECLARED = """
    int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t intptr_t uintptr_t size_t ptrdiff_t
    std tflite main setup loop errno null eof nan infinity isnan isinf assert linux unix serial
"""

#: Macros, constants and types of Arduino.h, avr-libc and the cores derived from them; lower case stands for any case.
_ARDUINO = """
    f pi half_pi two_pi deg_to_rad rad_to_deg euler high low input output input_pullup input_pulldown
    input_pullup_analog output_opendrain output_open_drain led_builtin lsbfirst msbfirst change falling rising
    default external internal internal1v1 internal2v56 extended display serial_port_monitor
    min max abs round constrain map sq sqrt pow sin cos tan radians degrees random randomseed
    bit word byte boolean bitread bitset bitclear bittoggle bitwrite lowbyte highbyte makeword _bv cbi sbi
    interrupts nointerrupts sei cli isr digitalpintoport digitalpintobitmask analoginpintobit
    clockcyclespermicrosecond clockcyclestomicroseconds microsecondstoclockcycles not_a_pin not_a_port not_an_interrupt
    progmem pstr f_cpu arduino sda scl mosi miso sck ss rx tx tone notone delay micros millis yield
    portb portc portd ddrb ddrc ddrd pinb pinc pind
"""

_RESERVED = frozenset(f"{_C11} {_CPP20} {_DECLARED} {_ARDUINO}".split())

#: Families of macros: binary.h's B0 to B11111111 and termios' B9600; pins A0, D0, GP0, GPIO0, PB0.
_RESERVED_FAMILY = re.compile(r"b\d+|a\d+|d\d+|gp\d+|gpio\d+|p[a-k]_?\d+")


def c_identifier(name: str) -> str:
    """A lower-case C and C++ identifier for any string; applying it twice changes nothing.

    Letters are brought to ASCII (``ö`` to ``o``, ``ß`` to ``ss``, ``²`` to ``2``), what has no ASCII form is dropped,
    and everything between words becomes one underscore, because C++ reserves two in a row.

    Returns: matches ``[a-z][a-z0-9_]*`` without ``__``, and is, in upper case and in lower, no keyword or alternative
        token of C11 or C++20 and no Arduino macro: those get the suffix ``_model``. ``"model"`` where nothing is left.

    Example:
        >>> c_identifier("fuel consumption"), c_identifier("B0"), c_identifier("3-D")
        ('fuel_consumption', 'b0_model', 'model_3_d')
    """
    ascii_text = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode("ascii").lower()
    identifier = "_".join(re.findall(r"[a-z0-9]+", ascii_text)) or "model"
    if identifier[0].isdigit():
        identifier = f"model_{identifier}"
    if identifier in _RESERVED or _RESERVED_FAMILY.fullmatch(identifier):
        identifier = f"{identifier}_model"
    return identifier
