"""A bundle's folder that somebody else has put files into: nothing outside it is touched, whatever they say."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from export.bundle.folder import probe_export, write_bundle
from export.bundle.folder_replacement import finish_interrupted
from export.options import ExportOptions
from qtorch.errors import Unwritable
from tests.test_bundle_folder import bundle


def test_what_a_manifest_lists_outside_is_not_touched(tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim.txt"
    write_bundle(bundle(), out)
    victim.write_text("mine")
    forged = json.loads((out / "m_manifest.json").read_text())
    for path in ("../victim.txt", str(victim)):
        forged["files"][path] = {"bytes": 4, "sha256": hashlib.sha256(b"mine").hexdigest()}
        (out / "m_manifest.json").write_text(json.dumps(forged))
        write_bundle(bundle(word="new"), out)
        assert victim.read_text() == "mine"


_LIKE_ONE = {"files": ["a"], "stale": [], "had": []}


@pytest.mark.parametrize(
    "plan",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"files": [], "stale": [], "had": []}',
        json.dumps({**_LIKE_ONE, "stale": ["../kept"]}).encode(),
        json.dumps({**_LIKE_ONE, "stale": ["link/kept"]}).encode(),
        json.dumps({**_LIKE_ONE, "had": ["/kept"]}).encode(),
        json.dumps({**_LIKE_ONE, "files": ["a\0b"]}).encode(),
        json.dumps({**_LIKE_ONE, "files": [3]}).encode(),
    ],
)
@pytest.mark.parametrize("state", [".export-committed", ".export-abandoned"])
def test_a_plan_that_no_export_wrote_is_not_followed(tmp_path: Path, plan: bytes, state: str) -> None:
    out = tmp_path / "out"
    (out / state / "new").mkdir(parents=True)
    (tmp_path / "kept").touch()
    (out / "link").symlink_to(tmp_path)
    (out / state / "plan.json").write_bytes(plan)
    for attempt in (lambda: probe_export(out, ExportOptions(), "m"), lambda: write_bundle(bundle(), out)):
        with pytest.raises(Unwritable, match=rf"{state}/plan.json: .*Remedy: remove .*{state}, and export again"):
            attempt()
    assert (tmp_path / "kept").exists()


def test_a_plan_beside_a_link_moves_no_file_of_another_folder(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (out / ".export-committed").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "a").touch()
    (out / ".export-committed" / "new").symlink_to(elsewhere)
    (out / ".export-committed" / "plan.json").write_text(json.dumps(_LIKE_ONE))
    with pytest.raises(Unwritable, match="expected files inside the folder"):
        finish_interrupted(out)
    assert (elsewhere / "a").exists()


def test_a_manifest_removes_nothing_behind_a_link(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    write_bundle(bundle(), out)
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (out / "link").symlink_to(elsewhere)
    manifest = json.loads((out / "m_manifest.json").read_text())
    manifest["files"]["link/kept"] = {}
    (out / "m_manifest.json").write_text(json.dumps(manifest))
    write_bundle(bundle(word="new"), out)
    assert (elsewhere / "kept").exists()
