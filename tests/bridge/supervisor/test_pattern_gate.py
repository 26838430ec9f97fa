"""No sequence of orders leads projected light beyond its limits; what is within is unchanged."""

from dataclasses import replace

import numpy as np
import pytest

from swarmctl.bridge.devices.contract import Channel, OutputSpec
from swarmctl.bridge.orders import Spots
from swarmctl.bridge.supervisor.limits import PatternLimits
from swarmctl.bridge.supervisor.pattern_gate import (
    check_pattern_limits,
    gate_spots,
    open_pattern_ledger,
    settle_spots,
)
from swarmctl.bridge.supervisor.pattern_image import render_spots
from swarmctl.core.errors import CommandError, ConfigError

SHAPE = (60, 83)
SPEC = OutputSpec("light", "pattern", (Channel("light", "mW", 0.0, 4.0, 0.0),), SHAPE)
LIMITS = PatternLimits(
    power_max=3.0,
    power_total=8.0,
    slew=30.0,
    spots_max=6,
    radius_max=9.0,
    window=3.0,
    duty_max=0.7,
    dose_colloid=2.0,
    dose_area=3.0,
    cell=10,
)
FREE = replace(
    LIMITS, slew=1e6, duty_max=1.0, dose_colloid=1e6, dose_area=1e6, power_total=1e6, spots_max=99
)
HOLD = 0.3


def spots(position, power, colloid, radius=5.0, **more):
    count = len(power)
    return Spots(
        np.array(position, float).reshape(count, 2),
        np.broadcast_to(np.array(radius, float), (count,)).copy(),
        np.array(power, float),
        np.array(colloid, np.int64),
        **more,
    )


def wild(seed, count=150):
    """Orders as bad as they come, and the time for which each holds."""
    rng = np.random.default_rng(seed)
    home = rng.uniform(-10, 90, (8, 2))
    for _ in range(count):
        some = rng.integers(0, 9)
        stray = rng.random() < 0.2
        yield (
            spots(
                home[:some] + rng.normal(size=(some, 2)) * (10 if stray else 0.3),
                rng.uniform(-1, 4, some) * 10.0 ** (rng.integers(0, 6) if stray else 0),
                rng.integers(-1, 6, some),
                rng.uniform(0.1, 12, some) * (1e4 if rng.random() < 0.02 else 1.0),
                profile="gaussian" if seed % 2 else "even",
                half=rng.uniform(-3, 3, some) if seed % 3 == 0 else None,
            ),
            rng.choice([0.001, 0.02, HOLD]) * rng.uniform(0.5, 1.0),
        )


def colloid_power(sent, who):
    mine = sent.power[sent.colloid == who]
    return float(mine.max(initial=0) if who < 0 else mine.sum())


@pytest.mark.parametrize("seed", range(8))
def test_no_sequence_of_orders_exceeds_a_limit(seed):
    now = 500.0
    ledger = open_pattern_ledger(LIMITS, SPEC, now)
    step, before = HOLD, Spots.none()
    times, doses, lit, pixels = [now], [], [], []
    for asked, held in wild(seed):
        sent, _, ledger = gate_spots(asked, LIMITS, SPEC, ledger, now, HOLD)
        assert len(sent) <= LIMITS.spots_max
        assert np.all((sent.power >= 0) & (sent.power <= LIMITS.power_max))
        assert sent.power.sum() <= LIMITS.power_total * (1 + 1e-9)
        assert np.all(sent.radius <= LIMITS.radius_max)
        for who in range(6):
            rise = sent.power[sent.colloid == who].max(initial=0) - before.power[
                before.colloid == who
            ].max(initial=0)
            assert rise <= LIMITS.slew * step * (1 + 1e-9)
        image = render_spots(sent, SHAPE, 4.0) * (4.0 / 255)
        assert image.max() <= LIMITS.power_max
        doses.append([colloid_power(sent, who) for who in range(-1, 6)])
        lit.append([power > 0 for power in doses[-1]])
        pixels.append(image)
        before, step, now = sent, now + held - now, now + held
        times.append(now)
    lengths = np.diff(times)
    ends = np.array(times[1:])
    cells = np.pad(np.array(pixels), ((0, 0), (0, 0), (0, 7))).reshape(len(ends), 6, 10, 9, 10)
    cells = cells.max((2, 4))
    for end in range(len(ends)):
        inside = np.clip(ends - (ends[end] - LIMITS.window), 0, lengths)[: end + 1]
        assert np.all(inside @ np.array(doses)[: end + 1] <= LIMITS.dose_colloid + 1e-9)
        assert np.all(
            inside @ np.array(lit, float)[: end + 1] <= LIMITS.duty_max * LIMITS.window + 1e-9
        )
        dose = np.tensordot(inside, cells[: end + 1], 1)
        assert np.all(dose <= LIMITS.dose_area + 1e-9)


def test_the_wild_sequences_reach_every_limit():
    said = set()
    for seed in range(8):
        now, ledger = 0.0, open_pattern_ledger(LIMITS, SPEC, 0.0)
        for asked, held in wild(seed):
            now += held
            _, words, ledger = gate_spots(asked, LIMITS, SPEC, ledger, now, HOLD)
            said |= {part.split()[0].rstrip(":,") for part in words.split("; ") if part}
    assert said == {
        *("power_max", "power_total", "slew", "spots_max", "radius_max"),
        *("duty_max", "dose_colloid", "dose_area"),
    }


def test_what_is_within_all_limits_is_sent_as_it_is():
    rng = np.random.default_rng(0)
    now, ledger = 0.0, open_pattern_ledger(FREE, SPEC, 0.0)
    for _ in range(50):
        now += rng.uniform(0.001, HOLD)
        some = rng.integers(0, 20)
        asked = spots(
            rng.uniform(-20, 100, (some, 2)), rng.uniform(0, 3, some), rng.integers(-1, 9, some)
        )
        sent, words, ledger = gate_spots(asked, FREE, SPEC, ledger, now, HOLD)
        assert (sent is asked, words) == (True, "")


def test_summed_power_is_lowered_in_proportion_and_said():
    limits = replace(FREE, power_total=3.0)
    ledger = open_pattern_ledger(limits, SPEC, 0.0)
    asked = spots([[10, 10], [40, 40]], [1.0, 3.0], [1, 2])
    sent, words, _ = gate_spots(asked, limits, SPEC, ledger, 0.1, HOLD)
    assert np.allclose(sent.power, [0.75, 2.25])
    assert words == "power_total, all in proportion: 2 spots, summed power 4 to 3"


def test_a_colloid_that_was_lit_long_enough_stays_dark_and_others_do_not():
    limits = replace(FREE, duty_max=0.5)
    ledger = open_pattern_ledger(limits, SPEC, 0.0)
    one, two = spots([[20, 20]], [1.0], [1]), spots([[20, 20], [60, 40]], [1.0, 1.0], [1, 2])
    for now in np.arange(0.1, 1.3, 0.1):
        sent, words, ledger = gate_spots(one, limits, SPEC, ledger, now, HOLD)
        assert words == ""
    sent, words, ledger = gate_spots(two, limits, SPEC, ledger, 1.35, HOLD)
    assert np.array_equal(sent.power, [0.0, 1.0])
    assert words.startswith("duty_max 0.5, dark: 1 spots")


def test_a_dose_follows_the_colloid_and_an_area_does_not_forget_who_was_there():
    limits = replace(FREE, dose_colloid=1.0)
    ledger = open_pattern_ledger(limits, SPEC, 0.0)
    for index, now in enumerate(np.arange(0.1, 0.7, 0.1)):
        asked = spots([[10 + 10 * index, 20]], [1.0], [7])
        sent, words, ledger = gate_spots(asked, limits, SPEC, ledger, now, HOLD)
        assert words == ""
    ledger = settle_spots(ledger, limits, 0.7)
    sent, words, _ = gate_spots(spots([[70, 50]], [3.0], [7]), limits, SPEC, ledger, 0.8, HOLD)
    assert sent.power[0] == pytest.approx((1.0 - 0.6) / HOLD)
    assert words.startswith("dose_colloid 1:")

    limits = replace(FREE, dose_area=1.0)
    ledger = open_pattern_ledger(limits, SPEC, 0.0)
    for who, now in enumerate(np.arange(0.1, 0.7, 0.1)):  # a new identity at every frame
        asked = spots([[25, 25]], [1.0], [who], profile="even")
        sent, words, ledger = gate_spots(asked, limits, SPEC, ledger, now, HOLD)
        assert words == ""
    sent, words, _ = gate_spots(
        spots([[25, 25], [65, 45]], [3.0, 3.0], [98, 99]), limits, SPEC, ledger, 0.7, HOLD
    )
    assert sent.power[0] == pytest.approx((1.0 - 0.6) / HOLD)
    assert sent.power[1] == 3.0


def test_a_spot_for_nobody_rises_from_what_lies_under_it():
    limits = replace(FREE, slew=5.0)
    ledger = open_pattern_ledger(limits, SPEC, 0.0)
    for now, power in ((0.1, 0.5), (0.2, 1.0)):
        sent, _, ledger = gate_spots(spots([[20, 20]], [3], [-1]), limits, SPEC, ledger, now, HOLD)
        assert sent.power[0] == pytest.approx(power)
    sent, _, _ = gate_spots(spots([[50, 20]], [3], [-1]), limits, SPEC, ledger, 0.3, HOLD)
    assert sent.power[0] == pytest.approx(0.5)


def test_what_may_last_for_ever_is_never_cut():
    limits = replace(FREE, dose_colloid=9.0, dose_area=9.0)
    now, ledger = 3.7, open_pattern_ledger(limits, SPEC, 3.7)
    for _ in range(100):  # 3 mW for a window of 3 s
        now += 0.1
        asked = spots([[20, 20], [50, 30]], [3.0, 3.0], [1, -1])
        _, words, ledger = gate_spots(asked, limits, SPEC, ledger, now, HOLD)
        assert words == ""


@pytest.mark.parametrize(
    "change",
    [
        {"position": np.full((2, 2), np.nan)},
        {"power": np.array([1.0, np.nan])},
        {"power": np.array([1.0, np.inf])},
        {"radius": np.array([1.0, 0.0])},
        {"radius": np.array([1.0, 1e-200])},  # whose square is 0
        {"position": np.zeros((3, 2))},
        {"colloid": np.zeros(3, np.int64)},
        {"half": np.array([np.inf, 0.0])},
        {"half": np.zeros(1)},
        {"profile": "square"},
    ],
)
def test_what_does_not_fit_or_is_no_number_is_refused(change):
    bad = replace(spots([[1, 1], [2, 2]], [1, 1], [0, 1]), **change)
    with pytest.raises(CommandError):
        gate_spots(bad, LIMITS, SPEC, open_pattern_ledger(LIMITS, SPEC, 0.0), 0.1, HOLD)


def test_limits_that_do_not_fit_the_device_are_refused():
    check_pattern_limits(LIMITS, SPEC, HOLD, "light")
    large = replace(SPEC, shape=(1024, 1024))
    for limits, spec, why in (
        (LIMITS, replace(SPEC, shape=None), "needs a shape"),
        (replace(LIMITS, cell=1), large, "take larger ones"),
        (replace(LIMITS, spots_max=10**6), SPEC, "spots_max is at most"),
        (replace(LIMITS, duty_max=0.05), SPEC, "Lengthen the window"),
        (LIMITS, replace(SPEC, channels=(Channel("a", "mW", 0, 4, 1),)), "safe value of light"),
    ):
        with pytest.raises(ConfigError, match=why):
            check_pattern_limits(limits, spec, HOLD, "light")


def test_spots_are_drawn_as_their_formulas_say():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    one = spots([[30.3, 20.8]], [3.0], [0], 6.0)
    squared = (x - 30.3) ** 2 + (y - 20.8) ** 2
    wanted = 3.0 / 4.0 * 255 * np.exp(-2 * squared / 36.0)
    assert np.array_equal(render_spots(one, SHAPE, 4.0), np.floor(wanted))
    even = replace(one, profile="even")
    assert np.array_equal(render_spots(even, SHAPE, 4.0), np.where(squared <= 36, 191, 0))
    half = replace(even, half=np.array([np.pi / 2]))  # downwards
    assert np.array_equal(
        render_spots(half, SHAPE, 4.0), np.where((squared <= 36) & (y >= 20.8), 191, 0)
    )
    whole = replace(even, half=np.array([np.nan]))
    assert np.array_equal(render_spots(whole, SHAPE, 4.0), render_spots(even, SHAPE, 4.0))


def test_overlapping_spots_show_the_brighter_one_and_spots_outside_nothing():
    two = spots([[30, 30], [32, 30]], [1.0, 2.0], [0, 1])
    each = [
        render_spots(spots([p], [w], [0]), SHAPE, 4.0) for p, w in (((30, 30), 1), ((32, 30), 2))
    ]
    assert np.array_equal(render_spots(two, SHAPE, 4.0), np.maximum(*each))
    far = spots([[1e300, -1e300], [-40, 10], [30, 200]], [4.0] * 3, [0, 1, 2])
    assert not render_spots(far, SHAPE, 4.0).any()
    assert render_spots(spots([[0, 0]], [4.0], [0], 1e6), SHAPE, 4.0).min() == 254
