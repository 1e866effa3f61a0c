"""The house in figures: lines of Python by package and room, who imports whom, circles, against a budget.

``python -m docs.house`` prints them, and fails where a file is too long, a package beyond its lines, a file in no known
room, or an import closes a circle. Budgets are data, in ``[tool.house]`` of pyproject.toml, to be raised on purpose.
The rooms of a package are those that its import contract names.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

__all__ = ["House", "circles", "floors", "house", "main"]

ROOT = Path(__file__).parents[1]

#: Imports that the message about a circle names.
_SHOWN = 12


@dataclass(frozen=True)
class House:
    """What stands where, and who imports whom.

    Attributes:
        lines: of each file, by its path.
        budgets: lines that each package may have.
        longest: lines that a file may have.
        rooms: of each package, and of each room, whose import contract names them.
        imports: by a pair of modules, importer first and both by dotted name, the file and line where the import stands
            first. Imports for types alone are not run, and no pairs.
        exceptions: files that may be longer, each with its reason.
    """

    lines: Mapping[str, int]
    budgets: Mapping[str, int]
    longest: int
    rooms: Mapping[str, frozenset[str]]
    imports: Mapping[tuple[str, str], str]
    exceptions: Mapping[str, str]

    def arrows(self, package: str) -> frozenset[tuple[str, str]]:
        """Pairs of rooms of a package of which the first imports the second."""
        inside = [pair for pair in self.imports if all(name.startswith(f"{package}.") for name in pair)]
        pairs = {(room_of(importer), room_of(imported)) for importer, imported in inside}
        return frozenset(pair for pair in pairs if pair[0] != pair[1])

    def faults(self) -> list[str]:
        """What is against the rules, a sentence each."""
        faults = [
            f"{path}: expected at most {self.longest} lines, got {count}. Remedy: make it two, by what they are about"
            for path, count in self.lines.items()
            if count > self.longest and path not in self.exceptions
        ]
        faults += [
            f"{path}: expected more than {self.longest} lines of a file with an exception in pyproject.toml, got "
            f"{self.lines.get(path, 0)}. Remedy: take the exception out"
            for path in self.exceptions
            if self.lines.get(path, 0) <= self.longest
        ]
        for package, count in self._by_package().items():
            budget = self.budgets.get(package)
            if budget is None:
                faults.append(
                    f"{package}: expected a package with a budget in [tool.house.lines] of pyproject.toml, got none. "
                    "Remedy: move the file into one of the packages, or give this one a budget"
                )
            elif count > budget:
                faults.append(
                    f"{package}: expected at most {budget:,} lines, got {count:,}. Remedy: write less, or raise the "
                    "budget in pyproject.toml on purpose"
                )
        return faults + self._strays() + self._circles()

    def _strays(self) -> list[str]:
        return [
            f"{path}: expected a room that the import contract of {container} names, got "
            f"{room_of(module_of(path), container)!r}. Remedy: put the file into one of {container}'s rooms, or write "
            "the new one into `layers` of that contract in pyproject.toml, then run `python -m docs`, which makes the "
            "tables of docs/architecture.md"
            for path in self.lines
            for container, rooms in self.rooms.items()
            if module_of(path).startswith(f"{container}.") and room_of(module_of(path), container) not in rooms
        ]

    def _circles(self) -> list[str]:
        faults = []
        for package in self.budgets:
            for circle in circles(self.arrows(package)):
                between = {
                    (one, other): place
                    for (one, other), place in self.imports.items()
                    if one.startswith(f"{package}.") and other.startswith(f"{package}.")
                    if room_of(one) != room_of(other) and {room_of(one), room_of(other)} <= {*circle}
                }
                faults.append(f"{package}: expected rooms that import one way, got a {_circle(circle, between)}")
        for circle in circles(frozenset(self.imports)):
            between = {pair: place for pair, place in self.imports.items() if {*pair} <= {*circle}}
            faults.append(f"expected files that import one way, got a {_circle(circle, between)}")
        return faults

    def report(self) -> str:
        """A line a package and a room, the longest files, and the sum."""
        by_package = self._by_package()
        parts = [f"{'lines of Python':<28}{'':>8}  of budget"]
        for package, count in by_package.items():
            arrows = self.arrows(package)
            rooms: Counter[str] = Counter()
            for path, lines in self.lines.items():
                if Path(path).parts[0] == package:
                    rooms[room_of(module_of(path))] += lines
            named = set(rooms) - {"__init__"}
            parts.append(
                f"{package:<28}{count:>8,}  {self.budgets.get(package, 0):>9,}  "
                f"rooms {len(named)}, arrows {len(arrows)}, circles {len(circles(arrows))}"
            )
            if package in self.rooms:
                parts += [f"  {room:<26}{rooms[room]:>8,}" for room in sorted(named)]
        total = sum(self.lines.values())
        parts.append(f"{'together':<28}{total:>8,}  {sum(self.budgets.values()):>9,}")
        longest = sorted(self.lines.items(), key=lambda each: -each[1])[:5]
        parts.append(f"longest, of {self.longest} allowed: " + ", ".join(f"{path} {count}" for path, count in longest))
        parts.append(f"circles of files: {len(circles(frozenset(self.imports)))}")
        return "\n".join(parts)

    def _by_package(self) -> dict[str, int]:
        by_package: Counter[str] = Counter()
        for path, count in self.lines.items():
            by_package[Path(path).parts[0]] += count
        return by_package


def house(root: Path = ROOT) -> House:
    """The house below ``root``, which has a pyproject.toml and packages of Python."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    files = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sorted(_files(root))}
    modules = {module_of(path): path for path in files}
    return House(
        lines={path: text.count("\n") for path, text in files.items()},
        budgets=settings["house"]["lines"],
        longest=settings["house"]["longest_file"],
        rooms={
            package: frozenset(room for floor in order for room in floor) for package, order in floors(root).items()
        },
        imports=_imports(files, modules),
        exceptions=settings["house"].get("longer", {}),
    )


def floors(root: Path = ROOT) -> dict[str, list[tuple[str, ...]]]:
    """By package, or room with a contract of its own, what stands in it, from what imports all else down."""
    settings: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    return {
        contract["containers"][0]: [tuple(name.strip() for name in floor.split("|")) for floor in contract["layers"]]
        for contract in settings["importlinter"]["contracts"]
        if "containers" in contract
    }


def circles(arrows: frozenset[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Groups of names that lead to each other, each in the order of the alphabet."""
    following: dict[str, set[str]] = {}
    for one, other in arrows:
        following.setdefault(one, set()).add(other)
    reached = {name: _reached(name, following) for name in following}
    groups = {
        tuple(sorted(other for other in reached[name] if name in reached.get(other, ())))
        for name in following
        if name in reached[name]
    }
    return sorted(groups)


def _reached(name: str, following: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        new = following.get(waiting.pop(), set()) - reached
        reached |= new
        waiting += new
    return reached


def room_of(module: str, container: str = "") -> str:
    """The folder or file below its package, or below another container, in which a module stands."""
    parts = module.split(".")[container.count(".") :]
    return parts[1] if len(parts) > 1 else "__init__"


def module_of(path: str) -> str:
    """The dotted name of a file."""
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def _files(root: Path) -> Iterator[Path]:
    """Every file of Python in a package or beside one; what was built or installed there is not the project's."""
    yield from root.glob("*.py")
    for folder in root.iterdir():
        if (folder / "__init__.py").is_file() and not folder.name.startswith("."):
            yield from folder.rglob("*.py")


def _circle(circle: tuple[str, ...], between: Mapping[tuple[str, str], str]) -> str:
    """A circle with the imports that close it: first those between rooms or files that have the fewest."""
    count = Counter((room_of(one), room_of(other)) for one, other in between)
    ordered = sorted(between.items(), key=lambda each: (count[room_of(each[0][0]), room_of(each[0][1])], each[1]))
    arrows = [f"{place} -> {imported}" for (_, imported), place in ordered[:_SHOWN]]
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return (
        f"circle of {', '.join(circle)}: {', '.join(arrows)}{more}. Remedy: move what both need into one that stands "
        "below them, or hand it in as an argument"
    )


def _imports(files: Mapping[str, str], modules: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """See :attr:`House.imports`; ``files`` are texts by path, ``modules`` paths by dotted name."""
    imports: dict[tuple[str, str], str] = {}
    for module, path in modules.items():
        # What a relative import begins from: the folder that the file stands in.
        folder = module if path.endswith("/__init__.py") else module.rpartition(".")[0]
        for name, line in sorted(_imported(files[path], folder, modules), key=lambda each: each[1]):
            if name != module:
                imports.setdefault((module, name), f"{path}:{line}")
    return imports


def _imported(text: str, folder: str, modules: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """The modules that a file names in its imports, wherever they stand, but for types alone, each with its line."""
    waiting: list[ast.AST] = [ast.parse(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # One dot is the folder itself, each further one the folder around it.
            above = folder.split(".")[: folder.count(".") + 2 - node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            inside = [f"{origin}.{alias.name}" for alias in node.names]
            names = [name if name in modules else origin for name in inside]
        else:
            continue
        yield from ((name, node.lineno) for name in names if name in modules)


def main() -> int:
    """Print the figures and what is against the rules; 1 if anything is."""
    ours = house()
    print(ours.report())
    faults = ours.faults()
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
