"""Observers: each formula against an oracle in numpy, merging, what is refused, and what a checkpoint keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from qtorch import Mode
from qtorch.errors import BadConfiguration, NotFinite
from qtorch.ranges.histogram import Histogram
from qtorch.ranges.observer import Observer
from qtorch.ranges.observers import make_observer
from tests.observers import every_observer


def make_observer_of(
    name: str, x: Tensor, axis: int | None = None, levels: int = 256, symmetric: bool = False
) -> Observer:
    """The observer ``name`` after it has seen ``x``."""
    observer = make_observer(name, axis, levels, symmetric)
    observer.observe(x)
    return observer


@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize("name", every_observer(percentile="99.9", fixed="-1:1"))
def test_every_observer_calibrates_a_network(name: str, activations: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    config = qtorch.QuantizationConfig(observer=name, weight_observer=name, activations=activations)  # type: ignore[arg-type]
    qat, x = qtorch.prepare(net, torch.zeros(1, 3), config), torch.rand(500, 3) * 2 - 1
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    with torch.no_grad():
        error = (qat(x) - net(x)).pow(2).mean() / net(x).pow(2).mean()
    assert float(error) < 0.01


@pytest.mark.parametrize("values", [[0.105, 0.5, 0.9], [-0.105, 0.9], [1.0], [-3.0, 3.0]])
def test_entropy_keeps_few_values(values: list[float]) -> None:
    low, high = make_observer_of("entropy", torch.tensor(values), levels=255).range()
    assert float(torch.maximum(-low, high)) == pytest.approx(max(map(abs, values)), rel=2**-10)


def draw(what: str, count: int = 3000) -> Tensor:
    """Float32 samples ``[count]`` of one distribution."""
    torch.manual_seed(0)
    x = torch.randn(count)
    drawn = {
        "normal": x,
        "rectified": x.relu(),
        "positive": x.abs() + 0.1,
        "negative": -x.abs(),
        "skew": x + 2,
        "laplace": torch.distributions.Laplace(0.0, 1.0).sample((count,)),
        "outlier": torch.cat([x, torch.tensor([50.0])]),
    }
    return drawn[what]


def rounding_error(x: np.ndarray, scale: float, low: int, high: int) -> float:
    """Mean squared error of rounding ``x`` to ``low`` to ``high`` steps."""
    return float(((np.clip(np.round(x / scale), low, high) * scale - x) ** 2).mean())


def least_rounding_error(x: np.ndarray, levels: int, symmetric: bool) -> float:
    """The least that any of some thousands of grids has."""
    low, high, half = min(0.0, x.min()), max(0.0, x.max()), levels // 2
    if symmetric:
        return min(rounding_error(x, s * max(-low, high) / half, -half, half) for s in np.linspace(0.02, 1, 800))
    best = np.inf
    for a in np.linspace(0.1, 1, 37) if low < 0 else [1.0]:
        for b in np.linspace(0.1, 1, 37) if high > 0 else [1.0]:
            scale = (b * high - a * low) / (levels - 1)
            bottom = round(a * low / scale)
            best = min(best, rounding_error(x, scale, bottom, bottom + levels - 1))
    return best


@pytest.mark.parametrize("what", ["normal", "rectified", "positive", "negative", "skew", "laplace", "outlier"])
@pytest.mark.parametrize(("levels", "symmetric"), [(15, True), (16, False), (255, True), (256, False)])
def test_mse_is_as_good_as_the_best_of_all_grids(what: str, levels: int, symmetric: bool) -> None:
    x = draw(what, 1000)
    low, high = (float(end) for end in make_observer_of("mse", x, None, levels, symmetric).range())
    if symmetric:
        scale, bottom = max(-low, high) / (levels // 2), -(levels // 2)
    else:
        scale = (high - low) / (levels - 1)
        bottom = round(low / scale)
    values = x.double().numpy()
    assert min(0.0, values.min()) * (1 + 2**-10) <= low <= 0 <= high <= max(0.0, values.max()) * (1 + 2**-10)
    found = rounding_error(values, scale, bottom, bottom + levels - 1)
    assert found < 1.02 * least_rounding_error(values, levels, symmetric)


@pytest.mark.parametrize("symmetric", [True, False])
def test_mse_finds_the_step_that_the_values_are_multiples_of(symmetric: bool) -> None:
    """One outlier, which would make that step a hundredth of the range, weighs too little to move it."""
    steps = torch.arange(-7.0, 8).repeat(20_000)
    x = torch.cat([steps * 0.1, torch.tensor([-99.0, 99.0])])
    low, high = ends(make_observer_of("mse", x, None, 15, symmetric))
    assert (low, high) == (pytest.approx(-0.7, rel=4e-3), pytest.approx(0.7, rel=4e-3))


@pytest.mark.parametrize("what", ["normal", "rectified", "positive"])
@pytest.mark.parametrize(("levels", "symmetric"), [(256, False), (255, True), (65536, True)])
def test_lsq_starts_at_twice_the_mean_over_the_root_of_the_highest_code(
    what: str, levels: int, symmetric: bool
) -> None:
    x = draw(what)
    unsigned = not symmetric and what != "normal"
    highest = levels - 1 if unsigned else (levels - 1) // 2
    step = 2 * np.abs(x.double().numpy()).mean() / np.sqrt(highest)
    low, high = make_observer_of("lsq", x, None, levels, symmetric).range()
    assert float(high) == pytest.approx(step * highest, rel=1e-6)
    assert float(low) == pytest.approx(0 if what != "normal" else -step * highest, rel=1e-6)


def test_lsq_starts_a_positive_weight_and_a_wide_activation_at_its_step() -> None:
    """Grids that have no use for the sign of what they hold."""
    net = nn.Linear(4, 2)
    with torch.no_grad():
        net.weight.abs_()
    config = qtorch.QuantizationConfig(scales="lsq", weights="per_tensor", activations="int16")
    qat, x = qtorch.prepare(net, torch.zeros(1, 4), config), torch.rand(50, 4)
    qtorch.calibrate(qat, [x])
    weight_step = 2 * float(net.weight.detach().mean()) / 127**0.5
    assert float(qat.get_parameter("0.log_weight_scale").detach().exp()) == pytest.approx(weight_step, rel=1e-5)
    source = qtorch.quantizers(qat)["input_1_quantizer"]
    assert float(source.scale) == pytest.approx(2 * float(x.mean()) / 32767**0.5, rel=2**-11)


#: Of every kind one, with parameters.
EVERY = every_observer(moving_average="0.8", percentile="98", fixed="-1:2")


def ends(observer: Observer) -> list[np.ndarray]:
    """Its range in double precision, for comparisons."""
    return [end.double().numpy() for end in observer.range()]


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("what", ["normal", "rectified", "negative"])
def test_minmax_and_lsq_plus_are_numpy_s(what: str, axis: int | None) -> None:
    x = draw(what, 600).reshape(10, 12, 5)
    rest = tuple(d for d in range(3) if d != axis)
    values = x.double().numpy()
    low, high = ends(make_observer_of("minmax", x, axis))
    np.testing.assert_array_equal(low, values.min(rest))
    np.testing.assert_array_equal(high, values.max(rest))
    mean, deviation = values.mean(rest), values.std(rest)
    low, high = ends(make_observer_of("lsq+", x, axis))
    end = np.maximum(np.abs(mean - 3 * deviation), np.abs(mean + 3 * deviation))
    np.testing.assert_allclose(high, end, rtol=1e-6)
    np.testing.assert_array_equal(low, -high)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("decay", [0.0, 0.6, 0.9])
def test_moving_average_is_the_weighted_mean_of_the_batches(axis: int | None, decay: float) -> None:
    observer, batches = make_observer(f"moving_average:{decay}", axis), draw("skew").reshape(5, 6, 10, 10)
    for batch in batches:
        observer.observe(batch)
    # Without a bias towards the beginning: the newest has weight 1, the one before it `decay`, and so on.
    weights = decay ** np.arange(4.0, -1, -1)
    rest = tuple(d + 1 for d in range(3) if d != axis)
    low, high = ends(observer)
    for end, extrema in ((low, batches.numpy().min(rest)), (high, batches.numpy().max(rest))):
        np.testing.assert_allclose(end, np.average(extrema, 0, weights), rtol=1e-5)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("keep", [100, 99.9, 90, 60])
@pytest.mark.parametrize("what", ["normal", "rectified", "positive", "negative", "skew"])
def test_percentile_is_the_quantile_within_a_bucket(what: str, keep: float, axis: int | None) -> None:
    x = draw(what).reshape(2, 3, 500)
    low, high = ends(make_observer_of(f"percentile:{keep}", x, axis))
    parts = [x.flatten()] if axis is None else list(x.movedim(axis, 0).flatten(1))
    for part, bottom, top in zip(parts, np.atleast_1d(low), np.atleast_1d(high), strict=True):
        two_sided = bool(part.min() < 0) and bool(part.max() > 0)
        cut = (1 - keep / 100) / (2 if two_sided else 1)
        # Between the order statistics around the quantile, which is where np.quantile's methods differ.
        for end, share, side in ((bottom, cut, min), (top, 1 - cut, max)):
            around = [np.quantile(part.double().numpy(), share, method=m) for m in ("lower", "higher")]
            expected = [side(0.0, value) for value in around]
            assert expected[0] - abs(expected[0]) * 2**-10 <= end <= expected[1] + abs(expected[1]) * 2**-10


def test_percentile_keeps_no_more_values_than_it_says() -> None:
    x = torch.arange(1.0, 9)
    assert ends(make_observer_of("percentile:87.5", x))[1] == pytest.approx(7, rel=2**-10)
    assert ends(make_observer_of("percentile:87.5", -x))[0] == pytest.approx(-7, rel=2**-10)
    both = torch.cat([x, -x])
    assert ends(make_observer_of("percentile:87.5", both)) == [pytest.approx(e, rel=2**-10) for e in (-7, 7)]


def test_entropy_leaves_zeros_aside_and_counts_the_codes_of_one_side() -> None:
    x = draw("normal", 20_000)
    with_zeros = torch.cat([x, torch.zeros(100_000)])
    assert ends(make_observer_of("entropy", with_zeros)) == ends(make_observer_of("entropy", x))
    x = torch.cat([draw("laplace", 100_000).abs() * 0.2, torch.tensor([100.0])])
    # 1,500 codes above zero are fewer than there are bins, 3,000 are not.
    tops = [ends(make_observer_of("entropy", x, None, 3000, symmetric))[1] for symmetric in (True, False)]
    assert tops == [pytest.approx(100 * 1500 / 2048, rel=0.03), pytest.approx(100, rel=0.01)]


def test_entropy_recovers_from_an_outlier_and_clips_nothing_uniform() -> None:
    low, high = ends(make_observer_of("entropy", torch.cat([draw("normal", 20000), torch.tensor([100.0])])))
    assert -5 < low < -3
    assert 3 < high < 10
    torch.manual_seed(0)
    low, high = ends(make_observer_of("entropy", torch.rand(20000) * 3 - 1))
    assert (low, high) == (pytest.approx(-1, rel=0.02), pytest.approx(2, rel=0.02))


@pytest.mark.parametrize("what", ["normal", "laplace"])
def test_entropy_loses_as_little_information_as_any_threshold_on_the_raw_values(what: str) -> None:
    """Kullback-Leibler divergences over numpy's own histogram."""
    x = draw(what, 300_000)
    magnitude, bins, cells = x.abs().double().numpy(), 2048, 128
    counts = np.histogram(magnitude, bins, (0, magnitude.max()))[0].astype(float)
    counts[0] = 0

    def divergence(threshold: int) -> float:
        kept, cell = counts[:threshold], np.arange(threshold) * cells // threshold
        p = np.append(kept[:-1], kept[-1] + counts[threshold:].sum())
        masses, filled = np.bincount(cell, kept), np.bincount(cell, kept > 0)
        q = np.where(kept > 0, (masses / np.maximum(filled, 1))[cell], 0)
        p, q = p / p.sum(), q / q.sum()
        return float(sum(a * np.log(a / (b or 1e-9)) for a, b in zip(p, q, strict=True) if a))

    low, high = ends(make_observer_of("entropy", x))
    found = min(bins, round(max(-low, high) / magnitude.max() * bins - 0.5))
    assert divergence(found) <= 1.1 * min(map(divergence, range(bins, cells, -29)))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("axis", [0, 1])
def test_each_channel_is_measured_by_itself(name: str, axis: int) -> None:
    x = draw("skew", 600).reshape(6, 10, 10)
    low, high = ends(make_observer_of(name, x, axis))
    assert low.shape == high.shape == (x.shape[axis],)
    channels = [ends(make_observer_of(name, part)) for part in x.movedim(axis, 0)]
    # LSQ's choice between signed and unsigned is one for the whole tensor.
    first = 0 if name != "lsq" else int(bool((x[:, 0] < 0).any()))
    for channel, alone in list(enumerate(channels))[first:]:
        if name != "lsq" or bool((x.select(axis, channel) < 0).any()):
            np.testing.assert_allclose([low[channel], high[channel]], alone, rtol=1e-6)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("name", EVERY)
def test_two_that_saw_halves_merge_into_one_that_saw_all(name: str, axis: int | None) -> None:
    halves = draw("laplace", 1200).reshape(2, 4, 10, 15)
    observers = [make_observer_of(name, half, axis) for half in halves]
    unseen = make_observer(name, axis)
    unseen.merge(*observers, make_observer(name, axis))
    whole = make_observer_of(name, halves[0], axis)
    whole.observe(halves[1])
    expected = ends(whole)
    if name.startswith("moving_average"):
        # One that saw the mean of both.
        expected = list(np.mean([ends(observer) for observer in observers], 0))
    exact = name in ("minmax", "percentile:98", "mse", "entropy", "fixed:-1:2")
    np.testing.assert_allclose(ends(unseen), expected, rtol=0 if exact else 1e-6)


def test_lsq_is_signed_if_any_part_was() -> None:
    positive, signed = (make_observer_of("lsq", x) for x in (torch.ones(9), torch.tensor([-1.0, 1.0])))
    positive.merge(signed)
    low, high = ends(positive)
    assert low == -high


def test_moving_averages_merge_by_how_much_each_saw() -> None:
    short, long = make_observer("moving_average:0.5"), make_observer("moving_average:0.5")
    for observer, highs in ((short, [4.0]), (long, [1.0, 1.0, 1.0])):
        for high in highs:
            observer.observe(torch.tensor([0.0, high]))
    short.merge(long)
    weights = (1 - 0.5, 1 - 0.5**3)
    assert float(short.range()[1]) == pytest.approx((4 * weights[0] + 1 * weights[1]) / sum(weights))
    # And it goes on as one that saw three batches.
    before = float(short.range()[1])
    short.observe(torch.tensor([0.0, 8.0]))
    assert float(short.range()[1]) == pytest.approx((before * 0.5 * (1 - 0.5**3) + 8 * 0.5) / (1 - 0.5**4))


@pytest.mark.parametrize("name", ["minmax", "percentile:98", "mse", "entropy"])
@pytest.mark.parametrize("count", [1000, 70000])
def test_neither_order_nor_batches_matter(name: str, count: int) -> None:
    """Below and above the size from which counting into every bucket is faster than sorting."""
    x = draw("laplace", count)
    expected = ends(make_observer_of(name, x))
    shuffled = make_observer(name)
    for part in x[torch.randperm(count)].split(count // 3):
        shuffled.observe(part)
    np.testing.assert_array_equal(ends(shuffled), expected)


@pytest.mark.parametrize("count", [500, 50000])
def test_a_histogram_counts_values_by_their_leading_bits(count: int) -> None:
    x = torch.cat([draw("laplace", count), torch.tensor([0.0, -0.0, 1e-42, 3e38, -3e38, 1e-30])])
    histogram = Histogram.of(x)
    # Sign, exponent and ten bits: numpy's float32 with the others set to zero.
    leading = (x.numpy().view(np.uint32) >> 13 << 13).view(np.float32)
    kept, counts = np.unique(leading.view(np.uint32), return_counts=True)
    np.testing.assert_array_equal(histogram.keys.numpy() << 13, kept)
    np.testing.assert_array_equal(histogram.counts.numpy(), counts)
    values, bottom = histogram.values().numpy(), kept.view(np.float32).astype(np.float64)
    np.testing.assert_array_equal(np.where(bottom == 0, values, 0), 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        assert np.nanmax(np.abs(values / bottom - 1)[np.abs(bottom) > 1e-37]) <= 2**-11


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", EVERY)
def test_what_is_not_finite_is_refused(name: str, bad: float) -> None:
    observer = make_observer_of(name, torch.tensor([1.0, 2.0]))
    before = ends(observer)
    with pytest.raises(NotFinite, match="calibration"):
        observer.observe(torch.tensor([1.0, bad]))
    assert ends(observer) == before


@pytest.mark.parametrize("name", [name for name in EVERY if not name.startswith("fixed")])
def test_nothing_seen_is_no_range(name: str) -> None:
    observer = make_observer_of(name, torch.tensor([1.0, 2.0]))
    observer.reset()
    with pytest.raises(BadConfiguration, match="calibrate"):
        observer.range()


@pytest.mark.parametrize(
    ("specification", "word"),
    [
        ("median", "percentile, mse"),
        ("", "one of"),
        ("percentile:200", "percentage"),
        ("percentile:50", "percentage"),
        ("percentile:nan", "percentage"),
        ("percentile:x", "number behind colons"),
        ("percentile:99:1", "number behind colons"),
        ("percentile:", "number behind colons"),
        ("moving_average:1", "decay"),
        ("moving_average:-0.1", "decay"),
        ("fixed", "2 numbers"),
        ("fixed:1", "2 numbers"),
        ("fixed:1:-1", "low <= high"),
        ("fixed:-inf:1", "finite"),
        ("fixed:0:nan", "finite"),
        ("minmax:3", "no parameters"),
    ],
)
def test_bad_specifications_are_refused(specification: str, word: str) -> None:
    for field in ("observer", "weight_observer"):
        with pytest.raises(BadConfiguration, match=word):
            qtorch.QuantizationConfig(**{field: specification})


def test_parameters_are_taken() -> None:
    x = torch.linspace(-1, 1, 2001)
    assert ends(make_observer_of("fixed:-0.5:3", x)) == [-0.5, 3]
    assert ends(make_observer_of("percentile:80", x))[1] == pytest.approx(0.8, rel=2e-3)
    assert ends(make_observer_of("percentile", x))[1] == pytest.approx(1, rel=2e-3)


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("name", EVERY)
def test_a_checkpoint_in_the_middle_of_observing(name: str, axis: int | None, tmp_path: Path) -> None:
    halves = draw("laplace").reshape(2, 10, 10, 15)
    going_on, restored = make_observer_of(name, halves[0], axis), make_observer(name, axis)
    torch.save(going_on.state_dict(), tmp_path / "observer")
    restored.load_state_dict(torch.load(tmp_path / "observer", weights_only=True))
    for observer in (going_on, restored):
        observer.observe(halves[1])
    np.testing.assert_array_equal(ends(restored), ends(going_on))
    # And what has seen nothing makes one that had forget.
    restored.load_state_dict(make_observer(name, axis).state_dict())
    assert restored.seen == name.startswith("fixed")
