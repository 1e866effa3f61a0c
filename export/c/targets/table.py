"""The kernels that suit some processors better than the portable ones, a row each: which calls they take, what they do.

From these rows come the choice of kernels (:mod:`export.c.balance`), the counts that it rests on (``python -m
benchmarks kernels``), the tests and ``docs/kernels.md``. A new kernel is a row here, and counts of it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from export.c.targets import avr, cortex_m, helium, joined, joined_s4, small_cores, winograd
from export.c.targets.halves import in_fields
from export.c.targets.kernel_row import KernelRow, Portable, anywhere
from export.c.targets.kernel_work import (
    dense_tiles,
    dense_work,
    depthwise_code,
    depthwise_pairs_code,
    depthwise_pairs_work,
    flat_code,
    gathered_work,
    pairs_code,
    pairs_work,
    planes_code,
    planes_work,
    tiles_code,
    unpacked_work,
    windows_code,
    windows_work,
    winograd_code,
    winograd_work,
)
from export.c.targets.work import Tile, of_depthwise
from qtorch.row.kernel_call import KernelCall

__all__ = ["KERNELS", "PORTABLE", "kernel_id"]


def kernel_id(call: KernelCall) -> str:
    """What counts of a portable call stand under: its kernel, and whether its weights have 4 bits."""
    return f"{call.kernel} of 4 bits" if call.arguments.get("weight_bits") == 4 else call.kernel


#: By name; those in whose place others may stand.
PORTABLE = {
    each.kernel: each
    for each in (
        Portable("fully_connected_s8", dense_work, flat_code),
        Portable("pointwise_s8", dense_work, flat_code),
        Portable("conv_2d_s8", dense_work, flat_code),
        Portable("depthwise_conv_2d_s8", of_depthwise, depthwise_code),
    )
}

_AVR = frozenset({"avr"})
_LONG_MULTIPLY = frozenset({"cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"})
_HALFWORDS, _VECTORS = _LONG_MULTIPLY - {"cortex-m3"}, frozenset({"cortex-m55", "cortex-m85"})
_RISCV, _CONVOLUTIONS = frozenset({"riscv32", "riscv32-p4"}), frozenset({"pointwise_s8", "conv_2d_s8"})

#: What these compute at a time.
_JOINED, _JOINED_DENSE, _IN_VECTORS, _DENSE_VECTORS = Tile(3, 2, 4), Tile(1, 4, 8), Tile(2, 4, 16), Tile(1, 8, 16)
_FIELDS, _JOINED_S4, _JOINED_DENSE_S4 = Tile(1, 4, 16), Tile(2, 4, 8), Tile(1, 4, 16)
_FOUR_WINDOWS, _TWO_BY_TWO = (1, 4), (2, 2)
_DEPTHWISE, _DENSE = frozenset({"depthwise_conv_2d_s8"}), frozenset({"fully_connected_s8"})

#: Kernels of Cortex-M55: what each takes the place of, which shape, and what its cost hangs on.
_OF_VECTORS: tuple[tuple[str, frozenset[str], str, Any, Any, Any], ...] = (
    ("pointwise_mve_s8", _CONVOLUTIONS, "windows of one pixel, inputs a multiple of 16, one group", _IN_VECTORS,
     dense_tiles, tiles_code),
    ("conv_2d_mve_s8", _CONVOLUTIONS, "one group", _IN_VECTORS, gathered_work, tiles_code),
    ("fully_connected_mve_s8", _DENSE, "inputs a multiple of 16, eight outputs at least", _DENSE_VECTORS,
     dense_tiles, tiles_code),
    ("fully_connected_padded_mve_s8", _DENSE, "eight outputs at least", _DENSE_VECTORS, dense_tiles, tiles_code),
    ("depthwise_sequence_mve_s8", _DEPTHWISE, "4 to 13 pixels of a sequence, stride 1, each channel multiplied once",
     _FOUR_WINDOWS, windows_work, windows_code),
    ("depthwise_square_mve_s8", _DEPTHWISE, "at most 3x3, stride 1, two windows each way at least", _TWO_BY_TWO,
     windows_work, windows_code),
    ("depthwise_rows_mve_s8", _DEPTHWISE, "at most 4x4, a stride across of at most 2", _FOUR_WINDOWS,
     windows_work, windows_code),
)  # fmt: skip

#: Processors that multiply words and have no instruction for several products.
_WORDS = _RISCV | {"cortex-m0", "cortex-m3"}

#: In the order in which they are asked; of two that cost the same the first is taken.
KERNELS = (
    *(
        KernelRow(
            kernel=kernel,
            cpus=_AVR,
            replaces=frozenset({replaced}),
            make=avr.panels,
            shape="sums of at most 2^23, inputs of less than 2^16",
            work=avr.panels_work,
            code=avr.panels_code,
            always=anywhere,
        )
        for replaced, kernel in avr.PANELS.items()
    ),
    KernelRow(
        kernel="depthwise_conv_2d_avr",
        cpus=_AVR,
        replaces=_DEPTHWISE,
        make=avr.depthwise,
        shape="four windows at least along an axis, each channel multiplied once, no dilation, sums of at most 2^23",
        work=planes_work,
        code=planes_code,
    ),
    KernelRow(
        kernel="fully_connected_immediates_avr",
        cpus=_AVR,
        replaces=_DENSE,
        make=avr.as_immediates,
        shape="short requantization proven, at most 24 KiB of code",
        work=avr.immediates_work,
        code=avr.immediates_code,
    ),
    *(
        KernelRow(
            kernel=f"{replaced.removesuffix('_s8')}_s4",
            cpus=_WORDS,
            replaces=frozenset({replaced}),
            make=in_fields,
            shape="weights of 4 bits, inputs of less than 2^16; the table saves 128 bytes at least",
            work=partial(gathered_work, _FIELDS) if replaced == "conv_2d_s8" else partial(dense_tiles, _FIELDS),
            code=partial(tiles_code, _FIELDS),
            always=anywhere,
        )
        for replaced in ("fully_connected_s8", "pointwise_s8", "conv_2d_s8")
    ),
    KernelRow(
        kernel="conv_2d_pairs_s8",
        cpus=_LONG_MULTIPLY,
        replaces=_CONVOLUTIONS,
        make=cortex_m.paired_pixels,
        shape="three pixels at least, no dilation, one group",
        work=pairs_work,
        code=pairs_code,
    ),
    KernelRow(
        kernel="conv_2d_unpacked_s8",
        cpus=_LONG_MULTIPLY,
        replaces=_CONVOLUTIONS,
        make=cortex_m.unpacked_pixels,
        shape="three pixels at least, no dilation, one group",
        work=unpacked_work,
        code=pairs_code,
    ),
    KernelRow(
        kernel="depthwise_conv_2d_pairs_s8",
        cpus=_LONG_MULTIPLY | _VECTORS,
        replaces=_DEPTHWISE,
        make=cortex_m.paired_channels,
        shape="windows of three pixels and two channels at least, each multiplied once, no dilation; 2x2 only where "
        "they overlap and not of three channels; sums of two fields of less than 2^20",
        work=depthwise_pairs_work,
        code=depthwise_pairs_code,
    ),
    KernelRow(
        kernel="conv_2d_joined_s8",
        cpus=_HALFWORDS,
        replaces=_CONVOLUTIONS,
        make=joined.joined_convolution,
        shape="three pixels at least, weights of 8 bits, no dilation, one group; codes cut off at the ends alone",
        work=partial(gathered_work, _JOINED),
        code=partial(tiles_code, _JOINED),
    ),
    KernelRow(
        kernel="conv_2d_winograd_s8",
        cpus=_HALFWORDS,
        replaces=_CONVOLUTIONS - {"pointwise_s8"},
        make=winograd.minimal_filtering,
        shape="windows of 3x3 and steps of one, at most 128 inputs, no dilation, one group",
        work=winograd_work,
        code=winograd_code,
    ),
    KernelRow(
        kernel="fully_connected_joined_s8",
        cpus=_HALFWORDS,
        replaces=_DENSE,
        make=joined.joined_dense,
        shape="eight inputs and four outputs at least, weights of 8 bits; codes cut off at the ends alone",
        work=partial(dense_tiles, _JOINED_DENSE),
        code=partial(tiles_code, _JOINED_DENSE),
    ),
    KernelRow(
        kernel="conv_2d_joined_s4",
        cpus=_HALFWORDS,
        replaces=_CONVOLUTIONS,
        make=joined_s4.joined_convolution_s4,
        shape="three pixels at least, weights of 4 bits, sums with every fourth channel of less than 2^19, no "
        "dilation, one group; codes cut off at the ends alone",
        work=partial(gathered_work, _JOINED_S4),
        code=partial(tiles_code, _JOINED_S4),
    ),
    KernelRow(
        kernel="fully_connected_joined_s4",
        cpus=_HALFWORDS,
        replaces=_DENSE,
        make=joined_s4.joined_dense_s4,
        shape="eight inputs and four outputs at least, weights of 4 bits, sums with every fourth output of less than "
        "2^19; codes cut off at the ends alone",
        work=partial(dense_tiles, _JOINED_DENSE_S4),
        code=partial(tiles_code, _JOINED_DENSE_S4),
    ),
    *(
        KernelRow(
            kernel=kernel,
            cpus=_VECTORS,
            replaces=replaces,
            make=partial(helium.in_vectors, kernel),
            shape=shape,
            work=partial(work, tile),
            code=partial(code, tile),
            always=helium.hardly_grows,
        )
        for kernel, replaces, shape, tile, work, code in _OF_VECTORS
    ),
    KernelRow(
        kernel="add_short_mve_s8",
        cpus=_VECTORS,
        replaces=frozenset({"add_short_s8"}),
        make=partial(helium.in_vectors, "add_short_mve_s8"),
        shape="two tensors of one shape",
        always=anywhere,
    ),
    *(
        KernelRow(
            kernel="conv_2d_words_s8",
            cpus=cpus,
            replaces=_CONVOLUTIONS,
            make=partial(small_cores.pixels_together, together=pixels),
            shape=f"{pixels} pixels at least, one group; two neighbours of at most 255 together",
            work=partial(gathered_work, Tile(pixels, pixels, 2)),
            code=partial(tiles_code, Tile(pixels, pixels, 2)),
        )
        for cpus, pixels in ((frozenset({"cortex-m0"}), 2), (_RISCV, 4))
    ),
    KernelRow(
        kernel="depthwise_conv_2d_planes_s8",
        cpus=_RISCV | {"cortex-m0"},
        replaces=_DEPTHWISE,
        make=small_cores.planes_of_channels,
        shape="windows of three pixels, four of them along an axis at least, each channel multiplied once",
        work=planes_work,
        code=planes_code,
    ),
)  # fmt: skip
