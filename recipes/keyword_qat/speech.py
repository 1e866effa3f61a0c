"""Recorded words in the folders of the Speech Commands data set.

Source of the layout: Warden 2018, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition"
(arXiv:1804.03209).
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from qtorch.errors import BadData

from .features import RATE

__all__ = ["Part", "Recording", "find_recordings", "found_words", "one_second", "read_samples", "read_wav", "waves"]

Part = Literal["train", "validation", "test"]
_LISTS: dict[str, Part] = {"validation_list.txt": "validation", "testing_list.txt": "test"}


@dataclass(frozen=True)
class Recording:
    """One file: the index of its word, and the part of the data it belongs to."""

    path: Path
    label: int
    part: Part


def found_words(folder: Path) -> tuple[str, ...]:
    """The names of the folders that hold ``.wav`` files, in alphabetical order, without those that begin with ``_``.

    Raises:
        BadData: there is no such folder.
    """
    if not folder.is_dir():
        raise _bad(folder, "a folder with one folder of recordings per word", "no such folder", "check the path")
    inside = (path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "_.")
    return tuple(sorted(path.name for path in inside if waves(path)))


def waves(folder: Path) -> list[Path]:
    """The recordings of a folder by name, whether they end in ``.wav`` or in ``.WAV``."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".wav" and path.name[0] != ".")


def find_recordings(folder: Path, words: tuple[str, ...]) -> list[Recording]:
    """Every recording of these words, by word and name.

    The parts are those of ``validation_list.txt`` and ``testing_list.txt``, which name a file as ``word/file.wav`` in
    each line; listed files that do not exist are passed over. Where a list is absent, every fifth speaker in
    alphabetical order makes its part, the test's behind the validation's, so that no part hears another's speakers; the
    speaker is a file's name up to ``_nohash_``.

    Raises:
        BadData: the folder or a word is missing, a list can't be read or is contradicted by the other, a part is
            empty, or a word is missing in the training part.
    """
    present = found_words(folder)
    absent = [word for word in words if word not in present]
    if absent:
        raise _bad(
            folder,
            f"folders of recordings for {', '.join(absent)}",
            f"folders {', '.join(present) or '(none)'}",
            "add recordings, or choose words that are there",
        )
    listed = _listed(folder)
    names = {f"{word}/{path.name}": path for word in words for path in waves(folder / word)}
    speakers = sorted({_speaker(path) for path in names.values()})
    turn = {speaker: index % 5 for index, speaker in enumerate(speakers)}
    unlisted: dict[int, Part] = {}
    for at, (name, part) in zip((3, 4), _LISTS.items(), strict=True):
        if not (folder / name).exists():
            unlisted[at] = part
    recordings = [
        Recording(path, words.index(path.parent.name), listed.get(name, unlisted.get(turn[_speaker(path)], "train")))
        for name, path in names.items()
    ]
    parts: tuple[Part, ...] = ("train", "validation", "test")
    for part in parts:
        labels = {recording.label for recording in recordings if recording.part == part}
        missing = [word for label, word in enumerate(words) if label not in labels]
        if not labels or (missing and part == "train"):
            raise _bad(
                folder,
                f"{part} recordings of {', '.join(missing)}",
                f"none among {len(recordings)} recordings of {len(speakers)} speakers",
                "add recordings of more speakers, or correct the lists",
            )
    return recordings


def _speaker(path: Path) -> str:
    return path.stem.partition("_nohash_")[0]


def _listed(folder: Path) -> dict[str, Part]:
    listed: dict[str, Part] = {}
    for name, part in _LISTS.items():
        path = folder / name
        if not path.exists():
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise _bad(path, "a readable list in UTF-8", f"{error}", "check the file, or delete it") from error
        for number, line in enumerate(lines, 1):
            entry = line.strip()
            if entry and (entry.count("/") != 1 or not entry.lower().endswith(".wav")):
                raise _bad(f"{path}, line {number}", "word/file.wav", repr(line), "correct the line")
            if listed.setdefault(entry, part) != part and entry:
                raise _bad(
                    f"{path}, line {number}",
                    "a file of one part only",
                    f"{entry}, which validation_list.txt names too",
                    "delete it in one of the lists",
                )
    return listed


def read_wav(path: Path) -> np.ndarray:
    """One second: float32 ``[16000]`` in -1 .. 1; shorter recordings end in zeros, longer ones are cut.

    Raises:
        BadData: as :func:`read_samples`.
    """
    return one_second(read_samples(path))


def one_second(samples: np.ndarray) -> np.ndarray:
    """The first second of int16 samples at 16 kHz, float32 ``[16000]`` in -1 .. 1; zeros behind where there is less."""
    first = samples[:RATE].astype(np.float32) / 32768
    return np.pad(first, (0, RATE - len(first)))


def read_samples(path: Path) -> np.ndarray:
    """All samples of a file, int16 ``[samples]``, at least one.

    Raises:
        BadData: not a WAV file, not 16-bit PCM of one channel at 16 kHz, empty, or cut off.
    """
    try:
        with wave.open(str(path), "rb") as file:
            form = file.getparams()
            content = file.readframes(form.nframes)
    # Of a damaged header the standard library's reader says so in whatever way it does: a chunk that is longer than the
    # file ends in a bare RuntimeError.
    except Exception as error:
        said = f"{error}" or ("a file that ends early" if isinstance(error, EOFError) else "a header that is damaged")
        raise _bad(path, "a WAV file of 16-bit PCM", said, "convert it to WAV") from error
    for name, got, expected in (
        ("a rate of {} Hz", form.framerate, RATE),
        ("{} channel", form.nchannels, 1),
        ("{} bytes per sample", form.sampwidth, 2),
    ):
        if got != expected:
            raise _bad(path, name.format(expected), f"{got}", "convert it to 16-bit PCM, mono, 16 kHz")
    if not content or len(content) != 2 * form.nframes:
        raise _bad(
            path, "at least one sample, and as many as the header says", f"{len(content) // 2}", "record it again"
        )
    return np.frombuffer(content, "<i2")


def _bad(where: Path | str, expected: str, got: str, remedy: str) -> BadData:
    return BadData(where=str(where), expected=expected, got=got, remedy=remedy)
