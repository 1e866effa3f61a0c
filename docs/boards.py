"""Tables of boards, of their records: for docs/add_a_board.md, and for firmware/tflm/README.md by project."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from export.boards import BOARDS, Arduino, Board, CMake, EspIdf, MakersSdk, PlatformIO, Supply, Zephyr, machine_of
from export.boards.record import KIB, MIB
from export.device.pins import pin_words

__all__ = ["PAGES", "with_board_tables"]

ROOT = Path(__file__).parents[1]

#: Pages that have such tables.
PAGES = (ROOT / "docs/add_a_board.md", ROOT / "firmware/tflm/README.md")

_TABLE = re.compile(r"<!-- (?P<which>boards|projects of boards) -->\n.*?<!-- end of boards -->", re.DOTALL)

#: What a project is, and whom its TFLite Micro comes from, by the ecosystem's kind.
_PROJECTS: Mapping[type[object], tuple[str, str]] = {
    CMake: ("CMake; of a Cortex-M, `ctest` runs QEMU", "`-DTFLM_ROOT`, of commit"),
    Arduino: ("Arduino library with an example sketch", "Library Manager:"),
    PlatformIO: ("PlatformIO, Arduino framework", "`lib_deps`:"),
    EspIdf: ("ESP-IDF", "component manager:"),
    Zephyr: ("Zephyr", "west: module"),
    MakersSdk: ("sources for the maker's SDK", "the SDK itself:"),
}


def with_board_tables(text: str) -> str:
    """A page with every table between ``<!-- boards -->`` or ``<!-- projects of boards -->`` and the end made anew."""
    made: dict[str, Callable[[], list[str]]] = {"boards": _boards, "projects of boards": _projects}
    return _TABLE.sub(
        lambda found: "\n".join([f"<!-- {found['which']} -->", *made[found["which"]](), "<!-- end of boards -->"]), text
    )


def _boards() -> list[str]:
    rows = [
        "| name | board | processor | MHz | flash | RAM | beside it | project | counted on | current |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for board in BOARDS.values():
        if board.clock_hz is None or board.flash is None or board.ram is None:
            continue
        machine = machine_of(board)
        current = board.supply
        cells = (
            *(f"`{board.name}`", board.description, board.cpu, f"{board.clock_hz / 1e6:g}"),
            *(_bytes(board.flash), _bytes(board.ram), _second(board), type(board.ecosystem).__name__),
            "nothing" if machine is None else f"`{machine.name}`",
            f"{current.milliamps:g} mA at {(current.clock_hz or board.clock_hz) / 1e6:g} MHz"
            if isinstance(current, Supply)
            else "unknown",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _second(board: Board) -> str:
    """The memory beside a board's RAM."""
    if board.second is None:
        return ""
    return f"{board.second.name}, {_bytes(board.second.bytes)}, {'faster' if board.second.faster else 'slower'}"


def _bytes(size: int) -> str:
    """In the largest unit that leaves at most two digits behind the point."""
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if size >= unit and round(size / unit, 2) * unit == size:
            return f"{size / unit:g} {name}"
    return f"{size:,} B"


def _projects() -> list[str]:
    rows = ["| `--export.target` | project | TFLite Micro from |", "|---|---|---|"]
    for kind, (project, whom) in _PROJECTS.items():
        boards = [each for each in BOARDS.values() if isinstance(each.ecosystem, kind) and each.tflm]
        for packages in dict.fromkeys(_packages(each) for each in boards):
            names = ", ".join(f"`{each.name}`" for each in boards if _packages(each) == packages)
            rows.append(f"| {names} | {project} | {whom} {packages} |")
    return rows


def _packages(board: Board) -> str:
    words = pin_words(board)
    beside = [f"{words['beside_package']} {words['beside_version']}"] if "beside_package" in words else []
    package = "" if isinstance(board.ecosystem, CMake) else f"{words['tflm_package']} "
    return " with ".join([f"{package}{words['tflm_version']}", *beside])
