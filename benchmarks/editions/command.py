"""``python -m benchmarks editions``: which TFLite Micro computes an export's files exactly.

Packages of its whole history are installed each in a folder of its own; a program that is ours and small runs every
model in each (:mod:`benchmarks.editions.runner`). ``--tree``, or TFLM_ROOT, names a C++ source tree instead, of which a
program for this machine is built. ``--edition`` runs networks that are exported for that edition, in its tree or in its
Python package.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.editions import packages
from benchmarks.editions.cases import Case, samples, write_cases
from benchmarks.editions.drawn import drawn_cases
from benchmarks.editions.exported import Network, every_network, proven
from benchmarks.editions.judged import Outcome, judged, tallied
from benchmarks.editions.networks import mlperf_cases, recipe_cases
from benchmarks.editions.table import edition_tables, kept
from benchmarks.editions.tree import Tree, built
from benchmarks.environments import NotInstalled
from benchmarks.results import RESULTS, load, save, write_tables
from benchmarks.suite import Suite
from export.boards import BOARDS
from qtorch.editions.edition import Edition
from qtorch.editions.known import edition
from qtorch.errors import BadConfiguration, ParityError

__all__ = ["EDITIONS", "main", "measured", "tried", "with_exports"]

_NETWORKS = 300
_PYTHON = "0.dev"
_RUNNER = (sys.executable, "-s", str(Path(__file__).with_name("runner.py")))
_SOURCES: dict[str, Callable[[], Iterator[Case]]] = {
    "rows' samples": samples,
    "recipes and their ops": recipe_cases,
    "MLPerf Tiny and its ops": mlperf_cases,
}


def _cases(folder: Path, networks: int, only: Sequence[str] = ()) -> dict[str, Any]:
    """Models made and written; how many of each form, and from where."""
    made: Counter[str] = Counter()
    sources = {**_SOURCES, "networks drawn at random, cut into their ops": lambda: drawn_cases(networks)}

    def every() -> Iterator[tuple[str, Case]]:
        for source, cases in sources.items():
            if not only or source in only:
                for case in cases():
                    yield source, case

    forms: Counter[str] = Counter()
    for source, case in write_cases(every(), folder):
        made[source] += 1
        forms[case.form] += 1
    return {"models": dict(sorted(forms.items())), "sources": dict(made)}


def tried(command: Sequence[str], cases: Path, out: Path, paths: Sequence[Path] = ()) -> dict[str, Any]:
    """What an edition computes otherwise: ``{"forms": ...}``, or ``{"failed": why}`` if its runner doesn't start.

    Args:
        command: the runner, to which the folders of cases and of outputs are appended.
        cases: what to run.
        out: where its outputs go; emptied before.
        paths: that its Python imports from first.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        [*command, str(cases), str(out)], env=environment, capture_output=True, text=True, check=False
    )
    if not (out / "said.jsonl").exists():
        words = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        return {"failed": words[-1][:300]}
    return {"forms": kept(tallied(judged(cases, out)))}


def _of_packages(folder: Path, cases: Path, versions: Sequence[str]) -> list[dict[str, Any]]:
    """Each package's outcome; the one that is installed here last."""
    here, beside = packages.pinned()
    found = []
    for version in [*(v for v in versions if v != here), here]:
        edition: dict[str, Any] = {"name": packages.day(version), "version": f"0.dev{version}"}
        try:
            package = beside if version == here else packages.installed(version, folder)
            paths = [] if version == here else [packages.numpy_1(folder)]
        except NotInstalled as error:
            found.append({**edition, "failed": str(error)})
        else:
            started = time.perf_counter()
            found.append({**edition, **tried([*_RUNNER, str(package)], cases, cases.parent / "out" / version, paths)})
            print(f"{edition['name']}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    wrong = found[-1].get("failed") or ", ".join(found[-1]["forms"])
    if wrong:
        raise ParityError(f"tflite-micro {found[-1]['version']}, which is installed here: expected every code, {wrong}")
    return found


def measured(
    folder: Path = packages.FOLDER, versions: Sequence[str] = packages.VERSIONS, networks: int = _NETWORKS
) -> dict[str, Any]:
    """Make the models, run them in every package."""
    work = packages.FOLDER
    counts = _cases(work / "cases", networks)
    return {**counts, "editions": _of_packages(folder, work / "cases", versions), **_before()}


def _before() -> dict[str, Any]:
    """What was found of C++ trees before: they are measured one at a time."""
    found = load(EDITIONS) if (RESULTS / f"{EDITIONS.name}.json").exists() else {}
    return {each: found.get(each, []) for each in ("trees", "exports")}


def _with_tree(tree: Tree) -> dict[str, Any]:
    """The results with this tree's in them, on the models of the last run."""
    cases = packages.FOLDER / "cases"
    if not cases.exists():
        raise BadConfiguration(
            where="--tree", expected="the models of a run of packages", got=f"no {cases}",
            remedy="run python -m benchmarks editions first",
        )  # fmt: skip
    found = load(EDITIONS)
    outcome = {"name": tree.name, **tree.facts(), **tried([str(built(tree))], cases, cases.parent / "out" / "tree")}
    rest = [each for each in found.get("trees", []) if each["name"] != tree.name]
    return {**found, "trees": sorted([*rest, outcome], key=lambda each: str(each["name"]))}


@dataclass(frozen=True)
class Built:
    """A TFLite Micro that runs here.

    Attributes:
        name: in tables.
        kernels: as of trees.
        command: its runner, without the folders.
        paths: that its Python imports from first.
    """

    name: str
    kernels: str
    command: tuple[str, ...]
    paths: tuple[Path, ...] = ()


def _of_tree(tree: Tree) -> Built:
    return Built(tree.name, tree.kernels, (str(built(tree)),))


def _package(wanted: Edition, folder: Path) -> Built:
    """The Python package that an edition is.

    Raises:
        BadConfiguration: it is none.
    """
    if not wanted.version.startswith(_PYTHON):
        raise BadConfiguration(
            where="--edition", expected="the sources of an edition that is no Python package", got=wanted.name,
            remedy="name them with --tree",
        )  # fmt: skip
    version, (here, beside) = wanted.version.removeprefix(_PYTHON), packages.pinned()
    package = beside if version == here else packages.installed(version, folder)
    paths = () if version == here else (packages.numpy_1(folder),)
    return Built(f"Python package of {packages.day(version)}", "reference", (*_RUNNER, str(package)), paths)


def with_exports(
    found: Mapping[str, Any], program: Built, wanted: Edition, cpu: str, networks: Sequence[Network]
) -> dict[str, Any]:
    """Results with those of networks in them that are exported for an edition.

    Args:
        found: the results so far.
        program: that edition.
        wanted: the edition.
        cpu: as boards name processors: whose forms an export takes.
        networks: to export.
    """
    work = packages.FOLDER / "exported"

    def run(cases: Path) -> list[Outcome]:
        out = work / "out"
        outcome = tried(program.command, cases, out, program.paths)
        if "failed" in outcome:
            raise NotInstalled(outcome["failed"])
        return judged(cases, out)

    outcome = proven(networks, wanted, cpu, work, run)
    rest = [each for each in found.get("exports", []) if each["name"] != program.name]
    rows = [*rest, {"name": program.name, "kernels": program.kernels, **outcome}]
    return {**found, "exports": sorted(rows, key=lambda each: str(each["name"]))}


def main(arguments: Sequence[str]) -> None:
    """Measure packages, or one tree; write the results and the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks editions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packages", type=Path, default=packages.FOLDER, help="where they are; else build/editions")
    parser.add_argument("--networks", type=int, default=_NETWORKS, help="that are drawn at random")
    parser.add_argument("--tree", type=Path, default=os.environ.get("TFLM_ROOT"), help="C++ sources; else TFLM_ROOT")
    parser.add_argument("--name", default="", help="of that tree in the table; else its folder's")
    parser.add_argument("--kernels", choices=("reference", "cmsis_nn", "esp_nn"), default="reference", help="of a tree")
    parser.add_argument("--library", type=Path, help="the kernel library's source tree, where the tree lacks it")
    parser.add_argument(
        "--own", nargs="*", default=[], help="kernels that the tree's build takes of TFLite Micro's own"
    )
    parser.add_argument("--edition", help="run networks that are exported for this edition, in its tree or package")
    parser.add_argument("--board", default="host", choices=sorted(BOARDS), help="whose processor they are exported for")
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    try:
        root = given.tree and Path(given.tree).resolve()
        library, own = given.library and given.library.resolve(), tuple(given.own)
        tree = root and Tree(given.name or root.name, root, given.kernels, library, own)
        if given.edition:
            wanted = edition(given.edition, "--edition")
            program = _of_tree(tree) if tree else _package(wanted, given.packages.resolve())
            networks = list(every_network(given.networks))
            found = with_exports(load(EDITIONS), program, wanted, BOARDS[given.board].cpu, networks)
        elif tree:
            found = _with_tree(tree)
        else:
            found = measured(given.packages.resolve(), networks=given.networks)
    except (BadConfiguration, NotInstalled) as error:
        sys.exit(str(error))
    save(EDITIONS, found)
    print(*edition_tables(found), sep="\n")
    write_tables([EDITIONS])


EDITIONS = Suite("editions", __doc__.partition("\n")[0].partition(": ")[2], measured, edition_tables)
