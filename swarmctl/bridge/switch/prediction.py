"""What a swarm is expected to do in the next interval, and what it would do if something was wrong.

The prediction is the mean motion: the twin's world without noise, started from the tracked state in
every frame. A command that is given at a frame acts after the delay τ = (m + f) Δt, so that in the
interval that follows the frame k the command k-m-1 acts for the share f, and k-m for the rest. To
first order in Δt the motions of both add by their shares.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.bridge.switch.twin import field_of_view, placed_as_seen
from swarmctl.core.command import Command
from swarmctl.core.disturbances import Disturbances, Drift
from swarmctl.core.errors import ConfigError
from swarmctl.core.state import SwarmState
from swarmctl.core.world import World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.physics.disturbances import completed, no_command
from swarmctl.physics.stiffness import check_stiffness

STEPS = (5, 10, 20, 40, 80)
"""Time steps per interval that are tried, the fewest first."""
SOFTER = 10.0

Array = jax.Array
Floats = np.ndarray
Bools = np.ndarray


@dataclass(frozen=True)
class Hypothesis:
    """A way in which hardware may differ from its twin.

    speed and turn multiply what commands do; the delay is `delay` times what is known, and `later`
    intervals more.
    """

    name: str
    speed: float = 1.0
    turn: float = 1.0
    delay: float = 1.0
    later: float = 0.0


EXPECTED = Hypothesis("as expected")
FAULTS = (
    Hypothesis("half the speed", speed=0.5),
    Hypothesis("half the speed and turning", speed=0.5, turn=0.5),
    Hypothesis("twice the speed", speed=2.0),
    Hypothesis("mirrored turning", turn=-1.0),
    Hypothesis("twice the delay", delay=2.0),
    Hypothesis("no response", speed=0.0, turn=0.0),
)
"""What is watched for while an agent drives."""
DOUBTS = (
    *FAULTS,
    Hypothesis("half the turning", turn=0.5),
    Hypothesis("twice the turning", turn=2.0),
    Hypothesis("an interval later", later=1.0),
)
"""What a probe has to rule out."""
SHORT = 0.5
"""Delays of fewer intervals need not be told from doubled ones by a probe."""


def doubts(delay: float, control_interval: float) -> tuple[Hypothesis, ...]:
    """Return what a probe has to rule out, for a delay of `delay` s."""
    long = delay >= SHORT * control_interval
    return tuple(h for h in DOUBTS if long or h.delay == 1)


@dataclass(frozen=True)
class Prediction:
    """Mean motion over an interval under H hypotheses: displacement [H,N,D] µm, turn [H,N] rad (in
    2D) or None in 3D.
    """

    displacement: Floats
    turn: Floats | None


def still(world: World, control_interval: float) -> World:
    """Return the world without noise and without what varies from colloid to colloid.

    What remains is drift. The response to light is instantaneous: its rise belongs to the delay.
    Contacts are softer where that allows longer time steps, by `SOFTER` at most: over one interval
    it matters little, and the prediction must not be late.
    """
    drift = None if world.disturbances is None else world.disturbances.drift
    kept = Disturbances(drift=Drift(velocity=drift.velocity)) if drift is not None else None
    even: dict[str, Any] = {"gain_spread": 0.0, "rise_time": 0.0, "fall_time": 0.0}
    species = tuple(
        s
        if s.actuator is None
        else dataclasses.replace(s, actuator=dataclasses.replace(s.actuator, **even))
        for s in world.species
    )
    quiet = dataclasses.replace(
        field_of_view(world),
        fluid=dataclasses.replace(world.fluid, temperature=0.0),
        species=species,
        disturbances=kept,
    )
    pushes = [2 * s.radius * world.friction(s) * s.speed_max for s in species]
    energies: list[float | None] = [quiet.contact_energy]
    if quiet.contact_energy is None and min(pushes) > 0:
        energies += [min(pushes) / 3, min(pushes) / SOFTER]
    for steps in STEPS:
        step = control_interval / steps
        for energy in energies if step > world.time_step else ():
            faster = dataclasses.replace(quiet, time_step=step, contact_energy=energy)
            with contextlib.suppress(ConfigError):
                check_stiffness(faster)
                return faster
    return quiet


class Predictor:
    """Predicts the motion of the next interval under several hypotheses, in one compiled call.

    Args:
        world: the twin's.
        control_interval: s.
        hypotheses: H of them.
    """

    def __init__(
        self, world: World, control_interval: float, hypotheses: Sequence[Hypothesis]
    ) -> None:
        self.hypotheses = tuple(hypotheses)
        self.engine = JaxEngine(still(world, control_interval), control_interval)
        self._params = self.engine.params()
        self._speed = jnp.asarray([h.speed for h in hypotheses])
        self._turn = jnp.asarray([h.turn for h in hypotheses])
        self._rest = self.noted(no_command(self.engine.spec))
        self._run = jax.jit(self._all)
        self._depth = 0

    def noted(self, command: Command) -> Command:
        """Return a command as `predict` takes it: all channels, as NumPy arrays."""
        full: Command = jax.tree.map(np.asarray, completed(command, self.engine.spec))
        return full

    def predict(
        self, seen: SwarmState, history: Sequence[Command], delay: float, interval: float
    ) -> Prediction:
        """Predict from a tracked state.

        Args:
            seen: the state that the newest command rests on.
            history: commands that were applied, `noted`, the newest first; older ones are taken as
                rest.
            delay: s from the exposure of a frame until its command acts on the sample.
            interval: s to predict over, near the control interval.
        """
        spec = self.engine.spec
        lag = np.array([h.delay * delay / spec.control_interval + h.later for h in self.hypotheses])
        whole = np.floor(lag).astype(int)
        share = jnp.asarray(lag - whole, spec.dtype)
        # Twice what is needed, so that nothing is compiled anew if the delay grows while an agent
        # drives.
        needed = int(whole.max()) + 2
        if needed > self._depth:
            self._depth = 2 * needed
        known = [*history, *[self._rest] * self._depth][: self._depth]
        commands = jax.tree.map(lambda *leaves: np.stack(leaves), *known)
        newer, older = jnp.asarray(whole), jnp.asarray(whole + 1)
        moved, turned = self._run(seen, commands, newer, older, share)
        scale = interval / spec.control_interval
        flat = spec.dimension == 2
        return Prediction(
            np.asarray(moved, np.float64) * scale,
            np.asarray(turned, np.float64) * scale if flat else None,
        )

    def _all(
        self, seen: SwarmState, commands: Command, newer: Array, older: Array, share: Array
    ) -> tuple[Array, Array]:
        params, engine = self._params, self.engine
        key = jax.random.key(0)
        start = engine.init_at(key, placed_as_seen(seen, params.radius), params)

        def move(command: Command, speed: Array, turn: Array) -> tuple[Array, Array]:
            asked, lit = _altered(command, params, speed, turn)
            state, _, _ = engine.advance(key, start, asked, lit)
            displacement = state.velocity * engine.spec.control_interval
            return displacement, _angle_between(seen.director, state.motion.director)

        def one(new: Array, old: Array, f: Array, speed: Array, turn: Array) -> Any:
            recent = jax.tree.map(lambda x: x[new], commands)
            first, first_turn = move(jax.tree.map(lambda x: x[old], commands), speed, turn)
            rest, rest_turn = move(recent, speed, turn)
            both = f * first_turn + (1 - f) * rest_turn
            if recent.has_heading is not None:  # a heading that is set is there in the end
                both = jnp.where(recent.has_heading & (f < 1), rest_turn, both)
            return f * first + (1 - f) * rest, both

        return jax.vmap(one)(newer, older, share, self._speed, self._turn)


def _angle_between(start: Array, end: Array) -> Array:
    """Angle [N] rad from one director to the other, in (-π, π]; 0 in three dimensions."""
    if start.shape[1] != 2:
        return jnp.zeros(start.shape[0], start.dtype)
    across = start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0]
    return jnp.arctan2(across, jnp.sum(start * end, axis=1))


def _altered(command: Command, params: Any, speed: Array, turn: Array) -> tuple[Command, Any]:
    """What a command amounts to where speed and turning are multiplied by these factors."""
    changes: dict[str, Any] = {}
    for name, factor in (("speed", speed), ("velocity", speed), ("turn_rate", turn)):
        value = getattr(command, name)
        if value is not None:
            changes[name] = value * factor.astype(value.dtype)
    params = dataclasses.replace(
        params,
        speed_min=params.speed_min * speed,
        speed_max=params.speed_max * jnp.maximum(speed, 1),
        turn_rate_max=params.turn_rate_max * jnp.maximum(jnp.abs(turn), 1),
    )
    if command.field is not None:
        # Rollers go as fast as the field turns, and towards where it turns.
        frequency = command.field.frequency
        changes["field"] = dataclasses.replace(
            command.field, frequency=frequency * (speed * turn).astype(frequency.dtype)
        )
    if params.actuator is not None:
        slope = params.actuator.slope
        light = dataclasses.replace(
            params.actuator,
            slope=slope * speed.astype(slope.dtype),
            # The turn rate by light is steering times speed.
            steering=params.actuator.steering
            * jnp.where(speed > 0, turn / jnp.where(speed > 0, speed, 1), turn).astype(slope.dtype),
        )
        params = dataclasses.replace(params, actuator=light)
    return dataclasses.replace(command, **changes), params
