"""The gate of projected light: which spots may be sent of those that were asked. Pure functions.

What is sent may stay for `hold` s before the next order or darkness, so every limit over the window
counts what has been done and what is to be sent, for `hold` s more. Light may fall at once.
Overlapping spots do not add up: a pixel shows the brightest of them, see `pattern_image`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from swarmctl.bridge.devices.contract import OutputSpec
from swarmctl.bridge.orders import Spots
from swarmctl.bridge.supervisor.limits import PatternLimits
from swarmctl.bridge.supervisor.pattern_image import reach
from swarmctl.bridge.supervisor.windows import (
    Window,
    add_interval,
    allowed_rate,
    empty_window,
    window_sum,
)
from swarmctl.core.errors import CommandError, ConfigError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ROUNDING = 1e-9
"""Share by which a number may differ before it counts as cut."""
CELLS_MAX = 2**16
"""Cells whose dose is counted; more would not be counted in time."""
SPOTS_MAX = 2048
"""Spots of an order that are looked at; more would not be compared in time."""
RADIUS_MIN = 1e-3
"""px, the smallest radius: squares of much smaller ones are 0."""


@dataclass(frozen=True)
class PatternLedger:
    """What a pattern output has done.

    Attributes:
        time: s of time.monotonic(), until when it has been counted.
        spots: what it shows since then.
        light: [rows, columns], the brightest light of these in every cell.
        shape: rows and columns of the pattern.
        colloid: [M] rising identities of those that were lit within the window; light for none in
            particular, -1, counts as one colloid with its brightest spot.
        lit: time of light, [M].
        dose: power times time, [M].
        area: power times time on cells of the pattern, [rows, columns].
    """

    time: float
    spots: Spots
    light: Floats
    shape: tuple[int, int]
    colloid: Ints
    lit: Window
    dose: Window
    area: Window


def open_pattern_ledger(limits: PatternLimits, spec: OutputSpec, now: float) -> PatternLedger:
    """Return the ledger of a dark output. `count_spots` goes on with it."""
    assert spec.shape is not None
    rows, columns = _cells(spec.shape, limits.cell)
    return PatternLedger(
        now,
        Spots.none(),
        np.zeros((rows, columns)),
        spec.shape,
        np.zeros(0, np.int64),
        empty_window(limits.window, (0,), now),
        empty_window(limits.window, (0,), now),
        empty_window(limits.window, (rows, columns), now),
    )


def check_pattern_limits(limits: PatternLimits, spec: OutputSpec, hold: float, where: str) -> None:
    """Raise ConfigError unless limits and device fit together."""
    if spec.shape is None or len(spec.channels) != 1:
        raise ConfigError(f"{where}: a pattern needs a shape and one channel, see {spec}.")
    channel = spec.channels[0]
    if channel.safe != 0 or channel.high <= 0:
        raise ConfigError(
            f"{where}: the safe value of light is 0 and its highest positive, the device says "
            f"{channel.safe} and {channel.high} {channel.unit}."
        )
    if limits.spots_max > SPOTS_MAX:
        raise ConfigError(f"{where}: spots_max is at most {SPOTS_MAX}, got {limits.spots_max}.")
    rows, columns = _cells(spec.shape, limits.cell)
    if rows * columns > CELLS_MAX:
        raise ConfigError(
            f"{where}: cells of {limits.cell} px are {rows * columns}, more than {CELLS_MAX}; "
            "take larger ones."
        )
    if limits.duty_max < 1 and limits.duty_max * limits.window <= hold:
        raise ConfigError(
            f"{where}: duty_max of the window is {limits.duty_max * limits.window:g} s; an order "
            f"may hold for {hold:g} s, so nothing could ever be lit. Lengthen the window."
        )


def check_spots(spots: Spots) -> None:
    """Raise CommandError unless the arrays fit together and are finite."""
    count = len(spots.power)
    if count > SPOTS_MAX:
        raise CommandError(f"spots: {count} were asked, at most {SPOTS_MAX} are looked at.")
    for name, array, shape in (
        ("position", spots.position, (count, 2)),
        ("radius", spots.radius, (count,)),
        ("power", spots.power, (count,)),
        ("colloid", spots.colloid, (count,)),
    ):
        if np.shape(array) != shape:
            raise CommandError(f"spots: {name} has shape {np.shape(array)}, {shape} is needed.")
        if not np.isfinite(array).all():
            raise CommandError(f"spots: {name} is not finite.")
    if spots.half is not None and (np.shape(spots.half) != (count,) or np.isinf(spots.half).any()):
        raise CommandError(f"spots: half needs {count} angles, NaN for whole spots.")
    if spots.profile not in ("gaussian", "even"):
        raise CommandError(f"spots: profile is gaussian or even, got {spots.profile!r}.")
    if not np.all(spots.radius >= RADIUS_MIN):
        raise CommandError(f"spots: a radius is smaller than {RADIUS_MIN:g} px.")


def count_spots(ledger: PatternLedger, limits: PatternLimits, now: float) -> PatternLedger:
    """Count what the output has shown until now."""
    colloid, lit, dose = ledger.colloid, ledger.lit, ledger.dose
    shown = np.unique(ledger.spots.colloid)
    if not np.isin(shown, colloid).all():
        kept = colloid[window_sum(lit) > 0]
        union = np.union1d(kept, shown)
        lit, dose = (_rows(window, colloid, union) for window in (lit, dose))
        colloid = union
    power = _power_of(ledger.spots, colloid)
    return replace(
        ledger,
        time=max(now, ledger.time),
        colloid=colloid,
        lit=add_interval(lit, ledger.time, now, (power > 0).astype(float)),
        dose=add_interval(dose, ledger.time, now, power),
        area=add_interval(ledger.area, ledger.time, now, ledger.light),
    )


def settle_spots(ledger: PatternLedger, limits: PatternLimits, now: float) -> PatternLedger:
    """Return the ledger of an output that is dark from now on."""
    return _showing(count_spots(ledger, limits, now), Spots.none(), limits)


def gate_spots(
    asked: Spots,
    limits: PatternLimits,
    spec: OutputSpec,
    ledger: PatternLedger,
    now: float,
    hold: float,
) -> tuple[Spots, str, PatternLedger]:
    """Return (what may be sent, what was cut and by which limit, the ledger with it).

    `hold` is the longest time in s that what is sent may stay. The words are "" if nothing was cut.
    Raises CommandError for arrays that do not fit together or are not finite.
    """
    check_spots(asked)
    step = min(max(now - ledger.time, 0.0), hold)
    before = ledger.spots
    ledger = count_spots(ledger, limits, now)
    words: list[str] = []
    spots = asked
    if len(spots) > limits.spots_max:
        words.append(f"spots_max: the first {limits.spots_max} of {len(spots)} spots")
        spots = _first(spots, limits.spots_max)
    if len(spots) == 0:
        return spots, "; ".join(words), _showing(ledger, spots, limits)
    if np.any(spots.radius > limits.radius_max):
        words.append(
            f"radius_max: {int(np.sum(spots.radius > limits.radius_max))} radii to "
            f"{limits.radius_max:g} px"
        )
        spots = replace(spots, radius=np.minimum(spots.radius, limits.radius_max))

    power = np.asarray(spots.power, dtype=float)

    def cut(after: Floats, why: str) -> Floats:
        """Note how many spots were cut."""
        changed = np.abs(after - power) > ROUNDING * np.abs(power)
        if changed.any():
            words.append(
                f"{why}: {int(changed.sum())} spots, summed power {power.sum():.6g} to "
                f"{after.sum():.6g}"
            )
        return after

    most = min(limits.power_max, spec.channels[0].high)
    power = cut(np.clip(power, 0.0, most), f"power_max {most:g}")
    power = cut(np.minimum(power, _power_before(spots, before) + limits.slew * step), "slew")
    summed = float(power.sum())
    if summed > limits.power_total:
        power = cut(power * (limits.power_total / summed), "power_total, all in proportion")
    for limit in (_duty_share, _dose_share):
        share, why = limit(replace(spots, power=power), limits, ledger, hold)
        power = cut(power * share, why)
    spots = replace(spots, power=power) if words else asked
    ledger = _showing(ledger, spots, limits)
    left = allowed_rate(ledger.area, limits.dose_area, hold)
    if np.any(ledger.light > left):
        power = cut(
            power * _area_share(spots, left, ledger, limits), f"dose_area {limits.dose_area:g}"
        )
        spots = replace(spots, power=power)
        ledger = _showing(ledger, spots, limits)
    return spots, "; ".join(words), ledger


def _showing(ledger: PatternLedger, spots: Spots, limits: PatternLimits) -> PatternLedger:
    """Return the ledger of an output that shows some spots from now on."""
    return replace(ledger, spots=spots, light=cell_light(spots, ledger.shape, limits.cell))


def _duty_share(
    spots: Spots, limits: PatternLimits, ledger: PatternLedger, hold: float
) -> tuple[Floats, str]:
    if limits.duty_max >= 1:
        return np.ones(len(spots)), ""
    lit = _of_colloids(window_sum(ledger.lit), ledger.colloid, spots.colloid)
    allowed = lit + hold <= limits.duty_max * limits.window
    return allowed.astype(float), f"duty_max {limits.duty_max:g}, dark"


def _dose_share(
    spots: Spots, limits: PatternLimits, ledger: PatternLedger, hold: float
) -> tuple[Floats, str]:
    colloid = np.unique(spots.colloid)
    power = _power_of(spots, colloid)
    fresh = max(limits.dose_colloid / hold, limits.dose_colloid / limits.window)
    allowed = allowed_rate(ledger.dose, limits.dose_colloid, hold)
    share = _share(_of_colloids(allowed, ledger.colloid, colloid, fresh), power)
    return share[np.searchsorted(colloid, spots.colloid)], f"dose_colloid {limits.dose_colloid:g}"


def _area_share(spots: Spots, left: Floats, ledger: PatternLedger, limits: PatternLimits) -> Floats:
    """Share of every spot with which no cell gets more light than is left, [rows, columns]."""
    of_cell = _share(left, ledger.light)
    spot, row, column, _ = _touched(spots, ledger.shape, limits.cell)
    share = np.ones(len(spots))
    np.minimum.at(share, spot, of_cell[row, column])
    return share


def _share(allowed: Floats, wanted: Floats) -> Floats:
    """Return the largest share, at most 1, of what is wanted that is allowed."""
    result: Floats = np.ones_like(wanted)
    np.divide(allowed, wanted, out=result, where=wanted > allowed)
    return result


def cell_light(spots: Spots, shape: tuple[int, int], cell: int) -> Floats:
    """Return the brightest light in every cell of the pattern, [rows, columns].

    It is the light at the point of the cell that is nearest to the middle of the spot; the dark
    half of a spot counts as lit.
    """
    result = np.zeros(_cells(shape, cell))
    _, row, column, light = _touched(spots, shape, cell)
    np.maximum.at(result, (row, column), light)
    return result


def _touched(spots: Spots, shape: tuple[int, int], cell: int) -> tuple[Ints, Ints, Ints, Floats]:
    """Return (spot, row, column, brightest light) of all pairs of a spot and a cell it touches."""
    rows, columns = _cells(shape, cell)
    if len(spots) == 0:
        none = np.zeros(0, np.int64)
        return none, none, none, np.zeros(0)
    extent = reach(spots.radius, spots.profile)
    side = int(np.ceil(2 * min(float(extent.max()), float(max(shape))) / cell)) + 2
    first = np.floor(np.clip(spots.position - extent[:, None], -1e9, 1e9) / cell).astype(np.int64)
    if np.any(extent > max(shape)):  # such a spot may begin far outside, and reach everywhere
        first = np.where(extent[:, None] > max(shape), np.maximum(first, 0), first)
    offset = np.arange(side)
    column = first[:, 0, None] + offset
    row = first[:, 1, None] + offset
    across = _gap(spots.position[:, 0, None], column * cell, cell)
    down = _gap(spots.position[:, 1, None], row * cell, cell)
    squared = down[:, :, None] ** 2 + across[:, None, :] ** 2
    radius = spots.radius[:, None, None]
    if spots.profile == "gaussian":
        light = spots.power[:, None, None] * np.exp(-2 * squared / radius**2)
    else:
        light = spots.power[:, None, None] * (squared <= radius**2)
    light = np.where(squared <= extent[:, None, None] ** 2, light, 0.0)
    inside = ((row >= 0) & (row < rows))[:, :, None] & ((column >= 0) & (column < columns))[
        :, None, :
    ]
    spot, i, j = np.nonzero(inside & (light > 0))
    return spot, row[spot, i], column[spot, j], light[spot, i, j]


def _gap(point: Floats, edge: Ints, cell: int) -> Floats:
    """Distance from points to the pixels' middles of cells that begin at `edge`."""
    distance: Floats = np.maximum(np.maximum(edge - point, point - (edge + cell - 1)), 0.0)
    return distance


def _cells(shape: tuple[int, int], cell: int) -> tuple[int, int]:
    return -(-shape[0] // cell), -(-shape[1] // cell)


def _first(spots: Spots, count: int) -> Spots:
    return Spots(
        spots.position[:count],
        spots.radius[:count],
        spots.power[:count],
        spots.colloid[:count],
        spots.profile,
        None if spots.half is None else spots.half[:count],
    )


def _power_of(spots: Spots, colloid: Ints) -> Floats:
    """Power on each of some rising identities, [M]: the sum of its spots, of -1 the brightest."""
    power = np.zeros(len(colloid))
    row = np.searchsorted(colloid, spots.colloid)
    someone = spots.colloid >= 0
    np.add.at(power, row[someone], spots.power[someone])
    np.maximum.at(power, row[~someone], spots.power[~someone])
    return power


def _power_before(spots: Spots, before: Spots) -> Floats:
    """Power that each spot had: that of its colloid, else of the last spot in whose reach it is."""
    result = np.zeros(len(spots))
    if len(before) == 0:
        return result
    same = (spots.colloid[:, None] == before.colloid) & (spots.colloid >= 0)[:, None]
    free = (spots.colloid[:, None] < 0) & (before.colloid < 0)
    apart = np.hypot(*(spots.position[:, None] - before.position).transpose(2, 0, 1))
    match = same | (free & (apart <= before.radius))
    result = np.where(match, before.power, 0.0).max(1)
    return result


def _of_colloids(total: Floats, colloid: Ints, asked: Ints, fresh: float = 0.0) -> Floats:
    """Return what is known of some identities, `fresh` for those that are not in the table."""
    if len(colloid) == 0:
        return np.full(len(asked), fresh)
    row = np.minimum(np.searchsorted(colloid, asked), len(colloid) - 1)
    return np.where(colloid[row] == asked, total[row], fresh)


def _rows(window: Window, colloid: Ints, union: Ints) -> Window:
    """Return a window over other identities; what is new in it has done nothing."""
    bins = np.zeros((len(window.bins), len(union)))
    peaks = np.zeros_like(bins)
    kept = np.isin(colloid, union)
    column = np.searchsorted(union, colloid[kept])
    bins[:, column], peaks[:, column] = window.bins[:, kept], window.peaks[:, kept]
    return replace(window, bins=bins, peaks=peaks)
