"""The options of a custom operator of TFLM's own: a map of whole numbers, which its kernel reads by their places.

A flexbuffer: the last bytes say where the map lies and how wide its elements are; it has its values in the order of its
keys, which are ascending, a byte for each value's type behind them, and before them where the keys are. Kernels take
whatever stands at a place for a whole number with its sign, and so is everything but such numbers refused.
Source: ``flatbuffers/flexbuffers.h``; ``FlexbufferWrapper`` in TFLM ``micro/flatbuffer_utils.cc``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flatbuffers import flexbuffers

__all__ = ["custom_options", "written_options"]

_INT, _UINT, _MAP, _BOOL = 1, 2, 9, 26


def written_options(options: Mapping[str, int]) -> bytes:
    """The bytes of options, by ascending names."""
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in sorted(options.items()):
            builder.Key(name)
            (builder.Bool if isinstance(value, bool) else builder.Int)(value)
    return bytes(builder.Finish())


def custom_options(data: bytes, names: Sequence[str]) -> dict[str, int]:
    """The options in some bytes, as a kernel reads them into 32 bits.

    Args:
        data: of one operator.
        names: of all options that it has; ascending.

    Raises:
        ValueError: the bytes are no such map, or one of other keys, or of something else than numbers.
    """
    found = _Map(data).items()
    if tuple(found) != tuple(names):
        raise ValueError(f"options {', '.join(found) or 'without any'}: expected {', '.join(names)}")
    return found


class _Map:
    """The one map of a buffer."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        if len(data) < 3:
            raise ValueError(f"{len(data)} bytes of options: expected a map of numbers")
        kind, width = data[-2], data[-1]
        if kind >> 2 != _MAP or width not in (1, 2, 4, 8):
            raise ValueError(f"options of type {kind >> 2} and width {width}: expected a map of numbers")
        self.width = 1 << (kind & 3)
        root = len(data) - 2 - width
        self.start = root - self._number(root, width)

    def items(self) -> dict[str, int]:
        width, start = self.width, self.start
        count, keys_width = (self._number(start - each * width, width) for each in (1, 2))
        if keys_width not in (1, 2, 4, 8) or count > len(self.data):
            raise ValueError(f"{count} options with keys of width {keys_width}: expected a map of numbers")
        keys = start - 3 * width - self._number(start - 3 * width, width)
        names = [self._key(keys + i * keys_width, keys_width) for i in range(count)]
        values = [self._value(start + i * width, start + count * width + i) for i in range(count)]
        return dict(zip(names, values, strict=True))

    def _bytes(self, begin: int, count: int) -> bytes:
        if not 0 <= begin <= len(self.data) - count:
            raise ValueError(f"options that end at byte {begin + count} of {len(self.data)}")
        return self.data[begin : begin + count]

    def _number(self, at: int, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._bytes(at, width), "little", signed=signed)

    def _key(self, at: int, width: int) -> str:
        begin = at - self._number(at, width)
        end = self.data.find(0, begin) if 0 <= begin < len(self.data) else -1
        if end < 0:
            raise ValueError(f"an option's name at byte {begin} of {len(self.data)}")
        return self.data[begin:end].decode("ascii", "backslashreplace")

    def _value(self, at: int, kind_at: int) -> int:
        kind = self._number(kind_at, 1) >> 2
        if kind == _BOOL:
            return bool(self._number(at, self.width))
        if kind not in (_INT, _UINT):
            raise ValueError(f"an option of type {kind}: expected whole numbers")
        return (self._number(at, self.width, signed=True) + 2**31) % 2**32 - 2**31
