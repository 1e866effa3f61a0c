"""A bundle's folder: on any file system, whole after any kill, of one bundle, and as its manifest says."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from export.__main__ import main as export_main
from export.bundle.bundle import Bundle
from export.bundle.folder import probe_export, write_bundle
from export.bundle.manifest import manifests_in
from export.bundle.outcome_page import written_page
from export.console.page import plain_text
from export.options import ExportOptions
from qtorch.errors import Unwritable
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpointing.resume import ResumePoint
from tests.conftest import run_fuel
from tests.small_task import SmallData, SmallModule, small_trainer


def bundle(name: str = "m", word: str = "", *more: str, firmware: dict[str, bytes] | None = None) -> Bundle:
    files = [f"{name}.tflite", f"{name}.ckpt", "metrics.json", "report.html", *more]
    return Bundle(name, {file: f"{file} {word}".encode() for file in files}, {}, None, 0, firmware or {})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def require_whole(folder: Path, name: str = "m") -> None:
    """By the manifest's own text and the standard library."""
    listed = json.loads((folder / f"{name}_manifest.json").read_text())["files"]
    assert listed
    for file, proof in listed.items():
        content = (folder / file).read_bytes()
        assert proof == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}, file


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than ``tmp_path``."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev or not os.access(shm, os.W_OK):
        pytest.skip("no second file system at /dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shm))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system with next to no room."""
    folder = tmp_path / "full"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=200", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a file system takes root's rights")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("there", ["nothing", "folder", "below"])
def test_a_link_to_another_file_system(tmp_path: Path, elsewhere: Path, there: str) -> None:
    target = elsewhere / "target"
    if there != "nothing":
        target.mkdir()
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "fw").symlink_to(elsewhere / "fw")
    out = tmp_path / "link" / "below" if there == "below" else tmp_path / "link"
    probe_export(out, ExportOptions(firmware=tmp_path / "fw"), "m")
    assert not (elsewhere / "fw").exists()
    made = bundle(firmware={"src/main.c": b"int main;"})
    for _ in range(2):
        write_bundle(made, out, tmp_path / "fw")
    assert {file: content for file, content in contents(out).items() if file != "m_manifest.json"} == made.files
    assert (elsewhere / "fw" / "src" / "main.c").read_bytes() == b"int main;"
    require_whole(out)
    require_whole(elsewhere / "fw")


def test_nothing_is_made_or_moved_outside_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent may be read-only, and the folder a mount point."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("mkdir", "rename", "replace", "link"):
        usual = getattr(os, name)

        def inside(*paths: object, usual: object = usual, **options: object) -> object:
            for path in paths:
                if isinstance(path, str | os.PathLike) and not Path(path).is_relative_to(out):
                    raise OSError(errno.EROFS, "read-only file system", str(path))
                if isinstance(path, str | os.PathLike) and Path(path) == out:
                    raise OSError(errno.EBUSY if out.exists() else errno.EROFS, "busy", str(path))
            return usual(*paths, **options)  # type: ignore[operator]

        if name != "mkdir":
            monkeypatch.setattr(os, name, inside)
    write_bundle(bundle(), out)
    write_bundle(bundle(word="again"), out)
    require_whole(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_bundle_replaces_a_bundle_and_keeps_the_rest(tmp_path: Path) -> None:
    write_bundle(bundle("m", "old", "m_model.c", "m_model.h", "sub/deep.c"), tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "m_model.h").write_text("changed by hand")
    made = Bundle("m", {"m.tflite": b"new", "report.html": b"new"}, {}, None, 0)
    write_bundle(made, tmp_path)
    found = contents(tmp_path)
    require_whole(tmp_path)
    del found["m_manifest.json"]
    kept = {"mine.txt": b"mine", "m_model.h": b"changed by hand", "m.ckpt": b"m.ckpt old"}
    assert found == {**made.files, **kept}
    assert not (tmp_path / "sub").exists()


def test_what_no_export_wrote_is_kept_beside(tmp_path: Path) -> None:
    out, project = tmp_path / "out", tmp_path / "fw"
    made = bundle(word="old", firmware={"README.md": b"ours", "examples/M/M.ino": b"old sketch"})
    project.mkdir()
    (project / "README.md").write_bytes(b"of one's own")
    assert write_bundle(made, out, project) == (project / "README.md.before",)
    assert write_bundle(made, out, project) == ()
    for turn, word in enumerate(("first", "second")):
        (project / "examples/M/M.ino").write_text(f"edited {turn}")
        (out / "report.html").write_text(f"noted {turn}")
        (out / "m.ckpt").write_text(f"trained {turn}")
        made = bundle(word=word, firmware={"README.md": b"ours", "examples/M/M.ino": word.encode()})
        kept = write_bundle(made, out, project)
        number = "" if turn == 0 else "2"
        assert kept == (out / f"report.html.before{number}", project / f"examples/M/M.ino.before{number}")
        assert [path.read_text() for path in kept] == [f"noted {turn}", f"edited {turn}"]
        require_whole(out)
        require_whole(project)
    assert contents(project) == {
        **made.firmware,
        "README.md.before": b"of one's own",
        "examples/M/M.ino.before": b"edited 0",
        "examples/M/M.ino.before2": b"edited 1",
        "m_manifest.json": (project / "m_manifest.json").read_bytes(),
    }
    listed = {file for folder in (out, project) for file in manifests_in(folder)["m"].files}
    assert not {file for file in listed if ".before" in file}
    page = plain_text(written_page(replace(made, kept=kept), out, ExportOptions()))
    assert f"what was M.ino is kept as {kept[1]}" in page


def test_what_is_the_same_or_not_of_the_bundle_is_not_kept_twice(tmp_path: Path) -> None:
    made = bundle()
    made.files["timings.json"] = b"1 s"
    (tmp_path / "metrics.json").write_bytes(made.files["metrics.json"])
    assert write_bundle(made, tmp_path) == ()
    made.files["timings.json"] = b"2 s"
    assert write_bundle(made, tmp_path) == ()
    assert contents(tmp_path).keys() == {*made.files, "m_manifest.json"}


def test_a_checkpoint_in_the_folder_belongs_to_what_was_made_of_it(tmp_path: Path) -> None:
    write_bundle(bundle(), tmp_path)
    again = bundle()
    del again.files["m.ckpt"]
    write_bundle(again, tmp_path, checkpoint=tmp_path / "m.ckpt")
    require_whole(tmp_path)
    assert "m.ckpt" in manifests_in(tmp_path)["m"].files


def test_another_name_is_refused_before_and_after_training(tmp_path: Path) -> None:
    write_bundle(bundle("one"), tmp_path)
    before = contents(tmp_path)
    for refused in (
        lambda: probe_export(tmp_path, ExportOptions(), "Two"),
        lambda: write_bundle(bundle("two"), tmp_path),
    ):
        with pytest.raises(Unwritable, match="holds the bundle 'one'"):
            refused()
    assert contents(tmp_path) == before
    write_bundle(Bundle("two", {"two.tflite": b"2"}, {}, None, 0), tmp_path)
    assert contents(tmp_path).items() > before.items()
    require_whole(tmp_path, "one")
    require_whole(tmp_path, "two")


_KILLED = """
import os, shutil, sys
from pathlib import Path
from export.bundle.folder_replacement import Replacement, finish_interrupted, locked

folder = Path(sys.argv[1])
old = {"a": b"old a", "b": b"old b", "gone/c": b"old c", "manifest": b"old"}
kept = {"b": "b.before"}
new = {"a": b"new a", "b": b"new b", "more/d": b"new d", "manifest": b"new"}

def replace(files, stale, kept=None):
    with locked(folder) as held:
        replacement = Replacement(held, files, stale, kept)
        replacement.stage()
        replacement.commit()
        replacement.apply()
        replacement.discard()

def found():
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

outcomes = []
for last in range(1, 200):
    shutil.rmtree(folder, ignore_errors=True)
    replace(old, ())
    child = os.fork()
    if not child:
        calls = 0
        for name in ("mkdir", "link", "rename", "replace", "unlink", "rmdir", "open"):
            def dying(*arguments, usual=getattr(os, name), **options):
                global calls
                calls += 1
                if calls == last:
                    os._exit(9)
                return usual(*arguments, **options)
            setattr(os, name, dying)
        replace(new, ("gone/c",), kept)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if last % 2:
        finish_interrupted(folder)
        seen = {file: content for file, content in found().items() if not file.startswith(".export-staging/")}
    else:
        replace({"other": b"of the next"}, ())
        seen = {file: content for file, content in found().items() if file != "other"}
    outcomes.append("old" if seen == old else "new" if seen == {**new, "b.before": b"old b"} else f"neither: {seen}")
    if status == 0:
        break
print(len(outcomes), *dict.fromkeys(outcomes), sep="\\n")
"""


def test_a_kill_at_any_moment_leaves_the_old_files_or_the_new_ones(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "folder")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    moments, *outcomes = done.stdout.split("\n")[:-1]
    assert outcomes == ["old", "new"], done.stdout + done.stderr
    assert int(moments) > 20


def test_what_can_not_be_moved_leaves_everything_as_it_was(tmp_path: Path) -> None:
    write_bundle(bundle("m", "old"), tmp_path)
    (tmp_path / "report.html").write_text("mine")
    (tmp_path / "z.txt").mkdir()
    (tmp_path / "z.txt" / "mine").touch()
    before = contents(tmp_path)
    with pytest.raises(Unwritable, match=r"--out.*z\.txt"):
        write_bundle(bundle("m", "new", "fresh.txt", "z.txt"), tmp_path)
    assert contents(tmp_path) == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_exports_at_once_leave_one_whole_bundle(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def export(word: str) -> None:
        try:
            for turn in range(15):
                write_bundle(bundle("m", f"{word} {turn}", f"only_{word}.c"), tmp_path / "out")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=export, args=(word,)) for word in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    require_whole(tmp_path / "out")
    manifest = manifests_in(tmp_path / "out")["m"]
    assert {*contents(tmp_path / "out")} == {*manifest.files, manifest.file}


def test_a_manifest_depends_on_the_files_alone(tmp_path: Path) -> None:
    one, other = bundle(), bundle()
    one.files["timings.json"], other.files["timings.json"] = b"1", b"23"
    write_bundle(one, tmp_path / "a")
    write_bundle(Bundle("m", dict(reversed(other.files.items())), {}, None, 0), tmp_path / "b")
    found = [(tmp_path / folder / "m_manifest.json").read_text() for folder in "ab"]
    assert found[0] == found[1]
    assert str(tmp_path) not in found[0]
    listed = json.loads(found[0])["files"]
    assert list(listed) == sorted(one.files)
    assert listed["timings.json"] == {}


@pytest.mark.parametrize("file", ["m.tflite", "report.html"])
def test_verify_names_a_changed_file(tmp_path: Path, file: str, capsys: pytest.CaptureFixture, fuel_out: Path) -> None:
    made = bundle()
    made.files["m.tflite"] = (fuel_out / "fuel.tflite").read_bytes()
    write_bundle(made, tmp_path)
    assert export_main(["verify", str(tmp_path / "m.tflite")]) == 0
    assert "4 files are as the manifest" in capsys.readouterr().out
    if file == "m.tflite":
        (tmp_path / file).write_bytes((fuel_out / "fuel_named.tflite").read_bytes())
    else:
        (tmp_path / file).unlink()
    assert export_main(["verify", str(tmp_path / "m.tflite")]) == 2
    assert f"{tmp_path / file}: expected the file as m_manifest.json lists it" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["x" * 300, "/".join(["x" * 250] * 20), "file/below"])
def test_a_path_that_can_not_be_made(tmp_path: Path, out: str, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert run_fuel("--out", tmp_path / out) == 2
    said = capsys.readouterr().err
    assert "error: --out: expected a folder that can be made or written" in said
    assert ".probe" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_name_too_long_for_a_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run_fuel("--out", tmp_path / "out", "--name", "n" * 245) == 2
    assert "Remedy: choose a shorter name" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_bundle(full: Path) -> None:
    write_bundle(bundle(), full)
    before = contents(full)
    big = bundle(word="new")
    big.files["m.tflite"] = bytes(100_000)
    with pytest.raises(Unwritable, match="No space left"):
        write_bundle(big, full)
    assert contents(full) == before


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_a_full_disk_at_a_resume_point(full: Path) -> None:
    point = ResumePoint(full)
    point.path.write_bytes(b"the last one")
    (full / "filler").write_bytes(bytes(40_000))
    with pytest.raises(Unwritable, match=r"--resume.*No space left"):
        small_trainer(QuantizationAwareTraining(), point, max_epochs=2).fit(SmallModule(), datamodule=SmallData())
    assert contents(full) == {"resume.ckpt": b"the last one", "filler": bytes(40_000)}


def test_no_room_for_temporary_files(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Known before training: the folder is full, or there is none."""
    for folder in (full, tmp_path / "absent"):
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        assert run_fuel("--out", tmp_path / "out") == 2
        assert "error: TMPDIR: expected a folder with room" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_a_resume_point_behind_a_link(tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where temporary files can't be written."""
    (tmp_path / "link").symlink_to(elsewhere / "resume")
    point = ResumePoint(tmp_path / "link")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    small_trainer(QuantizationAwareTraining(), point, max_epochs=2).fit(SmallModule(), datamodule=SmallData())
    assert point.checkpoint == str(elsewhere / "resume" / "resume.ckpt")
    assert [path.name for path in (elsewhere / "resume").iterdir()] == ["resume.ckpt"]
