"""Keywords: synthetic sounds, recordings in Speech Commands' layout, and what is refused of them."""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from qtorch.errors import BadConfiguration, BadData
from qtorch.lightning.data import DataSummary
from recipes.keyword_qat.data import KeywordData
from recipes.keyword_qat.features import RATE, keyword_features
from recipes.keyword_qat.network import keyword_network
from recipes.keyword_qat.sounds import SOUNDS, synthesize
from recipes.keyword_qat.speech import find_recordings, found_words, read_wav

pytestmark = pytest.mark.usefixtures("one_thread")
PARTS = ("train", "validation", "test")


def test_synthetic_keywords() -> None:
    data = KeywordData(clips=10, seed=1)
    arrays = data.load()
    for part, each in zip(PARTS, (6, 2, 2), strict=True):
        x, y = getattr(arrays, part)
        assert x.shape == (8 * each, 1, 49, 10)
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert torch.bincount(y).tolist() == [each] * 8
        assert float(x.abs().max()) < 4.5
    assert float(arrays.train[0].mean()) == pytest.approx(0, abs=1e-5)
    assert float(arrays.train[0].std()) == pytest.approx(1, abs=1e-5)
    assert arrays.summary == DataSummary("synthetic", 80, 0, 48, 16)
    assert [feature.name for feature in arrays.interface.outputs] == [f"{sound} probability" for sound in SOUNDS]
    (feature,) = arrays.interface.inputs
    assert feature.name == "log-mel energy"
    raw = torch.cat([keyword_features(torch.from_numpy(c)) for s in SOUNDS for c in synthesize(s, 10, 1)])
    physical = (arrays.test[0] * feature.span + feature.offset).flatten(1)
    assert (
        float(torch.cdist(physical, raw.flatten(1), compute_mode="donot_use_mm_for_euclid_dist").min(1).values.max())
        < 0.01
    )
    expected = {"speech_commands": None, "words": None, "batch_size": 64, "clips": 10, "seed": 1}
    assert dict(data.hparams) == expected


def test_words_choose_and_order_the_classes_and_the_seed_the_clips() -> None:
    arrays, again = (KeywordData(words=("warble", "fall"), clips=10, seed=1).load() for _ in range(2))
    turned, other = KeywordData(words=("fall", "warble"), clips=10, seed=1).load(), KeywordData(clips=10, seed=2).load()
    assert [feature.name for feature in arrays.interface.outputs] == ["warble probability", "fall probability"]
    assert turned.interface.outputs == arrays.interface.outputs[::-1]
    assert torch.equal(arrays.train[0], again.train[0])
    assert not torch.equal(arrays.train[0][0], other.train[0][0])


def spectrogram(sound: str, count: int = 30) -> torch.Tensor:
    """Log-mel energies ``[N, 49, 10]`` of one sound."""
    return keyword_features(torch.from_numpy(np.concatenate(list(synthesize(sound, count, 0)))))[:, 0]


def test_sounds_are_what_they_are_called() -> None:
    bands = torch.arange(10.0)

    def drop(sound: str) -> torch.Tensor:
        """How many bands the centre of gravity falls from the first to the last loud frames, [N]."""
        features = spectrogram(sound)
        energy = features.exp()
        loud = energy.sum(-1)
        centre = (energy * bands).sum(-1) / loud
        heard = loud > 0.2 * loud.max(1, keepdim=True).values
        return torch.stack([c[h][:5].mean() - c[h][-5:].mean() for c, h in zip(centre, heard, strict=True)])

    assert float((drop("fall") > 0.2).float().mean()) > 0.7
    assert float((drop("rise") < -0.2).float().mean()) > 0.7
    assert float((drop("two-tone") > 0.2).float().mean()) > 0.7
    assert float((drop("tone").abs() < 0.3).float().mean()) > 0.7
    steady, drawn = (spectrogram(sound).std(1).mean() for sound in ("silence", "tone"))
    assert float(steady) < 0.6 < 0.8 < float(drawn), "silence is the background alone"
    clips = np.concatenate(list(synthesize("pulses", 130, 0)))
    assert clips.shape == (130, RATE)
    assert clips.dtype == np.float32
    assert np.abs(clips).max() <= 1
    assert np.array_equal(clips, np.concatenate(list(synthesize("pulses", 130, 0))))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"clips": 4}, "data.clips.*got 4"),
        ({"words": ("tone",)}, "data.words.*at least two.*got tone"),
        ({"words": ()}, "data.words.*got none.*fall, hiss"),
        ({"words": ("tone", "tone")}, "data.words.*different"),
        ({"words": ("tone", "bark", "yes")}, "data.words.*among fall.*got bark, yes"),
    ],
)
def test_bad_options(arguments: dict, words: str) -> None:
    with pytest.raises(BadConfiguration, match=words):
        KeywordData(**arguments).load()


def record(path: Path, samples: np.ndarray, rate: int = RATE, channels: int = 1, width: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


def speech(folder: Path, speakers: int = 10, words: tuple[str, ...] = ("yes", "no")) -> None:
    """Each speaker says each word once, and someone breathes."""
    rng = np.random.default_rng(0)
    for speaker in range(speakers):
        for word in words:
            record(folder / word / f"{speaker:04x}_nohash_0.wav", rng.integers(-9000, 9000, RATE))
    record(folder / "_background_noise_" / "breath.wav", np.zeros(99999))
    (folder / "empty").mkdir()
    (folder / "LICENSE").touch()


def test_clips_are_one_second(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, 20000)
    for length in (1, 9000, RATE, 20000):
        record(tmp_path / "a.wav", samples[:length])
        clip = read_wav(tmp_path / "a.wav")
        assert clip.shape == (RATE,)
        assert clip.dtype == np.float32
        kept = min(length, RATE)
        np.testing.assert_array_equal(clip[:kept] * 32768, samples[:kept])
        assert not clip[kept:].any()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: record(p, np.zeros(9), rate=8000), "rate of 16000 Hz, got 8000"),
        (lambda p: record(p, np.zeros(10), channels=2), "1 channel, got 2"),
        (lambda p: record(p, np.zeros(10), width=1), "2 bytes per sample, got 1"),
        (lambda p: record(p, np.zeros(0)), "at least one sample.*got 0"),
        (cut, "as many as the header says, got 15750"),
        (lambda p: p.write_bytes(b""), "WAV file.*ends early"),
        (lambda p: p.write_bytes(b"MThd and no waves in it"), "WAV file"),
        (lambda p: p.write_bytes(p.read_bytes()[:20] + struct.pack("<H", 3) + p.read_bytes()[22:]), "WAV file"),
    ],
)
def test_unusable_recordings_are_refused_by_name(tmp_path: Path, damage: Callable[[Path], None], words: str) -> None:
    speech(tmp_path)
    path = tmp_path / "no" / "0003_nohash_0.wav"
    damage(path)
    with pytest.raises(BadData, match=words) as error:
        KeywordData(str(tmp_path)).load()
    assert str(path) in str(error.value)
    assert "Remedy" in str(error.value)


def test_recordings_become_features_of_their_word(tmp_path: Path) -> None:
    speech(tmp_path)
    assert found_words(tmp_path) == ("no", "yes")
    arrays = KeywordData(str(tmp_path)).load()
    assert arrays.summary == DataSummary(tmp_path.name, 20, 0, 12, 4)
    assert [feature.name for feature in arrays.interface.outputs] == ["no probability", "yes probability"]
    (feature,) = arrays.interface.inputs
    x, y = arrays.test
    assert y.tolist() == [0, 0, 1, 1]
    clip = torch.from_numpy(read_wav(tmp_path / "yes" / "0009_nohash_0.wav"))
    torch.testing.assert_close(x[3] * feature.span + feature.offset, keyword_features(clip[None])[0])
    assert KeywordData(str(tmp_path), words=("yes", "no")).load().test[1].tolist() == [0, 0, 1, 1]


def parts(folder: Path) -> dict[str, set[str]]:
    found = find_recordings(folder, ("no", "yes"))
    return {part: {f"{r.path.parent.name}/{r.path.name[:4]}" for r in found if r.part == part} for part in PARTS}


def test_no_part_hears_another_parts_speakers(tmp_path: Path) -> None:
    speech(tmp_path, 11)
    record(tmp_path / "yes" / "0003_nohash_1.wav", np.ones(5))
    found = parts(tmp_path)
    assert found["validation"] == {f"{word}/{s:04x}" for word in ("no", "yes") for s in (3, 8)}
    assert found["test"] == {f"{word}/{s:04x}" for word in ("no", "yes") for s in (4, 9)}
    assert len(found["train"]) == 14


def test_lists_decide(tmp_path: Path) -> None:
    speech(tmp_path)
    names = [f"{word}/{s:04x}_nohash_0.wav" for s in range(10) for word in ("no", "yes")]
    (tmp_path / "validation_list.txt").write_text("\n".join([*names[:6], "up/absent.wav"]) + "\n\n")
    found = parts(tmp_path)
    assert found["validation"] == {name[: name.index("_")] for name in names[:6]}
    assert found["test"] == {f"{word}/{s:04x}" for word in ("no", "yes") for s in (4, 9)}
    (tmp_path / "testing_list.txt").write_text("\n".join(names[6:8]))
    found = parts(tmp_path)
    assert found["test"] == {"no/0003", "yes/0003"}
    assert len(found["train"]) == 12


@pytest.mark.parametrize(
    ("validation", "testing", "words"),
    [
        ("no/0001_nohash_0.wav\nyes.wav\n", "", "validation_list.txt, line 2.*word/file.wav.*'yes.wav'"),
        ("no/0001_nohash_0.wav\n", "no/0002.wav\nno/0001_nohash_0.wav", "testing_list.txt, line 2.*one part only"),
        ("no/0001_nohash_0.wav\n", "no/absent.wav\n", "test recordings of no, yes, got none among 20"),
        (b"\xff", "", "validation_list.txt.*UTF-8"),
        (
            "\n".join(f"no/{s:04x}_nohash_0.wav" for s in range(9)),
            "no/0009_nohash_0.wav",
            "train recordings of no, got none",
        ),
    ],
)
def test_unusable_lists_are_refused(tmp_path: Path, validation: str | bytes, testing: str, words: str) -> None:
    speech(tmp_path)
    (tmp_path / "validation_list.txt").write_bytes(validation if isinstance(validation, bytes) else validation.encode())
    (tmp_path / "testing_list.txt").write_text(testing)
    with pytest.raises(BadData, match=words):
        KeywordData(str(tmp_path)).load()


def test_unusable_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no such folder"):
        KeywordData(str(tmp_path / "absent")).load()
    with pytest.raises(BadConfiguration, match="at least two different words, got none"):
        KeywordData(str(tmp_path)).load()
    speech(tmp_path, 4)
    with pytest.raises(BadData, match=r"folders of recordings for up, empty, got folders no, yes"):
        KeywordData(str(tmp_path), words=("yes", "up", "empty")).load()
    with pytest.raises(BadData, match="test recordings of no, yes, got none among 8 recordings of 4 speakers"):
        KeywordData(str(tmp_path)).load()


def test_the_network_learns_what_a_linear_classifier_does_not() -> None:
    sounds = ("fall", "pulses", "rise", "silence", "warble")
    arrays = KeywordData(words=sounds, clips=120).load()
    x, y = arrays.train

    def accuracy(net: nn.Module, epochs: int) -> float:
        optimizer = torch.optim.Adam(net.parameters(), 5e-3)
        for _ in range(epochs):
            for at in torch.randperm(len(x)).split(32):
                optimizer.zero_grad()
                nn.functional.nll_loss(net(x[at]).clamp_min(1e-7).log(), y[at]).backward()
                optimizer.step()
        net.eval()
        return float((net(arrays.test[0]).argmax(-1) == arrays.test[1]).float().mean())

    torch.manual_seed(0)
    linear = accuracy(nn.Sequential(nn.Flatten(), nn.Linear(490, 5), nn.Softmax(-1)), 10)
    assert linear < 0.65 < 0.8 < accuracy(keyword_network(5, 16), 18)
