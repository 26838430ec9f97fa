"""The gate of value outputs: what may be sent of what was asked. Pure functions.

Distances d are those of channels from their safe values. What is sent may stay for `hold` s before
the next order or the safe values, and comes down no faster than its slew s allows. So with R of an
integral ∫d²dt left, |d| is kept below the root of d²·hold + d³/3s = R, and with T of the time away
from the safe values left, below s·(T − hold): then a later order can always obey all limits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.devices.contract import Channel
from swarmctl.bridge.orders import Values
from swarmctl.bridge.supervisor.limits import ValueLimits
from swarmctl.bridge.supervisor.windows import Window, add_interval, empty_window, window_sum
from swarmctl.core.errors import CommandError, ConfigError

Floats = npt.NDArray[np.float64]
ROUNDING = 1e-9
"""Share by which a number may differ before it counts as cut."""


@dataclass(frozen=True)
class ValueLedger:
    """What a value output has done.

    Attributes:
        time: s of time.monotonic(), until when it has been counted.
        value: [C] what it does since then.
        safe: [C] its safe values.
        away: time away from them, [].
        square: integrals of squared distances from them, [C].
    """

    time: float
    value: Floats
    safe: Floats
    away: Window
    square: Window


def open_value_ledger(
    limits: ValueLimits, channels: tuple[Channel, ...], now: float
) -> ValueLedger:
    """Return the ledger of an output at its safe values. `count_values` goes on with it."""
    safe = np.array([channel.safe for channel in channels])
    return ValueLedger(
        now,
        safe,
        safe,
        empty_window(limits.window, (), now),
        empty_window(limits.window, safe.shape, now),
    )


def check_value_limits(
    limits: ValueLimits, channels: tuple[Channel, ...], hold: float, where: str
) -> None:
    """Raise ConfigError unless limits and channels fit together."""
    if len(limits.low) != len(channels):
        raise ConfigError(
            f"{where}: limits are for {len(limits.low)} channels, the device has {len(channels)}: "
            f"{', '.join(channel.name for channel in channels)}."
        )
    for low, high, channel in zip(limits.low, limits.high, channels, strict=True):
        if not max(low, channel.low) <= channel.safe <= min(high, channel.high):
            raise ConfigError(
                f"{where}: the safe value {channel.safe} {channel.unit} of {channel.name} is not "
                f"within its limits {low} to {high} and its range {channel.low} to {channel.high}."
            )
    if limits.duty_max < 1 and limits.duty_max * limits.window <= hold:
        raise ConfigError(
            f"{where}: duty_max of the window is {limits.duty_max * limits.window:g} s; an order "
            f"may hold for {hold:g} s, so nothing could ever be sent. Lengthen the window."
        )


def check_values(values: Values, count: int) -> None:
    """Raise CommandError unless there is one finite value for each channel."""
    if np.shape(values.value) != (count,):
        raise CommandError(f"values of shape {np.shape(values.value)} were asked, not {(count,)}.")
    if not np.isfinite(values.value).all():
        raise CommandError(f"a value that is not finite was asked: {values.value.tolist()}.")


def count_values(ledger: ValueLedger, now: float) -> ValueLedger:
    """Count what the output has done until now."""
    distance = ledger.value - ledger.safe
    away = np.array(1.0 if np.any(distance) else 0.0)
    return replace(
        ledger,
        time=max(now, ledger.time),
        away=add_interval(ledger.away, ledger.time, now, away),
        square=add_interval(ledger.square, ledger.time, now, distance**2),
    )


def settle_values(ledger: ValueLedger, now: float) -> ValueLedger:
    """Return the ledger of an output that is at its safe values from now on."""
    return replace(count_values(ledger, now), value=ledger.safe)


def gate_values(
    asked: Values,
    limits: ValueLimits,
    channels: tuple[Channel, ...],
    ledger: ValueLedger,
    now: float,
    hold: float,
) -> tuple[Values, str, ValueLedger]:
    """Return (what may be sent, what was cut and by which limit, the ledger with it).

    `hold` is the longest time in s that what is sent may stay. The words are "" if nothing was cut.
    Raises CommandError for another number of values, or one that is not finite.
    """
    check_values(asked, len(channels))
    wanted = np.asarray(asked.value, dtype=float)
    words: list[str] = []
    step = min(max(now - ledger.time, 0.0), hold)
    ledger = count_values(ledger, now)
    low = np.maximum(limits.low, [channel.low for channel in channels]) - ledger.safe
    high = np.minimum(limits.high, [channel.high for channel in channels]) - ledger.safe
    names = [channel.name for channel in channels]

    def cut(before: Floats, after: Floats, why: str) -> Floats:
        """Note which channels were cut."""
        scale = np.maximum(np.abs(before), np.abs(after))
        changed = np.abs(after - before) > ROUNDING * scale
        if changed.any():
            which = ", ".join(
                f"{name} {value:.6g} to {sent:.6g}"
                for name, value, sent, yes in zip(
                    names, before + ledger.safe, after + ledger.safe, changed, strict=True
                )
                if yes
            )
            words.append(f"{why}: {which}")
        return after

    target = wanted - ledger.safe
    target = cut(target, np.clip(target, low, high), "amplitude")
    summed = np.abs(target).sum()
    if summed > limits.total:
        target = cut(target, target * (limits.total / summed), "total, all in proportion")
    slew = np.asarray(limits.slew)
    if limits.duty_max < 1:
        left = limits.duty_max * limits.window - float(window_sum(ledger.away)) - hold
        most = slew * max(left, 0.0)
        target = cut(target, np.clip(target, -most, most), "duty")
    square_cap = _square_cap(ledger.square, np.asarray(limits.square), slew, hold)
    target = cut(target, np.clip(target, -square_cap, square_cap), "square")
    current = ledger.value - ledger.safe
    reached = current + np.clip(target - current, -slew * step, slew * step)
    reached = cut(target, _keep_total(current, reached, limits.total), "slew")
    if not words:
        return asked, "", replace(ledger, value=wanted)
    sent = np.clip(reached + ledger.safe, low + ledger.safe, high + ledger.safe)  # rounding
    return Values(sent), "; ".join(words), replace(ledger, value=sent)


def _square_cap(window: Window, most: Floats, slew: Floats, hold: float) -> Floats:
    """Return the largest distances [C] with which the integrals stay at most `most` [C].

    That is the root of d²·hold + d³/3·slew = R, found by bisection; or what can last for ever,
    where nothing in the window was larger.
    """
    left = np.maximum(most - window_sum(window), 0.0)
    low, high = np.zeros_like(left), np.sqrt(left / hold)
    for _ in range(50):
        middle = (low + high) / 2
        fits = middle**2 * hold + middle**3 / (3 * slew) <= left
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    for_ever = most / window.span
    never_higher = window.peaks.max(0) <= for_ever
    cap: Floats = np.where(never_higher, np.maximum(low, np.sqrt(for_ever)), low)
    return cap


def _keep_total(current: Floats, reached: Floats, total: float) -> Floats:
    """Shorten the steps of channels that go away from safe so that the sum stays below `total`.

    While some come down no faster than their slew, others may have to wait for them. The sum is
    convex along the step, so a linear share of it is on the safe side.
    """
    away = np.abs(reached) > np.abs(current)
    before = np.where(away, np.abs(current), np.abs(reached)).sum()
    after = np.abs(reached).sum()
    if after <= total or after <= before:
        return reached
    share = max(total - before, 0.0) / (after - before)
    shortened: Floats = np.where(away, current + share * (reached - current), reached)
    return shortened
