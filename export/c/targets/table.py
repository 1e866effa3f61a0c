"""The kernels that suit some processors better than the portable ones, a row each: which calls they take, what they do.

From these rows come the choice of kernels (:mod:`export.c.balance`), the counts that it rests on (``python -m
benchmarks kernels``), the tests and ``docs/kernels.md``. A new kernel is a row here, and counts of it.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

from export.c.targets import avr, cortex_m, helium, joined, small_cores
from export.c.targets.kernel_row import KernelRow, Portable, Work, anywhere
from export.c.targets.work import Tile, inside, number, of_depthwise, of_tiles, requantized
from qtorch.row.kernel_call import KernelCall

__all__ = ["KERNELS", "PORTABLE", "kernel_id"]


def kernel_id(call: KernelCall) -> str:
    """What counts of a portable call stand under: its kernel, and whether its weights have 4 bits."""
    return f"{call.kernel} of 4 bits" if call.arguments.get("weight_bits") == 4 else call.kernel


def _dense_work(call: KernelCall) -> Work:
    return {**of_tiles(call, Tile(1, 4, 4)), **{f"16: {k}": v for k, v in of_tiles(call, Tile(1, 4, 16)).items()
                                                if "steps" in k}}  # fmt: skip


def _flat_code(call: KernelCall) -> Work:
    """Of kernels whose code does not grow with the layer; what is left over has code of its own."""
    work = of_tiles(call, Tile(1, 4, 4))
    loops = {f"any {name}": float(work[name] > 0) for name in ("tiles", "outputs left", "codes left")}
    forms = {k: float(v > 0) for k, v in work.items() if k.startswith("outputs ") and k != "outputs left"}
    return {"functions": 1, **loops, **forms}


def _depthwise_code(call: KernelCall) -> Work:
    work = of_depthwise(call)
    return {"functions": 1, **{k: float(v > 0) for k, v in work.items() if k.startswith("outputs ")}}


def _pairs_work(call: KernelCall, made: KernelCall) -> Work:
    work = of_tiles(call, Tile(3, 2, 4))
    written = work["outputs clamped"] == 0
    kind = "in assembly" if written else "in C"
    pixels, outputs = -(-number(made, "out_h") * number(made, "out_w") // 3), number(made, "out_c")
    chunks, blocks = number(made, "chunks"), number(made, "blocks")
    pairs = pixels * -(-outputs // 2)
    rows, width = number(made, "window_h"), number(made, "window_w") * number(made, "in_c")
    copied = 0.0
    if number(made, "padded"):
        (rows_inside, _), (_, columns_inside) = inside(made, "h"), inside(made, "w")
        copied = number(made, "out_h") * number(made, "out_w") * rows - rows_inside * columns_inside
    return {
        "calls": 1,
        "pixels": pixels,
        "window rows": pixels * rows,
        "four codes": pixels * rows * (width // 4),
        "codes left": pixels * rows * (width % 4),
        "padded rows": pixels * rows * number(made, "padded"),
        "copied rows": copied,
        "copied columns": copied * number(made, "window_w"),
        "copied codes": copied * width,
        f"pairs {kind}": pairs,
        f"chunks {kind}": pairs * chunks * (chunks > 1),
        "steps": pairs * chunks * blocks,
        "outputs left": pixels * (outputs % 2),
        **{f"{k} {kind}": v for k, v in work.items() if k.startswith("outputs Q")},
    }


def _unpacked_work(call: KernelCall, made: KernelCall) -> Work:
    """As of pairs; windows are put in words once for some pairs of channels, and weights become words before."""
    work, pairs = _pairs_work(call, made), -(-number(made, "out_c") // 2)
    passes = -(-pairs // number(made, "at_once"))
    again = (
        "pixels",
        "window rows",
        "four codes",
        "codes left",
        "padded rows",
        "copied rows",
        "copied columns",
        "copied codes",
    )
    words = pairs * number(made, "chunks") * 4 * number(made, "blocks")
    return {**work, **{name: passes * work[name] for name in again}, "unpacked pairs": pairs, "unpacked words": words}


def _pairs_code(call: KernelCall, made: KernelCall) -> Work:
    sums = _pairs_work(call, made)
    kind = {f"any {k}": float(v > 0) for k, v in sums.items() if k.startswith(("outputs", "chunks", "padded"))}
    unrolled = number(made, "blocks") * (1 + (number(made, "out_c") % 2))
    return {"functions": 1, "steps": unrolled, **kind}


def _depthwise_pairs_work(call: KernelCall, made: KernelCall) -> Work:
    out_h, out_w, window_h, window_w = (number(made, k) for k in ("out_h", "out_w", "window_h", "window_w"))
    plane = number(made, "plane_h") * number(made, "plane_w")
    pairs = -(-number(made, "in_c") // 2)
    codes = pairs * number(made, "in_h") * number(made, "in_w")
    kind, rows = ("columns", -(-out_h // 2)) if _is_written_out(call, made) else ("pixels", out_h)
    sums = pairs * out_w * rows
    return {
        "calls": 1,
        "plane": plane,
        "pairs": pairs,
        "unpacked words": pairs * window_h * window_w,
        "image columns": pairs * number(made, "in_w"),
        "codes": codes,
        "output columns": pairs * out_w,
        f"{kind}: two sums": sums,
        f"{kind}: products": sums * window_h * window_w,
        f"{kind}: window columns": sums * window_w,
        **{f"{kind}: {k}": v for k, v in of_depthwise(call).items() if k.startswith("outputs ")},
    }


def _is_written_out(call: KernelCall, made: KernelCall) -> bool:
    """Whether a depthwise convolution takes the assembly, as ``firmware/c/depthwise_conv_2d_pairs_s8.h`` says."""
    work = of_depthwise(call)
    return (
        work.get("outputs Q_POSITIVE", 0) > 0
        and work["outputs clamped"] == 0
        and number(made, "window_h") == 3
        and number(made, "window_w") <= 32
        and number(made, "stride_h") <= 2
        and number(made, "out_h") > 1
        and 2 * number(made, "out_w") * number(made, "in_c") < 4096
        and 4 * number(made, "plane_h") * number(made, "window_w") < 4096
    )


def _depthwise_pairs_code(call: KernelCall, made: KernelCall) -> Work:
    work, area = _depthwise_pairs_work(call, made), number(made, "window_h") * number(made, "window_w")
    written = _is_written_out(call, made)
    return {
        "functions": 1,
        "columns": float(written),
        "two heights": float(written and number(made, "out_h") % 2 == 1),
        "window columns": number(made, "window_w") * written,
        "products": area * (not written),
        **{f"any {k}": float(v > 0) for k, v in work.items() if ": outputs" in k},
    }


def _gathered_work(tile: Tile, call: KernelCall, made: KernelCall) -> Work:
    """Of kernels that put windows of several pixels side by side, and then multiply."""
    work = of_tiles(call, tile)
    area = number(made, "window_h") * number(made, "window_w")
    there = inside(made, "h")[0] * inside(made, "w")[0]
    padded = number(made, "out_h") * number(made, "out_w") * area - there
    return {**work, "window pixels": work["pixels"] * area, "pixels of padding": padded}


def _dense_tiles(tile: Tile, call: KernelCall, made: KernelCall) -> Work:
    return of_tiles(call, tile)


def _tiles_code(tile: Tile, call: KernelCall, made: KernelCall) -> Work:
    """Of kernels whose code hangs on what is left over, and on the arithmetic of the outputs."""
    work = of_tiles(call, tile)
    loops = {f"any {name}": float(work[name] > 0) for name in ("tiles", "outputs left", "codes left", "window rows")}
    return {"functions": 1, **loops, **{f"any {k}": float(v > 0) for k, v in work.items() if k.startswith("outputs Q")}}


def _planes_work(call: KernelCall, made: KernelCall) -> Work:
    """Of depthwise convolutions of one channel after the other, four windows at a time."""
    channels, area = number(call, "in_c"), number(call, "window_h") * number(call, "window_w")
    along, across = ("h", "w") if number(made, "turned") else ("w", "h")
    rows = channels * number(call, f"out_{across}")
    windows = rows * -(-number(call, f"out_{along}") // 4)
    return {
        "calls": 1,
        "channels": channels,
        "plane": made.scratch,
        "filled planes": channels * made.scratch,
        "rows": channels * number(call, "in_h"),
        "codes": channels * number(call, "in_h") * number(call, "in_w"),
        "output rows": rows,
        "four windows": windows,
        "window rows": windows * number(call, f"window_{across}"),
        "products": windows * area,
        "left over": rows * (-number(call, f"out_{along}") % 4),
        **requantized(call, channels * number(call, "out_h") * number(call, "out_w")),
    }


def _planes_code(call: KernelCall, made: KernelCall) -> Work:
    work = _planes_work(call, made)
    return {"functions": 1, "products": number(call, "window_h") * number(call, "window_w"),
            **{f"any {k}": float(v > 0) for k, v in work.items() if k.startswith("outputs Q")}}  # fmt: skip


def _windows_work(together: tuple[int, int], call: KernelCall, made: KernelCall) -> Work:
    """Of depthwise convolutions of one channel after the other, so many windows of rows and columns at a time."""
    channels, rows, columns = number(call, "in_c"), number(call, "out_h"), number(call, "out_w")
    tall, wide = (-(-n // of) for n, of in ((rows, together[0]), (columns, together[1])))
    if columns == 1:
        tall, wide = 1, -(-rows // together[1])
    windows = channels * tall * wide
    return {
        "calls": 1,
        "channels": channels,
        "output rows": channels * tall,
        "windows": windows,
        "window rows": windows * number(call, "window_h"),
        "window columns": windows * number(call, "window_w"),
        "products": windows * number(call, "window_h") * number(call, "window_w"),
        "codes": channels * number(call, "in_h") * number(call, "in_w"),
        "gathered columns": channels * tall * number(call, "in_w"),
        "outputs": channels * rows * columns,
    }


def _windows_code(together: tuple[int, int], call: KernelCall, made: KernelCall) -> Work:
    return {"functions": 1, "window rows": number(call, "window_h"), "window columns": number(call, "window_w"),
            "stride": float(number(call, "stride_w") > 1)}  # fmt: skip


def _sums_of(call: KernelCall) -> int:
    return prod(number(call, f"n_{axis}") for axis in range(4))


def _sums_work(tile: None, call: KernelCall, made: KernelCall) -> Work:
    return {"calls": 1, "four codes": _sums_of(call) // 4, "codes left": _sums_of(call) % 4}


def _sums_code(tile: None, call: KernelCall, made: KernelCall) -> Work:
    return {"functions": 1}


def _portable_sums(call: KernelCall) -> Work:
    return {"calls": 1, "codes": _sums_of(call)}


def _portable_sums_code(call: KernelCall) -> Work:
    return {"functions": 1}


#: By name; those in whose place others may stand.
PORTABLE = {
    each.kernel: each
    for each in (
        Portable("fully_connected_s8", _dense_work, _flat_code),
        Portable("pointwise_s8", _dense_work, _flat_code),
        Portable("conv_2d_s8", _dense_work, _flat_code),
        Portable("depthwise_conv_2d_s8", of_depthwise, _depthwise_code),
        Portable("add_short_s8", _portable_sums, _portable_sums_code),
    )
}

_AVR = frozenset({"avr"})
_LONG_MULTIPLY = frozenset({"cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"})
_HALFWORDS, _VECTORS = _LONG_MULTIPLY - {"cortex-m3"}, frozenset({"cortex-m55", "cortex-m85"})
_RISCV, _CONVOLUTIONS = frozenset({"riscv32", "riscv32-p4"}), frozenset({"pointwise_s8", "conv_2d_s8"})

#: What these compute at a time.
_JOINED, _JOINED_DENSE, _IN_VECTORS, _DENSE_VECTORS = Tile(3, 2, 4), Tile(1, 4, 8), Tile(2, 4, 16), Tile(1, 8, 16)
_FOUR_WINDOWS, _TWO_BY_TWO = (1, 4), (2, 2)
_DEPTHWISE, _DENSE = frozenset({"depthwise_conv_2d_s8"}), frozenset({"fully_connected_s8"})

#: Kernels of Cortex-M55: what each takes the place of, which shape, and what its cost hangs on.
_OF_VECTORS: tuple[tuple[str, frozenset[str], str, Any, Any, Any], ...] = (
    ("pointwise_mve_s8", _CONVOLUTIONS, "windows of one pixel, inputs a multiple of 16, one group", _IN_VECTORS,
     _dense_tiles, _tiles_code),
    ("conv_2d_mve_s8", _CONVOLUTIONS, "one group", _IN_VECTORS, _gathered_work, _tiles_code),
    ("fully_connected_mve_s8", _DENSE, "inputs a multiple of 16, eight outputs at least", _DENSE_VECTORS,
     _dense_tiles, _tiles_code),
    ("fully_connected_padded_mve_s8", _DENSE, "eight outputs at least", _DENSE_VECTORS, _dense_tiles, _tiles_code),
    ("depthwise_sequence_mve_s8", _DEPTHWISE, "4 to 13 pixels of a sequence, stride 1, each channel multiplied once",
     _FOUR_WINDOWS, _windows_work, _windows_code),
    ("depthwise_square_mve_s8", _DEPTHWISE, "at most 3x3, stride 1, two windows each way at least", _TWO_BY_TWO,
     _windows_work, _windows_code),
    ("depthwise_rows_mve_s8", _DEPTHWISE, "at most 4x4, a stride across of at most 2", _FOUR_WINDOWS,
     _windows_work, _windows_code),
    ("add_short_mve_s8", frozenset({"add_short_s8"}), "two tensors of one shape", None, _sums_work, _sums_code),
)  # fmt: skip

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
        work=_planes_work,
        code=_planes_code,
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
    KernelRow(
        kernel="conv_2d_pairs_s8",
        cpus=_LONG_MULTIPLY,
        replaces=_CONVOLUTIONS,
        make=cortex_m.paired_pixels,
        shape="three pixels at least, no dilation, one group",
        work=_pairs_work,
        code=_pairs_code,
    ),
    KernelRow(
        kernel="conv_2d_unpacked_s8",
        cpus=_LONG_MULTIPLY,
        replaces=_CONVOLUTIONS,
        make=cortex_m.unpacked_pixels,
        shape="three pixels at least, no dilation, one group",
        work=_unpacked_work,
        code=_pairs_code,
    ),
    KernelRow(
        kernel="depthwise_conv_2d_pairs_s8",
        cpus=_LONG_MULTIPLY | _VECTORS,
        replaces=_DEPTHWISE,
        make=cortex_m.paired_channels,
        shape="two channels at least, each multiplied once, no dilation; sums of two fields of less than 2^20",
        work=_depthwise_pairs_work,
        code=_depthwise_pairs_code,
    ),
    KernelRow(
        kernel="conv_2d_joined_s8",
        cpus=_HALFWORDS,
        replaces=_CONVOLUTIONS,
        make=joined.joined_convolution,
        shape="three pixels at least, weights of 8 bits, no dilation, one group; codes cut off at the ends alone",
        work=partial(_gathered_work, _JOINED),
        code=partial(_tiles_code, _JOINED),
    ),
    KernelRow(
        kernel="fully_connected_joined_s8",
        cpus=_HALFWORDS,
        replaces=_DENSE,
        make=joined.joined_dense,
        shape="eight inputs and four outputs at least, weights of 8 bits; codes cut off at the ends alone",
        work=partial(_dense_tiles, _JOINED_DENSE),
        code=partial(_tiles_code, _JOINED_DENSE),
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
    *(
        KernelRow(
            kernel="conv_2d_words_s8",
            cpus=cpus,
            replaces=_CONVOLUTIONS,
            make=partial(small_cores.pixels_together, together=pixels),
            shape=f"{pixels} pixels at least, weights of 8 bits, one group; two neighbouring weights of at most 255 together",
            work=partial(_gathered_work, Tile(pixels, pixels, 2)),
            code=partial(_tiles_code, Tile(pixels, pixels, 2)),
        )
        for cpus, pixels in ((frozenset({"cortex-m0"}), 2), (_RISCV, 4))
    ),
    KernelRow(
        kernel="depthwise_conv_2d_planes_s8",
        cpus=_RISCV | {"cortex-m0"},
        replaces=_DEPTHWISE,
        make=small_cores.channel_by_channel,
        shape="four windows at least along an axis, each channel multiplied once, weights of 8 bits",
        work=_planes_work,
        code=_planes_code,
    ),
)  # fmt: skip
