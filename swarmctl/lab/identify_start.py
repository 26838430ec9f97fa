"""Where a fit with headings begins: least squares on a grid of delays, and the law of light."""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares

from swarmctl.core.errors import ConfigError
from swarmctl.lab.programme import Programme
from swarmctl.lab.response import Response, Values, light_speed

BINS = 8
"""Of the power, in each of which a speed is found."""


def starting_values(response: Response, longest: float) -> tuple[dict[str, float], dict[str, str]]:
    """Values to begin the fit of a species with whose heading is seen, with delays looked for up to
    `longest` s; and why some parameters cannot be told.

    Raises ConfigError if light was commanded, but never above 0.
    """
    values = {"drift_x": 0.0, "drift_y": 0.0, "turn_bias": 0.0, "delay": 0.0}
    if response.speed is not None:
        values["speed_gain"] = 1.0
    if response.turn_rate is not None:
        values["turn_gain"] = 1.0
    if response.power is not None:
        values |= {"slope": 1.0, "threshold": 0.0, "speed_max": np.inf}
    if response.steers:
        values["steering"] = 0.0
    if not (response.swims or response.turns):
        del values["delay"]
        return values, {"delay": "nothing was commanded"}
    step = float(np.median(response.stretches.interval))
    grid = np.arange(0.0, longest + step / 2, step)
    tried = [_least_squares(response, values | {"delay": float(delay)}) for delay in grid]
    values = max(tried, key=lambda found: found[0])[1]
    if response.power is not None:
        values |= _light_law(response, values)
    return values, {}


def _least_squares(response: Response, values: Values) -> tuple[float, dict[str, float]]:
    """Likelihood in white noise, and values with gains by least squares at the given delay."""
    s, found, score = response.stretches, dict(values), 0.0
    assert s.heading is not None
    director = response.directors(values, s.heading[s.node], s.turn)
    ways = {
        name: response.swim({**values, "speed_gain": 0.0, "slope": 0.0, name: 1.0}, director)
        for name in ("speed_gain", "slope")
        if name in values
    }
    turns = {}
    if "turn_gain" in values:
        turns["turn_gain"] = response.commanded_turn(values["delay"])[:, None]
    if "steering" in values:
        turns["steering"] = response.steered(values, director)[:, None]
    for target, columns in ((s.displacement, ways), (s.turn[:, None], turns)):
        if columns:
            design = np.stack([column.ravel() for column in columns.values()], axis=1)
            gains, *_ = np.linalg.lstsq(design, target.ravel(), rcond=None)
            left = target.ravel() - design @ gains
            score -= 0.5 * len(left) * float(np.log(np.mean(left**2)))
            found |= dict(zip(columns, gains.tolist(), strict=True))
    return score, found


def _light_law(response: Response, values: Values) -> dict[str, float]:
    """Slope, threshold and saturation from speeds in bins of the power."""
    assert response.power is not None
    s, power = response.stretches, response.power
    assert s.heading is not None
    director = response.directors(values, s.heading[s.node], s.turn)
    lit = power.value[power.value > 0]
    if not lit.size:
        raise ConfigError("identify: power was commanded, but never above 0; record with light.")
    edges = np.unique(np.quantile(lit, np.linspace(0, 1, BINS + 1)))
    which = np.clip(np.searchsorted(edges, power.value, side="right") - 1, 0, len(edges) - 2)
    which = np.where(power.value > 0, which, -1)
    columns, centres = [], []
    for number in range(max(len(edges) - 1, 1)):
        own = Response(s, Programme(power.edge, 1.0 * (which == number)), None, None, None, False)
        columns.append(own.swim({"speed_gain": 1.0, "delay": values["delay"]}, director).ravel())
        centres.append(float(power.value[which == number].mean()))
    speed, *_ = np.linalg.lstsq(np.stack(columns, axis=1), s.displacement.ravel(), rcond=None)
    most = float(power.value.max())

    top = max(float(np.max(speed)), 1e-9)

    def miss(law: np.ndarray) -> np.ndarray:
        trial = dict(zip(("slope", "threshold", "speed_max"), law.tolist(), strict=True))
        return light_speed(np.asarray(centres), trial, response.smooth) - speed

    guess = np.array([1.5 * top / most, 0.05 * most, 1.02 * top])
    bounds = ([0.0, -np.inf, 0.0], np.inf)
    slope, threshold, speed_max = least_squares(miss, guess, bounds=bounds, x_scale=guess).x
    return {"slope": float(slope), "threshold": float(threshold), "speed_max": float(speed_max)}
