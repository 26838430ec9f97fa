"""The engine on ESPResSo: the same worlds, commands and states as the JAX engine.

ESPResSo (https://espressomd.org) is not part of swarmctl; see docs/guide/espresso.md for how to get
it and for what differs.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import Command, Limits, apply_limits, check_command
from swarmctl.core.contracts import Engine, Flags, Status, Transition, raise_flags
from swarmctl.core.errors import (
    DivergenceError,
    PhysicsError,
    PlacementError,
    SwarmctlError,
    WallCrossedError,
)
from swarmctl.core.state import SwarmState
from swarmctl.core.world import World, steps_per_interval
from swarmctl.engines import espresso_build
from swarmctl.engines.describing import world_spec
from swarmctl.engines.espresso_contacts import longest_contact, set_contacts, set_surfaces
from swarmctl.engines.espresso_failures import overlap_function
from swarmctl.engines.espresso_fields import ForceFields, changes_in_time, has_fields
from swarmctl.engines.espresso_frame import Floats, Frame, body_rotations, make_frame, rotations
from swarmctl.engines.espresso_limits import build_features, check_world
from swarmctl.engines.espresso_particles import Particles, Placement
from swarmctl.engines.espresso_pushes import SAMPLES, body_motion, pushes_function
from swarmctl.engines.observing import observe_bodies, observe_chemicals
from swarmctl.physics import chemistry
from swarmctl.physics.bodies import BodyState
from swarmctl.physics.parameters import motion_config, motion_params
from swarmctl.physics.placement import check_points, place
from swarmctl.physics.stiffness import check_stiffness

CAPABILITIES = frozenset({"speed", "turn_rate", "heading", "velocity"})
SKIN = 0.4
"""Skin of the Verlet lists over the largest distance of contact."""
NO_TIME = 1e-9
"""A time step over the world's in which nothing moves to speak of."""
MARGIN = 0.1
"""Where fields are tabulated, colloids keep so many box lengths from the end of the table."""


class EspressoEngine(Engine):
    """A world on ESPResSo, advanced by whole control intervals.

    Args:
        world: what is simulated.
        control_interval: s, a whole number of the world's time steps.

    Nothing is connected before the first `reset`: until then `spec` can be read without ESPResSo.
    Raises CapabilityError naming what ESPResSo does not simulate, ConfigError or PlacementError for
    a world that cannot be simulated as described.
    """

    def __init__(self, world: World, control_interval: float = 0.1) -> None:
        check_world(world)
        check_stiffness(world)
        check_points(world)
        self.world = world
        self.config = motion_config(world, steps_per_interval(control_interval, world.time_step))
        self.spec = world_spec("espresso", world, self.config.interval, CAPABILITIES)
        self._params = motion_params(world)
        self._place = jax.jit(lambda key: place(key, world, self._params))
        limits = Limits(self._params.speed_min, self._params.speed_max, self._params.turn_rate_max)
        self._limit = jax.jit(lambda command: apply_limits(command, limits))
        self._overlap = overlap_function(world)
        self._chemistry = tuple(
            chemistry.chemistry_plan(c, world.box, self.config.interval) for c in world.chemicals
        )
        self._spread = jax.jit(self._spread_chemicals)
        self._pushes = None
        if self._params.bodies is not None:
            self._pushes = pushes_function(world, self.config, self._params)
        self._species = jnp.asarray(self.spec.species_of_slot, jnp.int32)
        self._system: Any = None
        self._frame: Frame | None = None
        self._particles: Particles | None = None
        self._fields: ForceFields | None = None
        self._now: Placement | None = None
        self._chemicals: tuple[jax.Array, ...] = ()
        self._step = 0
        friction = np.asarray(self._params.friction, np.float64)
        along = self._params.friction_along
        self._across = friction
        self._along = friction if along is None else np.asarray(along, np.float64)
        self._about = np.asarray(self._params.rotational_friction, np.float64)
        force = self._params.force
        self._constant = None if force is None else np.asarray(force, np.float64).T

    # Episodes

    def reset(self, seed: int) -> SwarmState:
        """Start an episode; equal seeds give equal episodes, and the places that the JAX engine
        gives them.

        Raises EngineMissingError without ESPResSo, CapabilityError for a build that lacks features,
        SwarmctlError while another engine of this process is open, PlacementError.
        """
        self._particles = None
        init_key, noise_key = jax.random.split(jax.random.key(seed))
        placed = self._place(jax.random.split(init_key)[0])
        if bool(placed.overlap):
            raise PlacementError(
                f"{self.spec.capacity} colloids could not be placed without overlap; "
                "take fewer or smaller colloids, or more room."
            )
        bits = int(jax.random.bits(noise_key, (), jnp.uint32))
        self._system = espresso_build.lease(self, build_features(self.world))
        frame = self._set_up(bits % 2**31)
        random = np.random.default_rng(bits)
        particles = Particles(self._system, self.world, self._params, frame, placed, random)
        if self._fields is not None:
            self._fields.set(self._system, 0.0)
        self._chemicals = tuple(
            jnp.asarray(chemistry.initial_concentration(c, self.world.box), self.spec.dtype)
            for c in self.world.chemicals
        )
        self._step, self._now, self._particles = 0, particles.read(), particles
        rest = np.zeros_like(self._now.position)
        turns = np.zeros((self.spec.capacity, 1 if self.spec.dimension == 2 else 3))
        bodies = self._body_motion(self._now, self._now)
        return self._observe(self._now, rest, turns, bodies)

    def _set_up(self, seed: int) -> Frame:
        """Box, thermostat, contacts, walls and fields of an empty System."""
        world, system, contact = self.world, self._system, longest_contact(self.world)
        if self._frame is None:
            self._frame = make_frame(world, contact, has_fields(world))
            if has_fields(world):
                self._fields = ForceFields(world, self._params, self._frame)
        frame = self._frame
        system.box_l = frame.box
        system.periodicity = frame.wraps
        system.time_step = world.time_step
        reach = (1 + SKIN) * contact
        system.cell_system.skin = SKIN * contact
        if frame.box.min() < 2 * reach or not world.contacts:
            system.cell_system.set_n_square(use_verlet_lists=True)
        else:
            system.cell_system.set_regular_decomposition(use_verlet_lists=True)
        thermal = world.fluid.thermal_energy
        # The counter goes on from episode to episode unless it is set back.
        start = {"kT": thermal, "gamma": 1.0, "seed": seed, "philox_counter": 0}
        if world.dynamics == "brownian":
            system.integrator.set_brownian_dynamics()
            system.thermostat.set_brownian(**start)
        else:
            system.integrator.set_vv()
            system.thermostat.set_langevin(**start)
        set_contacts(system, world, self._params)
        set_surfaces(system, world, frame)
        return frame

    def step(self, command: Command) -> Transition:
        """Apply a command for one control interval.

        Raises SwarmctlError before the first reset and after a failure, CommandError or
        CapabilityError for a bad command, PhysicsError if the motion failed.
        """
        particles, before = self._particles, self._now
        if particles is None or before is None:
            raise SwarmctlError("engine 'espresso': call reset(seed) before the first step.")
        check_command(command, self.spec)
        applied, limited = self._limit(command)
        time = self._step * self.config.interval
        changed = self._step == 0
        if self._fields is not None and self._step and changes_in_time(self.world):
            self._fields.set(self._system, time)
            changed = True
        director = self._head(applied, before, particles)
        spins = self._spins(applied, before.position, time)
        force = self._force(applied, director)
        speed = np.zeros(self.spec.capacity) if applied.speed is None else applied.speed
        swim = self._along * np.asarray(speed, np.float64)
        changed |= director is not before.director
        changed |= particles.drive(swim, force, self._about[:, None] * spins)
        self._particles = None  # until it is known that nothing went wrong
        if changed:
            self._refresh_forces()
        particles.record(max(1, self.config.steps // SAMPLES))
        self._run(self.config.steps)
        now = particles.read()
        bodies = self._body_motion(before, now, particles)
        deep, inside = self._overlap(now.position, particles.beads())
        self._raise(now, deep, inside, limited)
        turned = rotations(director, now.director, spins * self.config.interval)
        self._particles, self._now = particles, now
        self._step += 1
        if self._chemicals:
            self._chemicals = self._spread(self._chemicals, now.position)
        state = self._observe(now, now.position - before.position, turned, bodies)
        return Transition(state, applied, Status(flags=_no_failure(limited)))

    def stop(self, reason: str) -> None:
        """End the episode; nothing moves until the next reset."""
        self._particles = None

    def close(self) -> None:
        """Give the System of this process back, so that another engine can have it."""
        self._particles = None
        espresso_build.release(self)

    # One interval

    def _head(self, command: Command, before: Placement, particles: Particles) -> Floats:
        """Directors [N,D] after headings were taken."""
        if command.heading is None or command.has_heading is None:
            return before.director
        chosen = np.asarray(command.has_heading, bool)
        wanted = np.asarray(command.heading, np.float64)
        length = np.linalg.norm(wanted, axis=1, keepdims=True)
        wanted = np.where(chosen[:, None], wanted / np.where(length > 0, length, 1), 0)
        director = np.where(chosen[:, None], wanted, before.director)
        particles.head(director, chosen)
        return director

    def _spins(self, command: Command, position: Floats, time: float) -> Floats:
        """Turn rates [N,3] rad/s that are commanded, and of the fluid at the colloids."""
        assert self._frame is not None
        spins = np.zeros((self.spec.capacity, 3))
        if command.turn_rate is not None:
            spins = spins + self._frame.turns(np.asarray(command.turn_rate))
        if self._fields is not None:
            spins = spins + self._fields.spins(position, time)
        return spins

    def _force(self, command: Command, director: Floats) -> Floats:
        """Forces [N,3] pN besides those of fields: constant ones, and the drag of a velocity."""
        assert self._frame is not None
        force = np.zeros_like(director) if self._constant is None else self._constant
        if command.velocity is not None:
            velocity = np.asarray(command.velocity, np.float64)
            along = (velocity * director).sum(axis=1, keepdims=True) * director
            force = force + self._across[:, None] * velocity
            force = force + (self._along - self._across)[:, None] * along
        return self._frame.vectors(force)

    def _refresh_forces(self) -> None:
        """Have the forces computed anew, by a step that takes no time.

        ESPResSo turns torques into the frames of the particles when it computes forces before a
        step, and again in a Brownian step, so that the torque of the first step would be lost. The
        torques that a step leaves behind are right for the next one.
        """
        if self.world.dynamics == "brownian":
            self._system.time_step = NO_TIME * self.world.time_step
            self._run(1)
            self._system.time_step = self.world.time_step

    def _run(self, steps: int) -> None:
        reuse = self.world.dynamics == "brownian"
        try:
            self._system.integrator.run(steps, reuse_forces=reuse)
        except Exception as error:  # ESPResSo raises Exception itself
            text = " ".join(str(error).split())
            if "violated" in text or "Union" in text:
                raise WallCrossedError(
                    "engine 'espresso': a colloid or a body went into a wall or a hard face; use a "
                    f"shorter time step or lower speeds and forces (ESPResSo says: {text})."
                ) from error
            raise PhysicsError(
                f"engine 'espresso': the motion failed (ESPResSo says: {text}); use a shorter time "
                "step or lower speeds and forces."
            ) from error

    def _raise(self, now: Placement, deep: bool, inside: bool, limited: jax.Array) -> None:
        diverged = not all(np.isfinite(x).all() for x in (now.position, now.director, now.centre))
        no = jnp.zeros((), bool)
        flags = Flags(jnp.asarray(deep), no, jnp.asarray(diverged), jnp.asarray(inside), limited)
        raise_flags(flags, self.spec)
        frame = self._frame
        if self._fields is not None and frame is not None:
            keep = MARGIN * frame.size
            low, high = (
                -frame.origin[: frame.dimension],
                (frame.box - frame.origin)[: frame.dimension],
            )
            outside = (now.position < low + keep) | (now.position > high - keep)
            outside &= np.asarray([kind == "open" for kind in self.world.box.boundaries])
            if outside.any():
                raise DivergenceError(
                    "engine 'espresso': a colloid went farther than "
                    f"{1 - MARGIN:g} box lengths out of an open box, where potentials and flows "
                    "are not tabulated any more. Use a larger box, or engine 'jax'."
                )

    # What is observed

    def _body_motion(
        self, before: Placement, now: Placement, particles: Particles | None = None
    ) -> Any:
        about = self._params.bodies
        if about is None or self._pushes is None:
            return None
        n, d, turns = self.spec.capacity, self.spec.dimension, 1 if self.spec.dimension == 2 else 3
        pushes: tuple[Any, Any, Any] = (
            np.zeros((len(about.owner), d)),
            np.zeros((n, d)),
            np.zeros((n, turns)),
        )
        if particles is not None:
            pushes = self._pushes(*particles.recorded())
        moved, turned = (
            now.centre - before.centre,
            body_rotations(before.orientation, now.orientation),
        )
        return body_motion(moved, turned, pushes, self.spec.dtype)

    def _spread_chemicals(self, fields: tuple[jax.Array, ...], position: Any) -> Any:
        return tuple(
            chemistry.advance(
                c, jnp.asarray(position, self.spec.dtype).T, about, plan, self._params.size
            )
            for c, about, plan in zip(fields, self._params.chemicals, self._chemistry, strict=True)
        )

    def _observe(
        self, now: Placement, displacement: Floats, turned: Floats, bodies: Any
    ) -> SwarmState:
        frame, spec, interval = self._frame, self.spec, self.config.interval
        assert frame is not None
        dtype = np.dtype(spec.dtype)
        position, image = frame.wrap(now.position, spec.dtype)
        rate = turned / interval
        everyone = np.ones(spec.capacity, bool)
        seen_bodies = None
        if bodies is not None:
            centre, body_image = frame.wrap(now.centre, spec.dtype)
            orientation = jnp.asarray(now.orientation, dtype)
            motion = BodyState(
                jnp.asarray(centre), jnp.asarray(body_image), jnp.zeros_like(centre), orientation
            )
            seen_bodies = observe_bodies(motion, bodies, self._params.bodies, interval)
        arrays = jax.device_put(
            {
                "position": position,
                "image": image,
                "director": now.director.astype(dtype),
                "velocity": (displacement / interval).astype(dtype),
                "angular_velocity": (rate.reshape(-1) if spec.dimension == 2 else rate).astype(
                    dtype
                ),
                "identity": np.arange(spec.capacity, dtype=np.int32),
                "present": everyone,
                "oriented": everyone.copy(),
                "controllable": everyone.copy(),
                "step": np.asarray(self._step, np.int32),
                "time": np.asarray(self._step * interval, dtype),
                "interval": np.asarray(interval, dtype),
            }
        )
        return SwarmState(
            species=self._species,
            bodies=seen_bodies,
            chemicals=observe_chemicals(
                self._chemicals, arrays["position"], self._params, self._chemistry
            ),
            **arrays,
        )


def _no_failure(limited: jax.Array) -> Flags:
    no = jnp.zeros((), bool)
    return Flags(no, no, no, no, limited)
