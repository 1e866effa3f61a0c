"""What was measured of files, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.files.published import published_lines
from benchmarks.files.span import span
from benchmarks.suite import markdown_table

__all__ = ["best", "ratio", "reference_lines", "table_of"]

_MACHINES = {
    "cortex_m0": "Cortex-M0",
    "cortex_m3": "Cortex-M3",
    "cortex_m4": "Cortex-M4",
    "cortex_m7": "Cortex-M7",
    "cortex_m33": "Cortex-M33",
    "cortex_m55": "Cortex-M55",
    "riscv32": "RV32IMAC",
}


def best(builds: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """The build with the fewest instructions; ``None`` if none was counted.

    Example:
        >>> best({"size": {"median": 9}, "speed": {"median": 4}})
        ('speed', {'median': 4})
    """
    counted = [(name, each) for name, each in builds.items() if isinstance(each, Mapping) and "median" in each]
    return min(counted, key=lambda pair: pair[1]["median"]) if counted else None


def ratio(found: Mapping[str, Any], machine: str, build: str | None = None) -> float | None:
    """Plain C's instructions over those of TFLite Micro's optimized kernels; ``None`` where one was not counted.

    Args:
        found: of a file.
        machine: where.
        build: of the plain C; ``None``: the better one.

    Example:
        >>> found = {"machines": {"m": {"size": {"median": 9}}}, "tflm": {"m": {"instructions": 12}}}
        >>> ratio(found, "m"), ratio(found, "m", "speed")
        (0.75, None)
    """
    builds = found.get("machines", {}).get(machine, {})
    plain = (best(builds) or ("", {}))[1] if build is None else builds.get(build, {})
    beside = found.get("tflm", {}).get(machine, {})
    if "median" not in plain or "instructions" not in beside:
        return None
    return float(plain["median"] / beside["instructions"])


def table_of(files: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each file, on Cortex-M4; the slowest beside TFLite Micro first."""
    machine = "cortex_m4"
    rows = []
    for each in sorted(files, key=lambda one: -(ratio(one, machine) or 0)):
        builds = each.get("machines", {}).get(machine, {})
        beside = each.get("tflm", {}).get(machine, {})
        rows.append(
            [
                each["file"],
                each["verdict"],
                f"{each['inputs']:,}" if "inputs" in each else "",
                *(_count(builds.get(build, {}).get("median")) for build in ("size", "balanced", "speed")),
                _count(beside.get("instructions")),
                *(_times(ratio(each, machine, build)) for build in ("size", "balanced", "speed")),
                each.get("why") or beside.get("absent") or _differs(beside) or "; ".join(_absent(each)),
            ]
        )
    sizes = ["size", "balanced", "speed"]
    head = ["file", "verdict", "inputs", *sizes, "CMSIS-NN", *(f"{build} / it" for build in sizes), "why"]
    return markdown_table(head, [[str(cell).replace("|", "\\|") for cell in row] for row in rows])


def _differs(beside: Mapping[str, Any]) -> str:
    return f"TFLite Micro with CMSIS-NN gives others: {beside['differs']}" if "differs" in beside else ""


def _absent(found: Mapping[str, Any]) -> Iterator[str]:
    for machine, builds in found.get("machines", {}).items():
        for build, each in builds.items():
            why = each if build == "absent" else each.get("absent")
            if why:
                yield f"{machine}: {str(why)[:100]}"


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _times(number: float | None) -> str:
    return "" if number is None else f"{number:.2f}"


def reference_lines(found: Mapping[str, Any]) -> list[str]:
    """The table of the reference files, their layers, and where they come from."""
    rows: list[list[object]] = []
    for each in found["files"]:
        for machine, builds in each["machines"].items():
            for build, one in builds.items():
                if build == "absent" or "median" not in one:
                    continue
                beside = each.get("tflm", {}).get(machine, {})
                rows.append(
                    [
                        each["file"],
                        _MACHINES.get(machine, machine) + ("*" if one.get("board") else ""),
                        build,
                        f"{one['median']:,}",
                        f"{one['median'] / each['products']:.2f}",
                        span(one.get("cycles"), 1),
                        span(one.get("cycles"), each["products"]),
                        f"{one['samples']:,}",
                        *(f"{one[key]:,}" for key in ("flash", "ram", "stack")),
                        _count(beside.get("instructions")) + ("†" if "differs" in beside else ""),
                        span(beside.get("cycles"), each["products"]),
                        "; ".join(f"{beside[key]:,}" for key in ("flash", "ram")) if "flash" in beside else "",
                    ]
                )
    head = [
        *("file", "on", "build", "instructions", "per product", "cycles", "cycles per product"),
        *("inputs", "flash", "RAM", "stack"),
        *("TFLite Micro with CMSIS-NN", "its cycles per product", "its flash; RAM"),
    ]
    # Cycles of none, where the machine that measured could not tell instructions apart: columns of nothing.
    kept = [i for i, name in enumerate(head) if "cycles" not in name or any(row[i] for row in rows)]
    lines = markdown_table([head[i] for i in kept], [[row[i] for i in kept] for row in rows])
    return [*lines, "", *_assumed(found), *published_lines(found["files"]), "", *_sources(found), *_layers(found)]


def _assumed(found: Mapping[str, Any]) -> Iterator[str]:
    """What the cycles of each processor take for granted, and where their figures stand."""
    said: dict[str, Mapping[str, Any]] = {}
    for each in found["files"]:
        for builds in each["machines"].values():
            for one in builds.values():
                if isinstance(one, Mapping) and "cycles" in one:
                    said.setdefault(one["cycles"]["core"], one["cycles"])
    for core, cycles in said.items():
        yield f"Cycles of a {core}: {cycles['assumption']} ({cycles['source']})."
        yield ""


def _sources(found: Mapping[str, Any]) -> Iterator[str]:
    for each in found["files"]:
        for machine, beside in each.get("tflm", {}).items():
            if "differs" in beside:
                where = _MACHINES.get(machine, machine)
                yield f"† {each['file']} on {where}: that TFLite Micro computes other codes: {beside['differs']}."
                yield ""
    inputs = sorted({each["inputs"] for each in found["files"]})
    yield (
        f"Compiled for this machine, every output of {' or '.join(f'{n:,}' for n in inputs)} inputs of each file is "
        "TFLite Micro's. \\* More than QEMU's board of a Cortex-M0 holds: the same program on a Cortex-M3."
    )
    yield ""
    yield f"{found['compiler']}; {found['emulator']}. From mlcommons/tiny at {found['commit']}:"
    yield ""
    yield from markdown_table(
        ["file", "products", "bytes", "path", "SHA-256"],
        [
            [each["file"], f"{each['products']:,}", f"{each['bytes']:,}", f"`{each['source']}`", f"`{each['sha256']}`"]
            for each in found["files"]
        ],
    )


def _layers(found: Mapping[str, Any]) -> Iterator[str]:
    """Each layer of a file by itself, on Cortex-M4, summed up by op."""
    for each in found["files"]:
        counted = [layer for layer in each.get("layers", ()) if layer.get("tflm") and "speed" in layer]
        if not counted:
            continue
        parts = []
        for op in dict.fromkeys(layer["op"] for layer in counted):
            same = [layer for layer in counted if layer["op"] == op]
            speed, beside, products = (sum(layer[key] for layer in same) for key in ("speed", "tflm", "products"))
            per = f" ({speed / products:.2f} per product)" if products else ""
            parts.append(f"{op.upper()} {speed:,}{per}, beside {beside:,}")
        yield ""
        yield (
            f"{each['file']} on Cortex-M4 for speed, each layer in a program of its own, summed up by op, beside "
            f"TFLite Micro with CMSIS-NN: {'; '.join(parts)}."
        )
