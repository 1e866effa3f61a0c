"""Networks that nobody here wrote: twenty of the list, and that the list is run, judged and written down as it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.zoo import command
from benchmarks.zoo.networks import Listed, listed
from benchmarks.zoo.packages import FOLDER, SUBSET, absent
from benchmarks.zoo.page import page
from benchmarks.zoo.runs import Limits

ROOT = Path(__file__).parents[1]
_LIST = """
[tiny]
call = "tiny_corpus:{name}"
[tiny.at]
2x8x8 = "Circular Large Leaving Slow"
[tiny.own]
Exact = { shape = "2x8x8", arguments = [4] }
Refused = { shape = "5x6", gives = "sums" }
"""
#: Those that run on plain tensors, as they are built, and do something else when they are captured.
_CORPUS = """
import sys
import torch
from torch import nn

class Exact(nn.Sequential):
    def __init__(self, channels):
        norm = nn.BatchNorm2d(channels)
        super().__init__(nn.Conv2d(2, channels, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(36 * channels, 3))

class Refused(nn.Module):
    def forward(self, x):
        return {"sums": x.argsort(1).float(), "other": x}

class Leaving(nn.Module):
    def forward(self, x):
        if type(x) is not torch.Tensor:
            sys.exit("this is no tensor")
        return x + 1

class Slow(nn.Module):
    def forward(self, x):
        while type(x) is not torch.Tensor:
            pass
        return x + 1

class Large(nn.Module):
    def forward(self, x):
        if type(x) is not torch.Tensor:
            bytearray(2**40)
        return x + 1

class Circular(nn.Module):
    def forward(self, x):
        if type(x) is not torch.Tensor:
            first, second = ValueError("one"), ValueError("other")
            first.__cause__, second.__cause__ = second, first
            raise first
        return x + 1
"""


def zoo(*arguments: object) -> None:
    """The command, through qtorch alone, in a process that has nothing else in it."""
    program = "import sys; from benchmarks.zoo.command import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "--tool", "qtorch", *map(str, arguments)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def result(folder: Path, network: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "qtorch" / f"{network.replace('/', '__')}.json").read_text())
    return found


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a made-up corpus, its list, its results and its page."""
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "tiny_corpus.py").write_text(_CORPUS)
    (folder / "list.toml").write_text(_LIST)
    places = ["--list", folder / "list.toml", "--packages", folder, "--results", folder / "results"]
    # The others have the usual time, however busy the machine is; what is kept of this one is not run again.
    zoo(*places, "--only", "Slow", "--seconds", 1)
    zoo(*places, "--page", folder / "page.md")
    return folder


@pytest.mark.tflm
def test_each_network_gets_its_verdict(tiny: Path) -> None:
    names = ("Exact", "Refused", "Leaving", "Slow", "Large", "Circular")
    found = {name: result(tiny / "results", f"tiny/{name}") for name in names}
    verdicts = [found[name]["verdict"] for name in names]
    assert verdicts == ["exact", "refused", "failed", "too long", "too big", "refused"]
    assert {"tflm", "qat_network"} <= set(found["Exact"]["judges"])
    assert found["Exact"]["bytes"] > 1000
    assert 0 < found["Exact"]["error"] < 0.05
    assert {"prepare", "calibrate", "export"} <= set(found["Exact"]["seconds"])
    assert found["Refused"]["got"] == "argsort"
    assert found["Refused"]["remedy"]
    assert found["Leaving"]["got"] == "SystemExit: this is no tensor"
    assert found["Leaving"]["where"] == 'tiny_corpus.py:18: sys.exit("this is no tensor")'
    assert {found[name]["stage"] for name in names[1:]} == {"prepare"}


@pytest.mark.tflm
def test_the_page_says_what_was_found(tiny: Path) -> None:
    written = (tiny / "page.md").read_text()
    assert "**1 of 6 are exact**" in written
    assert "| tiny | 6 | 1 | 2 | 1 |  | 1 | 1 |  |" in written
    assert "| 1 | prepare | `argsort` |" in written
    assert (
        "| tiny/Leaving | failed | prepare | `SystemExit: this is no tensor` | `tiny_corpus.py:18: sys.exit" in written
    )
    assert f"| tiny/Exact | exact | {result(tiny / 'results', 'tiny/Exact')['bytes']:,} | 0 |" in written


def test_results_are_kept_until_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(tool: str, corpus: list[Listed], results: Path, limits: Limits) -> None:
        for network in corpus:
            (tmp_path / "qtorch" / f"tiny__{network.name}.json").write_text('{"verdict": "exact", "bytes": 1234}')

    monkeypatch.setattr(command, "_run", noted)
    monkeypatch.setattr(command, "importable", lambda folder: None)
    (tmp_path / "list.toml").write_text('[tiny]\ncall = "json:{name}"\n[tiny.at]\n2x8x8 = "loads dumps"\n')
    (tmp_path / "qtorch").mkdir()
    (tmp_path / "qtorch" / "tiny__loads.json").write_text('{"verdict": "exact", "bytes": 5678}')
    options = ["--list", f"{tmp_path / 'list.toml'}", "--results", f"{tmp_path}", "--tool", "qtorch"]
    page_file = tmp_path / "page.md"
    command.main([*options, "--page", f"{page_file}"])
    assert "| tiny/loads | exact | 5,678 |" in page_file.read_text()
    assert "| tiny/dumps | exact | 1,234 |" in page_file.read_text()
    page_file.unlink()
    command.main([*options, "--only", "loads", "--again"])
    assert result(tmp_path, "tiny/loads")["bytes"] == 1234
    assert not page_file.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "load_all"], "networks.toml: expected a network with 'load_all' in its name, got none"),
        (["--list", "nowhere.toml"], "--list nowhere.toml: expected a list of networks, got "),
        (["--list", "README.md"], "--list README.md: expected a list of networks, got "),
    ],
)
def test_what_is_no_network_is_refused(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(options)
    assert said in capsys.readouterr().err


def test_refusals_that_differ_in_numbers_are_one_reason() -> None:
    def refused(got: str) -> dict[str, Any]:
        return {"verdict": "refused", "stage": "prepare", "where": "", "got": got, "expected": "b|c", "remedy": "d"}

    peer = {"verdict": "not in TFLM", "stage": "TFLM", "bytes": 1234, "transposes": 7, "error": 0.5}
    lines = page(
        {"a/one": refused("axis 3"), "a/two": refused("axis 12"), "b/three": refused("no axis")}, {"a/one": peer}, 1, 1
    ).split("\n")
    assert "| 2 | prepare | `axis N` | `b\\|c` | `d` | a/one, a/two |" in lines
    assert "| 1 | prepare | `no axis` | `b\\|c` | `d` | b/three |" in lines
    assert any(
        line.startswith("| a/one | refused, prepare |") and line.endswith("| 1,234 | 7 | 0.5 |") for line in lines
    )
    assert "## What fails" not in lines


def test_requirements_are_absent_until_they_lie_there(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("made_up==1.0\n")
    (tmp_path / "all.txt").write_text("-r few.txt\nother-one==2.0\n")
    assert absent(tmp_path / "all.txt", tmp_path) == ["made_up==1.0", "other-one==2.0"]
    for name in ("Made.Up-1.0", "other_one-2.1"):
        folder = tmp_path / f"{name}.dist-info"
        folder.mkdir()
        called, version = name.split("-")
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {called}\nVersion: {version}\n")
    assert absent(tmp_path / "all.txt", tmp_path) == ["other-one==2.0"]


def test_the_list_names_every_network_once_and_how_it_is_built() -> None:
    networks, subset = listed()
    names = [each.called for each in networks]
    assert len(names) == len(set(names)) == 148
    assert len(subset) == 20
    assert set(subset) <= set(names)
    assert set(subset.values()) <= {"exact", "refused"}
    for each in networks:
        assert each.module, each.called
        assert all(int(side) for side in each.how["shape"].split("x")), each.called
    by_name = {each.called: each.how for each in networks}
    assert by_name["timm/pit_ti_224"]["keywords"] == {"num_classes": 10, "pretrained": False, "img_size": 96}
    assert "num_classes" not in by_name["torchvision/detection_backbone_mobilenet_v3_small"]["keywords"]


@pytest.mark.sweep
@pytest.mark.tflm
def test_twenty_networks_are_exact_or_refused(tmp_path: Path) -> None:
    """Each is what the list says of it: change the word there where a network has become exact."""
    lacking = absent(SUBSET)
    if lacking:
        pytest.skip(f"{FOLDER / 'lib'} lacks {', '.join(lacking)}; python -m benchmarks zoo --subset --install")
    command = [sys.executable, "-m", "benchmarks", "zoo", "--subset", "--tool", "qtorch", "--results", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    _, expected = listed()
    found = {name: result(tmp_path, name) for name in expected}
    assert {name: its["verdict"] for name, its in found.items()} == expected
    for name, its in found.items():
        assert its["verdict"] == "exact" or (its["remedy"] and its["stage"] == "prepare"), name
