"""``python -m benchmarks zoo``: networks that nobody here wrote, and ``docs/coverage.md`` of what comes of them."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.environments import ROOT, NotInstalled
from benchmarks.zoo.networks import LIST, Listed, listed
from benchmarks.zoo.packages import FOLDER, SUBSET, WHOLE, importable, install
from benchmarks.zoo.page import page
from benchmarks.zoo.runs import Limits, result_file, run
from benchmarks.zoo.tools import TOOLS
from export.optional_packages import missing, remedy

__all__ = ["main"]

_COVERAGE = ROOT / "docs" / "coverage.md"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks zoo", description=__doc__)
    parser.add_argument("--only", metavar="WORD", default="", help="networks with this in corpus/name")
    parser.add_argument("--subset", action="store_true", help="the small ones that a test runs")
    parser.add_argument("--again", action="store_true", help="those too of which there is a result")
    parser.add_argument(
        "--tool", nargs="+", choices=TOOLS, default=list(TOOLS), help="what they go through; all if not given"
    )
    parser.add_argument("--install", action="store_true", help="install the packages that these networks need, and end")
    parser.add_argument(
        "--list", type=Path, default=LIST, help="networks of your own, in a file like benchmarks/zoo/networks.toml"
    )
    parser.add_argument(
        "--packages", type=Path, default=FOLDER / "lib", help="where networks are imported from; build/zoo/lib"
    )
    parser.add_argument("--results", type=Path, default=FOLDER / "results", help="build/zoo/results if not given")
    parser.add_argument("--page", type=Path, help="where to write the page; docs/coverage.md if all networks are run")
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="of processor time for a network")
    parser.add_argument("--gigabytes", type=float, default=Limits.gigabytes, help="of address space for a network")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Install what is absent, run what has no result yet, write the page."""
    given = _options(arguments)
    networks, subset = listed(given.list)
    chosen = [each for each in networks if given.only in each.called and (each.called in subset or not given.subset)]
    if not chosen:
        raise SystemExit(
            f"{given.list.name}: expected a network with {given.only!r} in its name, got none of {len(networks)}"
        )
    if given.list == LIST:
        try:
            install(SUBSET if given.subset else WHOLE, given.packages)
        except NotInstalled as error:
            raise SystemExit(str(error)) from None
    if given.install:
        return
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    importable(given.packages)
    limits = Limits(given.seconds, given.gigabytes)
    results = {tool: _run(tool, chosen, given, limits) for tool in given.tool}
    whole = given.list == LIST and not given.only and not given.subset and "qtorch" in results
    target = given.page or (_COVERAGE if whole else None)
    if target:
        target.write_text(page(results["qtorch"], results.get("litert", {}), *vars(limits).values()), encoding="utf-8")
        print(f"{target} is written")


def _run(tool: str, chosen: Sequence[Listed], given: argparse.Namespace, limits: Limits) -> dict[str, Any]:
    """Results by network; those that are kept are read."""
    lacking = missing("litert_torch", "ai_edge_quantizer") if tool == "litert" else ()
    if lacking:
        print(f"litert is left out: {', '.join(lacking)} not installed; {remedy(lacking[0])}", file=sys.stderr)
        return {}
    found: dict[str, Any] = {}
    for number, network in enumerate(chosen, 1):
        file = result_file(given.results, tool, network.called)
        if file.exists() and not given.again:
            found[network.called] = json.loads(file.read_text(encoding="utf-8"))
            continue
        # Imported once, for all of the corpus's processes; one that can't be is unbuilt, by their own account.
        with contextlib.suppress(Exception):
            import_module(network.module)
        found[network.called] = its = run(network, tool, given.results, limits)
        what = f"{its.get('got', '')} {its.get('where', '')}" if its["verdict"] not in ("exact", "runs") else ""
        print(f"{tool} {number}/{len(chosen)} {network.called}: {its['verdict']} {what}"[:200], flush=True)
    return found
