"""System identification: what a recording says of how its colloids answer to commands.

Species whose heading is seen are fitted by `swarmctl.lab.identify_seen`, the others by
`swarmctl.lab.identify_unseen`; both say which equations they solve. Intervals are those of
Student's t with as many degrees of freedom as there are colloids, less one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from swarmctl.core.errors import ConfigError, require_positive
from swarmctl.lab.identified import POSITIVE, UNITS, Check, Identified, Quantity, SpeciesFit
from swarmctl.lab.identify_seen import Fit, fit_seen
from swarmctl.lab.identify_unseen import MotionFit, fit_unseen
from swarmctl.lab.programme import Programme
from swarmctl.lab.response import Response
from swarmctl.lab.stretches import Cut, Stretches, cut
from swarmctl.records.trajectory import Trajectory

FEWEST_COLLOIDS = 5
"""Independent units from which an interval has any meaning."""
VAGUE = {"speed_gain": 0.5, "turn_gain": 0.5, "steering": np.inf}
"""Standard errors from which on a gain counts as not identified."""
VAGUE_LOGARITHM = 1.0
SLOWEST = 0.1
"""Share of modes whose residuals are compared with the others'."""
ABSENT = {
    "speed_gain": "swimming was not commanded by a speed",
    "turn_gain": "turning was not commanded by a turn rate",
    "slope": "light was not commanded",
    "threshold": "light was not commanded",
    "speed_max": "light was not commanded",
    "steering": "spots were not commanded",
    "delay": "nothing was commanded",
}
"""Why a quantity is not among the fitted ones."""


@dataclass(frozen=True)
class Options:
    """How a recording is read.

    Attributes:
        commands: "applied" (after limits) or "requested". A simulation with a delay records as
            applied what acted, so that its delay is seen only from what was requested.
        longest_delay: s, delays are looked for up to it.
        nearest: µm, intervals at whose ends another colloid is nearer are left out.
        smooth: whether the law of light saturates smoothly (see `core.actuator`) or sharply.
    """

    commands: str = "applied"
    longest_delay: float = 1.0
    nearest: float = 0.0
    smooth: bool = False

    def __post_init__(self) -> None:
        require_positive("identify", longest_delay=self.longest_delay)
        if self.commands not in ("applied", "requested"):
            raise ConfigError(f"identify: commands {self.commands!r}; allowed: applied, requested.")
        if not self.nearest >= 0:
            raise ConfigError(f"identify: nearest must be at least 0, got {self.nearest}.")


def identify(
    trajectory: Trajectory,
    options: Options = Options(),
    names: Sequence[str] = (),
    radius: Sequence[float] = (),
    recording: str = "",
) -> Identified:
    """Fit every species of a recording.

    Args:
        trajectory: frames of a plane, with commands.
        options: how it is read.
        names: of the species, by their number; "species-0" and so on if left out.
        radius: µm, of the species; needed for steering by light only.
        recording: what to call the recording in the result.

    Raises ConfigError for a recording that cannot be fitted.
    """
    parts = cut(trajectory, options.commands, options.longest_delay, options.nearest)
    if not parts.stretches:
        raise ConfigError(
            "identify: nobody is seen for long enough; "
            + ("left out were " + _listed(parts) if parts.left_out else "record longer")
            + "."
        )
    fits = []
    for kind, stretches in parts.stretches.items():
        name = names[kind] if kind < len(names) else f"species-{kind}"
        size = radius[kind] if kind < len(radius) else None
        fits.append(_species(name, parts, stretches, options, size))
    return Identified(
        recording=recording,
        commands=options.commands,
        radius=tuple(float(r) for r in radius),
        species=tuple(fits),
        left_out=tuple(f"{count} {what}" for what, count in parts.left_out.items()),
    )


def _listed(parts: Cut) -> str:
    return ", ".join(f"{count} {what}" for what, count in parts.left_out.items())


def _species(
    name: str, parts: Cut, stretches: Stretches, options: Options, radius: float | None
) -> SpeciesFit:
    colloids = int(stretches.colloid.max()) + 1
    if colloids < FEWEST_COLLOIDS:
        raise ConfigError(
            f"identify: species {name!r} has {colloids} colloids that are seen long enough; "
            f"intervals need at least {FEWEST_COLLOIDS}. Record more of them."
        )
    response = _response(parts, stretches, options)
    fit: Fit | MotionFit
    checks: tuple[Check, ...]
    if stretches.heading is None:
        fit, checks = fit_unseen(response, options.longest_delay), ()
    else:
        fit = fit_seen(response, options.longest_delay)
        checks = _checks(fit, stretches)
    return SpeciesFit(
        name=name,
        colloids=colloids,
        time=float(stretches.interval.sum()),
        frames=float(np.median(stretches.interval)),
        heading_seen=stretches.heading is not None,
        quantities=_quantities(fit, options, radius),
        checks=checks,
    )


def _response(parts: Cut, stretches: Stretches, options: Options) -> Response:
    """The species with the commands that it was given: those that were ever other than 0."""
    slots = np.unique(stretches.slot)

    def used(name: str) -> Programme | None:
        programme = parts.commands.get(name)
        given = programme is not None and np.any(programme.value[:, slots] != 0)
        return programme if given else None

    return Response(
        stretches,
        used("speed"),
        used("turn_rate"),
        used("power"),
        used("spot_offset"),
        options.smooth,
    )


# Numbers


def _quantities(
    fit: Fit | MotionFit, options: Options, radius: float | None
) -> tuple[Quantity, ...]:
    """What was fitted, in the units of the world; with the reason where it was not."""
    factor = float(stdtrit(fit.colloids - 1, 0.975))
    found = dict(zip(fit.names, fit.value.tolist(), strict=True))
    errors = dict(
        zip(fit.names, np.sqrt(np.maximum(np.diagonal(fit.covariance), 0)).tolist(), strict=True)
    )
    for kind in ("position", "heading"):
        for table in (found, errors):
            if f"{kind}_variance" in table:
                table[f"{kind}_noise"] = table.pop(f"{kind}_variance")
    why = {name.replace("_variance", "_noise"): reason for name, reason in fit.unidentified.items()}
    if "steering" in found:
        if radius is None:
            why["steering"] = "the radius of the species is needed; give a world with it"
        else:
            found["steering"] *= radius**2
            errors["steering"] *= radius**2
    result = []
    for name, unit in UNITS.items():
        if name in why or name not in found:
            reason = why.get(name, ABSENT.get(name, "it is not fitted"))
            result.append(Quantity(name, unit, reason=reason))
            continue
        reason = _too_vague(name, found[name], errors[name], options)
        if reason:
            result.append(Quantity(name, unit, reason=reason))
        else:
            result.append(_quantity(name, unit, found[name], errors[name], factor))
    return tuple(result)


def _quantity(name: str, unit: str, value: float, error: float, factor: float) -> Quantity:
    if name.endswith("_noise"):
        # The variance is what was fitted; near 0 only an upper end is known.
        low, high = (max(value + sign * factor * error, 0.0) ** 0.5 for sign in (-1, 1))
        middle = max(value, 0.0) ** 0.5
        deviation = error / (2 * middle) if low > 0 else (high - middle) / factor
        return Quantity(name, unit, middle, low, high, deviation)
    if name in POSITIVE:
        relative = error / value
        low, high = (value * float(np.exp(sign * factor * relative)) for sign in (-1, 1))
        return Quantity(name, unit, value, low, high, relative)
    return Quantity(name, unit, value, value - factor * error, value + factor * error, error)


def _too_vague(name: str, value: float, error: float, options: Options) -> str:
    """Why a number is not worth to be given, "" if it is."""
    if not np.isfinite(error):
        return "the recording does not depend on it"
    if name in POSITIVE and (value <= 0 or error / value > VAGUE_LOGARITHM):
        return f"the recording says too little: {value:.3g} with a standard error of {error:.3g}"
    if error > VAGUE.get(name, np.inf):
        return f"the recording says too little: its standard error is {error:.3g}"
    if name == "delay":
        if error > options.longest_delay / 4:
            return f"the recording says too little: its standard error is {error:.3g} s"
        if value > options.longest_delay - 2 * error:
            return (
                f"it is at the end of what was looked for, {options.longest_delay:g} s; raise "
                "longest_delay"
            )
    return ""


# Checks


def _checks(fit: Fit, stretches: Stretches) -> tuple[Check, ...]:
    """Residuals that are too slow to be noise, or common to all colloids."""
    slow = fit.eigenvalue < np.quantile(fit.eigenvalue, SLOWEST)
    result = []
    for name, residual in zip(("displacements", "turns"), fit.residual, strict=True):
        square = residual[slow] ** 2
        result.append(
            Check(
                name=f"slow {name}",
                value=float(square.mean()),
                expected=1.0,
                tolerance=3.3 * (2 / square.size) ** 0.5,
                meaning="variance of the slowest tenth of the residuals over that of noise: "
                "colloids differ, or answer more slowly than by a delay",
            )
        )
    _, frame = np.unique(stretches.end, return_inverse=True)
    sums = np.stack([np.bincount(frame, weights=part) for part in fit.left.T])
    total = float(np.sum(fit.left**2))
    result.append(
        Check(
            name="common motion",
            value=float(np.sum(sums**2)) / total,
            expected=1.0,
            tolerance=3.3 * (1.5 / sums.shape[1]) ** 0.5,
            meaning="variance of the colloids' summed residuals over that of independent ones: "
            "the flow or the stage fluctuates, and the interval of the drift is too narrow",
        )
    )
    return tuple(result)
