"""The kernels that suit some processors better than the portable ones, a row each: which calls they take, what they do.

From these rows come the choice of kernels (:mod:`export.c.balance`), the counts that it rests on (``python -m
benchmarks kernels``), the tests and ``docs/kernels.md``. A new kernel is a row here, and counts of it.
"""

from __future__ import annotations

from export.c.targets import avr, cortex_m
from export.c.targets.kernel_row import KernelRow, Portable, Work
from export.c.targets.work import Tile, inside, number, of_depthwise, of_tiles
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
    written = work["outputs clamped"] == 0 and made.kernel == "conv_2d_pairs_s8"
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


#: By name; those in whose place others may stand.
PORTABLE = {
    each.kernel: each
    for each in (
        Portable("fully_connected_s8", _dense_work, _flat_code),
        Portable("pointwise_s8", _dense_work, _flat_code),
        Portable("conv_2d_s8", _dense_work, _flat_code),
        Portable("depthwise_conv_2d_s8", of_depthwise, _depthwise_code),
    )
}

_AVR = frozenset({"avr"})
_LONG_MULTIPLY = frozenset({"cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"})

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
            always=True,
        )
        for replaced, kernel in avr.PANELS.items()
    ),
    KernelRow(
        kernel="fully_connected_immediates_avr",
        cpus=_AVR,
        replaces=frozenset({"fully_connected_s8"}),
        make=avr.as_immediates,
        shape="short requantization proven, at most 24 KiB of code",
        work=avr.immediates_work,
        code=avr.immediates_code,
    ),
    KernelRow(
        kernel="conv_2d_pairs_s8",
        cpus=_LONG_MULTIPLY,
        replaces=frozenset({"pointwise_s8", "conv_2d_s8"}),
        make=cortex_m.paired_pixels,
        shape="three pixels at least, no dilation, one group",
        work=_pairs_work,
        code=_pairs_code,
    ),
    KernelRow(
        kernel="depthwise_conv_2d_pairs_s8",
        cpus=_LONG_MULTIPLY | {"cortex-m55", "cortex-m85"},
        replaces=frozenset({"depthwise_conv_2d_s8"}),
        make=cortex_m.paired_channels,
        shape="two channels at least, each multiplied once, no dilation; sums of two fields of less than 2^20",
        work=_depthwise_pairs_work,
        code=_depthwise_pairs_code,
    ),
)  # fmt: skip
