"""No sequence of orders leads values beyond their limits; what is within them is unchanged."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from swarmctl.bridge.devices.contract import Channel
from swarmctl.bridge.orders import Values
from swarmctl.bridge.supervisor.limits import ValueLimits
from swarmctl.bridge.supervisor.value_gate import (
    check_value_limits,
    gate_values,
    open_value_ledger,
    settle_values,
)
from swarmctl.core.errors import CommandError, ConfigError

CHANNELS = (
    Channel("x", "A", -5.0, 5.0, 0.0),
    Channel("y", "A", -2.0, 8.0, 0.5),
    Channel("z", "V", 0.0, 10.0, 1.0),
)
SAFE = np.array([0.0, 0.5, 1.0])
LIMITS = ValueLimits(
    low=(-4.0, -3.0, 0.0),
    high=(4.0, 4.0, 6.0),
    slew=(20.0, 50.0, 8.0),
    total=7.0,
    window=2.0,
    duty_max=0.6,
    square=(3.0, 2.0, 9.0),
)
HOLD = 0.3
FREE = replace(LIMITS, duty_max=1.0, square=(1e6,) * 3, slew=(1e6,) * 3)


def wild(seed, count=300):
    """Orders as bad as they come: noise of any size, steps, ends of the range, long holds."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(4)
    for index in range(count):
        if kind == 0:
            asked = rng.normal(size=3) * 10.0 ** rng.uniform(-3, 6)
        elif kind == 1:
            asked = rng.choice([-1e300, 1e300, 0.0], 3)
        elif kind == 2:
            asked = np.array([5.0, 8.0, 10.0]) * (1 if index % 40 < 30 else -1)
        else:
            asked = SAFE + rng.uniform(-3, 3, 3) * (rng.random() < 0.5)
        yield asked, rng.choice([1e-4, 0.005, 0.05, HOLD]) * rng.uniform(0.5, 1.0)


@pytest.mark.parametrize("seed", range(8))
def test_no_sequence_of_orders_exceeds_a_limit(seed):
    now = 1000.0 + seed / 7
    ledger = open_value_ledger(LIMITS, CHANNELS, now)
    before, step = SAFE, HOLD
    times, sent = [now], []
    for asked, held in wild(seed):
        values, _, ledger = gate_values(Values(asked), LIMITS, CHANNELS, ledger, now, HOLD)
        value = values.value
        low = np.maximum(LIMITS.low, [c.low for c in CHANNELS])
        high = np.minimum(LIMITS.high, [c.high for c in CHANNELS])
        assert np.all((value >= low) & (value <= high))
        assert np.abs(value - SAFE).sum() <= LIMITS.total * (1 + 1e-9)
        assert np.all(np.abs(value - before) <= np.array(LIMITS.slew) * step * (1 + 1e-9) + 1e-12)
        sent.append(value)
        before, step, now = value, now + held - now, now + held
        times.append(now)
    lengths = np.diff(times)
    away = np.abs(np.array(sent) - SAFE)
    for end in range(1, len(times)):
        # A window that ends when an order ends; its oldest order is cut by the window's start.
        inside = np.clip(np.array(times[1:]) - (times[end] - LIMITS.window), 0, lengths)[:end]
        assert np.all((away[:end] ** 2 * inside[:, None]).sum(0) <= np.array(LIMITS.square) + 1e-9)
        lit = inside[(away[:end] > 0).any(1)].sum()
        assert lit <= LIMITS.duty_max * LIMITS.window + 1e-9


def test_what_is_within_all_limits_is_sent_bit_for_bit():
    rng = np.random.default_rng(3)
    now = 17.3
    ledger = open_value_ledger(FREE, CHANNELS, now)
    for _ in range(200):
        now += rng.uniform(0.001, HOLD)
        asked = SAFE + rng.uniform(-1, 1, 3) * [4.0, 2.4, 0.5]
        values, words, ledger = gate_values(Values(asked), FREE, CHANNELS, ledger, now, HOLD)
        assert words == ""
        assert np.array_equal(values.value, asked)


def test_a_sum_that_is_too_large_is_lowered_in_proportion_and_said():
    ledger = open_value_ledger(FREE, CHANNELS, 0.0)
    asked = SAFE + np.array([4.0, 3.0, 3.0])
    values, words, _ = gate_values(Values(asked), FREE, CHANNELS, ledger, 0.1, HOLD)
    assert np.allclose(values.value - SAFE, 0.7 * (asked - SAFE))
    assert words.startswith("total, all in proportion: x 4 to 2.8, y 3.5 to 2.6, z 4 to 3.1")


def test_each_limit_is_named_with_the_channel_and_both_values():
    for limits, asked, said in (
        (FREE, [9.0, 0.5, 1.0], "amplitude: x 9 to 4"),
        (replace(FREE, slew=(10.0, 1e6, 1e6)), [4.0, 0.5, 1.0], "slew: x 4 to 1"),
        (replace(FREE, slew=(4.0,) * 3, duty_max=0.25), [2.0, 0.5, 1.0], "duty: x 2 to 0.8; slew"),
    ):
        ledger = open_value_ledger(limits, CHANNELS, 0.0)
        _, words, _ = gate_values(Values(np.array(asked)), limits, CHANNELS, ledger, 0.1, HOLD)
        assert words.startswith(said)
    tight = replace(FREE, square=(0.3, 1e6, 1e6))
    values, words, _ = gate_values(
        Values(np.array([4.0, 0.5, 1.0])),
        tight,
        CHANNELS,
        open_value_ledger(tight, CHANNELS, 0.0),
        0.1,
        HOLD,
    )
    # d²·hold + d³/3s = R with a slew so large that only the first term counts.
    assert values.value[0] == pytest.approx(1.0, rel=1e-5)
    assert words == "square: x 4 to 0.999999"


def test_channels_that_rise_wait_for_those_that_come_down_slowly():
    limits = replace(FREE, total=4.0, slew=(1e3, 1e3, 1.0))
    ledger = open_value_ledger(limits, CHANNELS, 0.0)
    ledger = replace(ledger, value=SAFE + np.array([0.0, 0.0, 4.0]))
    values, words, _ = gate_values(
        Values(SAFE + np.array([4.0, 0.0, 0.0])), limits, CHANNELS, ledger, 0.1, HOLD
    )
    assert np.allclose(values.value - SAFE, [0.1, 0.0, 3.9])
    assert "slew" in words


def test_what_may_last_for_ever_is_never_cut():
    limits = replace(FREE, low=(-3.0,) * 3, high=(3.0,) * 3, square=(18.0, 18.0, 18.0))
    now, ledger = 3.7, open_value_ledger(limits, CHANNELS, 3.7)
    for _ in range(300):  # 3² for a window of 2 s is 18
        now += 0.05
        asked = Values(SAFE + np.array([3.0, 0.0, 0.0]))
        _, words, ledger = gate_values(asked, limits, CHANNELS, ledger, now, HOLD)
        assert words == ""


@pytest.mark.parametrize("value", [[np.nan, 0, 0], [0, np.inf, 0], [0, 0], [[0, 0, 0]]])
def test_what_is_no_number_or_no_vector_is_refused(value):
    ledger = open_value_ledger(LIMITS, CHANNELS, 0.0)
    with pytest.raises(CommandError):
        gate_values(Values(np.array(value, float)), LIMITS, CHANNELS, ledger, 0.1, HOLD)


def test_a_settled_output_keeps_what_it_has_used():
    limits = replace(FREE, square=(0.5, 1e6, 1e6))
    ledger = open_value_ledger(limits, CHANNELS, 0.0)
    ask = Values(np.array([1.0, 0.5, 1.0]))
    for now in (0.1, 0.3):
        values, _, ledger = gate_values(ask, limits, CHANNELS, ledger, now, HOLD)
    assert values.value[0] == pytest.approx(1.0)
    ledger = settle_values(ledger, 0.5)
    values, words, ledger = gate_values(ask, limits, CHANNELS, ledger, 0.6, HOLD)
    assert values.value[0] == pytest.approx(np.sqrt((0.5 - 0.4) / HOLD), rel=1e-4)
    assert words.startswith("square")
    values, words, _ = gate_values(ask, limits, CHANNELS, settle_values(ledger, 0.6), 9.0, HOLD)
    assert (values.value[0], words) == (1.0, "")


def test_limits_that_do_not_fit_the_device_are_refused():
    check_value_limits(LIMITS, CHANNELS, HOLD, "coils")
    for limits, channels, why in (
        (LIMITS, CHANNELS[:2], "3 channels, the device has 2"),
        (replace(LIMITS, low=(1.0, -3.0, 0.0)), CHANNELS, "safe value 0.0 A of x"),
        (replace(LIMITS, duty_max=0.1), CHANNELS, "Lengthen the window"),
    ):
        with pytest.raises(ConfigError, match=why):
            check_value_limits(limits, channels, HOLD, "coils")


def test_the_parameters_of_the_wild_sequences_reach_every_limit():
    # Otherwise the first test would say little.
    said = set()
    for seed in range(8):
        ledger, now = open_value_ledger(LIMITS, CHANNELS, 0.0), 0.0
        for asked, held in itertools.islice(wild(seed), 200):
            now += held
            _, words, ledger = gate_values(Values(asked), LIMITS, CHANNELS, ledger, now, HOLD)
            said |= {part.partition(":")[0].partition(",")[0] for part in words.split("; ")}
    assert said >= {"amplitude", "total", "duty", "square", "slew"}
