"""What each kernel does, and how often: the terms that its instructions and its bytes of code are sums of.

A function takes the portable call and, of another kernel, the one made of it; some are given first what is computed at
a time.
"""

from __future__ import annotations

from export.c.targets.helium import UNPACKED_BYTES
from export.c.targets.kernel_row import Work
from export.c.targets.operands import number
from export.c.targets.work import Tile, inside, of_depthwise, of_tiles, requantized
from qtorch.row.kernel_call import KernelCall, Rescaling

__all__ = [
    "dense_tiles",
    "dense_work",
    "depthwise_code",
    "depthwise_pairs_code",
    "depthwise_pairs_work",
    "flat_code",
    "gathered_work",
    "pairs_code",
    "pairs_work",
    "planes_code",
    "planes_work",
    "tiles_code",
    "unpacked_work",
    "windows_code",
    "windows_work",
    "winograd_code",
    "winograd_work",
]


def dense_work(call: KernelCall) -> Work:
    """Terms of portable sums of products over all inputs."""
    return {**of_tiles(call, Tile(1, 4, 4)), **{f"16: {k}": v for k, v in of_tiles(call, Tile(1, 4, 16)).items()
                                                if "steps" in k}}  # fmt: skip


def flat_code(call: KernelCall) -> Work:
    """Of kernels whose code does not grow with the layer; what is left over has code of its own."""
    work = of_tiles(call, Tile(1, 4, 4))
    loops = {f"any {name}": float(work[name] > 0) for name in ("tiles", "outputs left", "codes left")}
    forms = {k: float(v > 0) for k, v in work.items() if k.startswith("outputs ") and k != "outputs left"}
    return {"functions": 1, **loops, **forms}


def depthwise_code(call: KernelCall) -> Work:
    """Of portable depthwise convolutions."""
    work = of_depthwise(call)
    return {"functions": 1, **{k: float(v > 0) for k, v in work.items() if k.startswith("outputs ")}}


def pairs_work(call: KernelCall, made: KernelCall) -> Work:
    """Of convolutions of three pixels by two channels, two weights in a word."""
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


def unpacked_work(call: KernelCall, made: KernelCall) -> Work:
    """As of pairs; windows are put in words once for some pairs of channels, and weights become words before."""
    work, pairs = pairs_work(call, made), -(-number(made, "out_c") // 2)
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


def pairs_code(call: KernelCall, made: KernelCall) -> Work:
    """Of those, whose steps are written out."""
    sums = pairs_work(call, made)
    kind = {f"any {k}": float(v > 0) for k, v in sums.items() if k.startswith(("outputs", "chunks", "padded"))}
    unrolled = number(made, "blocks") * (1 + (number(made, "out_c") % 2))
    return {"functions": 1, "steps": unrolled, **kind}


def depthwise_pairs_work(call: KernelCall, made: KernelCall) -> Work:
    """Of depthwise convolutions of two channels at a time."""
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


def depthwise_pairs_code(call: KernelCall, made: KernelCall) -> Work:
    """Of those, whose windows are written out."""
    work, area = depthwise_pairs_work(call, made), number(made, "window_h") * number(made, "window_w")
    written = _is_written_out(call, made)
    return {
        "functions": 1,
        "columns": float(written),
        "two heights": float(written and number(made, "out_h") % 2 == 1),
        "window columns": number(made, "window_w") * written,
        "products": area * (not written),
        **{f"any {k}": float(v > 0) for k, v in work.items() if ": outputs" in k},
    }


def gathered_work(tile: Tile, call: KernelCall, made: KernelCall) -> Work:
    """Of kernels that put windows of several pixels side by side, and then multiply."""
    work = of_tiles(call, tile)
    area = number(made, "window_h") * number(made, "window_w")
    there = inside(made, "h")[0] * inside(made, "w")[0]
    padded = number(made, "out_h") * number(made, "out_w") * area - there
    return {**dense_tiles(tile, call, made), "window pixels": work["pixels"] * area, "pixels of padding": padded}


def dense_tiles(tile: Tile, call: KernelCall, made: KernelCall) -> Work:
    """Of kernels that multiply where codes lie."""
    work = of_tiles(call, tile)
    paired = number(made, "weight_bits", 8) == 4
    return {**work, "tiles of 4 bits": work["tiles"] * paired, "outputs left of 4 bits": work["outputs left"] * paired}


def tiles_code(tile: Tile, call: KernelCall, made: KernelCall) -> Work:
    """Of kernels whose code hangs on what is left over, and on the arithmetic of the outputs."""
    work = of_tiles(call, tile)
    loops = {f"any {name}": float(work[name] > 0) for name in ("tiles", "outputs left", "codes left")}
    return {
        "functions": 1,
        "windows": float(call.kernel == "conv_2d_s8"),
        **loops,
        **{f"any {k}": float(v > 0) for k, v in work.items() if k.startswith("outputs Q")},
    }


def planes_work(call: KernelCall, made: KernelCall) -> Work:
    """Of depthwise convolutions of one channel after the other, four windows at a time."""
    channels, area = number(call, "in_c"), number(call, "window_h") * number(call, "window_w")
    along, across = ("h", "w") if number(made, "turned") else ("w", "h")
    rows = channels * number(call, f"out_{across}")
    windows = rows * -(-number(call, f"out_{along}") // 4)
    # As firmware/c/window_of_plane.h says.
    in_assembly = number(call, f"window_{along}") == 3 and number(call, f"dilation_{along}") == 1
    kind = "in assembly" if in_assembly and number(call, f"stride_{along}") <= 2 else "in C"
    unpacked = area if number(made, "weight_bits", 8) == 4 else 0
    plane = made.scratch - unpacked
    return {
        "calls": 1,
        "channels": channels,
        "plane": plane,
        "filled planes": channels * plane,
        "unpacked weights": channels * unpacked,
        "rows": channels * number(call, "in_h"),
        "codes": channels * number(call, "in_h") * number(call, "in_w"),
        "output rows": rows,
        f"four windows {kind}": windows,
        f"window rows {kind}": windows * number(call, f"window_{across}"),
        f"products {kind}": windows * area,
        "left over": rows * (-number(call, f"out_{along}") % 4),
        **requantized(call, channels * number(call, "out_h") * number(call, "out_w")),
    }


def planes_code(call: KernelCall, made: KernelCall) -> Work:
    """Of those, whose windows are written out."""
    work = planes_work(call, made)
    forms = {f"any {k}": float(v > 0) for k, v in work.items() if k.startswith(("outputs Q", "unpacked"))}
    return {"functions": 1, "products": number(call, "window_h") * number(call, "window_w"), **forms}


def windows_work(together: tuple[int, int], call: KernelCall, made: KernelCall) -> Work:
    """Of depthwise convolutions of one channel after the other, so many windows of rows and columns at a time."""
    channels, rows, columns = number(call, "in_c"), number(call, "out_h"), number(call, "out_w")
    tall, wide = (-(-n // of) for n, of in ((rows, together[0]), (columns, together[1])))
    if columns == 1 and made.kernel == "depthwise_sequence_mve_s8":
        tall, wide = 1, -(-rows // together[1])
    blocks, channel_forms = -(-channels // 16), made.arguments["channels"]
    assert isinstance(channel_forms, Rescaling)
    kind = f"{channel_forms.form}{' by two' if number(call, 'stride_w') == 2 else ''}"
    unpacked = number(made, "weight_bits") == 4
    columns_bytes = made.scratch - 16 - (UNPACKED_BYTES if unpacked else 0)
    return {
        "calls": 1,
        "blocks": blocks,
        "rows of columns": blocks * tall,
        "columns": blocks * tall * (columns_bytes // 64),
        "channels": channels,
        "unpacked blocks": blocks * tall * unpacked,
        "unpacked records": channels * tall * unpacked,
        "rows of windows": channels * tall,
        f"windows {kind}": channels * tall * wide,
    }


def windows_code(together: tuple[int, int], call: KernelCall, made: KernelCall) -> Work:
    """Of those."""
    return {
        "functions": 1,
        "window rows": number(call, "window_h"),
        "window columns": number(call, "window_w"),
        "stride": float(number(call, "stride_w") > 1),
        "unpacked": float(number(made, "weight_bits") == 4),
    }


def winograd_work(call: KernelCall, made: KernelCall) -> Work:
    """Of convolutions by minimal filtering, four tiles of 2x2 outputs at a time."""
    tall, wide = (-(-number(made, f"out_{axis}") // 2) for axis in "hw")
    tiles, inputs, outputs = -(-tall * wide // 4), number(made, "in_c"), number(made, "out_c")
    edges = tall * wide - max(tall - 2, 0) * max(wide - 2, 0) if number(made, "padded") else 0
    work = of_tiles(call, Tile(4, 1, 4))
    kind = "clamped" if work["outputs clamped"] else "whole"
    return {
        "calls": 1,
        "tiles": tiles,
        "four inputs": tiles * (inputs // 4),
        "inputs left": tiles * -(-(inputs % 4) // 2),
        "inputs of zeros": tiles * (4 * number(made, "blocks") - -(-inputs // 2)),
        "padded tiles": edges,
        "padded inputs": edges * inputs,
        "sums": tiles * outputs,
        "products": tiles * outputs * number(made, "blocks"),
        **{f"{k}, {kind}": 16.0 * tiles * outputs for k, v in work.items() if k.startswith("outputs Q") and v},
    }


def winograd_code(call: KernelCall, made: KernelCall) -> Work:
    """Of those, whose products are written out."""
    work = winograd_work(call, made)
    kind = {f"any {k}": float(v > 0) for k, v in work.items() if k.startswith(("outputs", "four", "inputs", "padded"))}
    return {"functions": 1, "products": number(made, "blocks"), **kind}
