"""How commands move colloids whose heading is seen: expected displacements and turns of intervals.

With the commands c_v, c_ω, power P and spot offset d, all delayed by τ,

    v(t) = g_v c_v(t-τ) + f(P(t-τ)),   f(P) = slope max(P - threshold, 0), saturating at speed_max
    E Δr = ∫ v n̂ dt + u Δ
    E Δθ = ∫ [g_ω c_ω(t-τ) + κ f(P(t-τ)) (n̂ × d(t-τ))] dt + b Δ,   κ = steering/a²

(the laws of `swarmctl.physics.actuator`, without its rise and fall times). Integrals of commands
are exact for any delay and any intervals; n̂ is taken in the middle of quarters of an interval, on a
straight path of θ between two frames plus what the turn commands make of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from swarmctl.lab.programme import Moments, Programme, integral_at, moments
from swarmctl.lab.stretches import Stretches

PARTS = 4
"""Parts of an interval in each of which the heading is taken as constant."""
TURNING_PARTS = 2
"""Parts of an interval in each of which the pull of a spot is taken as constant."""

Values = Mapping[str, float]


@dataclass(frozen=True)
class Response:
    """One species, and the commands that it was given; None for a channel that was not used."""

    stretches: Stretches
    speed: Programme | None
    turn_rate: Programme | None
    power: Programme | None
    spot_offset: Programme | None
    smooth: bool
    _located: dict[tuple[int, int, int], tuple[float, Moments]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def swims(self) -> bool:
        """Whether swimming was commanded."""
        return self.speed is not None or self.power is not None

    @property
    def steers(self) -> bool:
        """Whether turning by the offset of a spot was commanded."""
        return self.power is not None and self.spot_offset is not None

    @property
    def turns(self) -> bool:
        """Whether turning was commanded, one way or the other."""
        return self.turn_rate is not None or self.steers

    def speeds(self, values: Values) -> Programme | None:
        """True speed over time, without delay; None without commands to swim."""
        total: Programme | None = None
        if self.speed is not None:
            total = Programme(self.speed.edge, values["speed_gain"] * self.speed.value)
        if self.power is not None:
            lit = light_speed(self.power.value, values, self.smooth)
            total = Programme(self.power.edge, lit if total is None else total.value + lit)
        return total

    def _integrals(self, programme: Programme, delay: float, parts: int) -> np.ndarray:
        """∫ of a programme up to the ends of the parts of all intervals [K,parts+1,...], delayed.

        Only the delay moves these moments, so that those of the last delay are kept.
        """
        key = (id(programme.edge), programme.value.shape[1], parts)
        found = self._located.get(key)
        if found is None or found[0] != delay:
            s = self.stretches
            ends = s.start[:, None] + np.linspace(0, 1, parts + 1) * s.interval[:, None]
            slots = programme.value.shape[1]
            found = delay, moments(programme.edge, slots, s.slot[:, None], ends - delay)
            self._located[key] = found
        return integral_at(programme, programme.integral, found[1])

    def directors(self, values: Values, begin: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """n̂ [K,PARTS,2] in the middle of the parts.

        begin [K] rad is the heading at the start of every interval, turn [K] rad what it turns by.
        """
        share = (np.arange(PARTS) + 0.5) / PARTS
        angle = begin[:, None] + share * turn[:, None]
        if self.turn_rate is not None:
            # Every other end of twice as many parts is the middle of one.
            done = self._integrals(self.turn_rate, values["delay"], 2 * PARTS)
            done = values["turn_gain"] * (done - done[:, :1])
            angle += done[:, 1::2] - share * done[:, -1:]
        return np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    def swim(self, values: Values, director: np.ndarray) -> np.ndarray:
        """∫ v n̂ dt [K,2] µm over the intervals; 0 without commands to swim."""
        speeds = self.speeds(values)
        if speeds is None:
            return np.zeros((len(self.stretches), 2))
        ways = np.diff(self._integrals(speeds, values["delay"], PARTS), axis=1)
        return np.einsum("km,kmd->kd", ways, director)

    def turning(
        self, values: Values, begin: np.ndarray, sharpness: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """What commands turn by [K] rad from the headings `begin` [K] rad on, and its slope: how
        far apart [K] two colloids end that begin a unit apart.

        In every half of an interval the pull of a spot is constant. It turns n̂ by the exact
        solution 2 atan(h sin γ / (1 + h cos γ)) of γ' = -c sin γ with h = tanh(∫c dt / 2), γ being
        the angle from n̂ to the spot. `sharpness` is E cos of what is not known of the heading.
        """
        kept = np.ones(len(self.stretches))
        if self.turn_rate is None:
            commanded = np.zeros((len(self.stretches), TURNING_PARTS))
        else:
            done = self._integrals(self.turn_rate, values["delay"], TURNING_PARTS)
            commanded = values["turn_gain"] * np.diff(done, axis=1)
        if not self.steers:
            return commanded.sum(axis=1), kept
        total = np.zeros(len(self.stretches))
        pull = sharpness * values["steering"] * self._pull(values, TURNING_PARTS)
        for part in range(TURNING_PARTS):
            total += commanded[:, part] / 2
            across, along = _components(begin + total, pull[:, part])
            strength = np.maximum(np.hypot(across, along), 1e-12)
            share = np.tanh(strength / 2) / strength
            bend, towards = share * across, share * along
            kept *= (1 - bend**2 - towards**2) / ((1 + towards) ** 2 + bend**2)
            total += 2 * np.arctan2(bend, 1 + towards) + commanded[:, part] / 2
        return total, kept

    def _pull(self, values: Values, parts: int) -> np.ndarray:
        """∫ f(P) d dt [K,parts,2] µm² over parts of all intervals. Raises TypeError without
        spots.
        """
        if self.power is None or self.spot_offset is None:
            raise TypeError("no spot offset was commanded")
        lit = light_speed(self.power.value, values, self.smooth)
        pull = Programme(self.power.edge, lit[..., None] * self.spot_offset.value)
        return np.diff(self._integrals(pull, values["delay"], parts), axis=1)

    def commanded_turn(self, delay: float) -> np.ndarray:
        """∫ c_ω dt [K] rad. Raises TypeError if no turn rate was commanded."""
        if self.turn_rate is None:
            raise TypeError("no turn rate was commanded")
        return np.diff(self._integrals(self.turn_rate, delay, 1), axis=1)[:, 0]

    def commanded_way(self, delay: float) -> np.ndarray:
        """∫ c_v dt [K] µm. Raises TypeError if no speed was commanded."""
        if self.speed is None:
            raise TypeError("no speed was commanded")
        return np.diff(self._integrals(self.speed, delay, 1), axis=1)[:, 0]

    def commanded_angle(self, delay: float) -> np.ndarray:
        """∫ c_ω dt [K] rad from the first command to the middle of every interval; 0 if none."""
        if self.turn_rate is None:
            return np.zeros(len(self.stretches))
        return self._integrals(self.turn_rate, delay, 2)[:, 1]

    def steered(self, values: Values, director: np.ndarray) -> np.ndarray:
        """∫ f(P) (n̂ × d) dt [K] µm² over the intervals. Raises TypeError without spots."""
        moved = self._pull(values, PARTS)
        cross = director[..., 0] * moved[..., 1] - director[..., 1] * moved[..., 0]
        return cross.sum(axis=1)


def _components(angle: np.ndarray, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Components n̂ × d and n̂ · d [K] of vectors [K,2], n̂ at angles [K] rad."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return cosine * vector[:, 1] - sine * vector[:, 0], cosine * vector[:, 0] + sine * vector[:, 1]


def light_speed(power: np.ndarray, values: Values, smooth: bool) -> np.ndarray:
    """f(P): see the module; `speed_max` may be infinite."""
    speed = values["slope"] * np.maximum(power - values["threshold"], 0)
    most = values["speed_max"]
    if np.isinf(most):
        return speed
    return -most * np.expm1(-speed / most) if smooth else np.minimum(speed, most)
