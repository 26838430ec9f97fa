"""Colloids and rigid bodies as particles of ESPResSo, and reading and writing them in bulk.

Attributes of particle slices are loops in Python. So places are read through observables, and
written through handles that are kept, only where they changed.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from swarmctl.core.world import World
from swarmctl.engines.espresso_contacts import types_of
from swarmctl.engines.espresso_frame import (
    Floats,
    Frame,
    body_orientations,
    body_quaternions,
    colloid_quaternions,
)
from swarmctl.physics.bodies import bead_arms
from swarmctl.physics.parameters import MotionParams
from swarmctl.physics.placement import Placed

STIFF = 1e12
"""Friction that holds a spheroid in its plane, over the one across its director. ESPResSo's
Brownian noise is drawn along the axes of the particle and cleared for axes fixed in the lab: with
the plane's normal fixed, a spheroid would not diffuse along its director.
"""


@dataclass(frozen=True)
class Placement:
    """Where everything is: colloids unwrapped [N,D] µm with directors [N,D]; bodies' centres
    unwrapped [M,D] µm and orientations, the x axis [M,2] or quaternions [M,4].
    """

    position: Floats
    director: Floats
    centre: Floats
    orientation: Floats


class Particles:
    """The particles of a world in a System; ids 0..N-1 are the colloids."""

    def __init__(
        self,
        system: Any,
        world: World,
        params: MotionParams,
        frame: Frame,
        placed: Placed,
        random: np.random.Generator,
    ) -> None:
        self._frame = frame
        count = world.capacity
        self._colloids = _add_colloids(system, world, params, frame, placed, random)
        self._centres: list[Any] = []
        beads = 0
        if params.bodies is not None:
            self._centres = _add_bodies(system, world, params, frame, placed, random, count)
            beads = len(params.bodies.owner)
        observables = importlib.import_module("espressomd.observables")
        ids = list(range(count))
        more = list(range(count, count + len(self._centres) + beads))
        self._positions = observables.ParticlePositions(ids=ids)
        self._directors = observables.ParticleDirectors(ids=ids)
        self._of_bodies = observables.ParticlePositions(ids=more) if more else None
        self._written: dict[str, Floats] = {}
        self._track = None
        if self._of_bodies is not None:
            self._track = _Track(system, observables.ParticlePositions(ids=ids + more))

    def read(self) -> Placement:
        """Return where everything is now."""
        frame, none = self._frame, np.zeros((0, self._frame.dimension))
        director = np.asarray(self._directors.calculate())[:, : frame.dimension]
        director = director / np.linalg.norm(director, axis=1, keepdims=True)
        centre, orientation = none, np.zeros((0, 2 if frame.dimension == 2 else 4))
        if self._of_bodies is not None:
            found = np.asarray(self._of_bodies.calculate())[: len(self._centres)]
            centre = frame.outside(found)
            quaternion = np.asarray([handle.quat for handle in self._centres])
            orientation = body_orientations(quaternion, frame.dimension)
        position = frame.outside(np.asarray(self._positions.calculate()))
        return Placement(position, director, centre, orientation)

    def beads(self) -> Floats:
        """Positions [B,D] µm of the beads of all bodies."""
        if self._of_bodies is None:
            return np.zeros((0, self._frame.dimension))
        return self._frame.outside(np.asarray(self._of_bodies.calculate())[len(self._centres) :])

    def record(self, every: int) -> None:
        """Keep places during the next interval, every so many time steps."""
        if self._track is not None:
            self._track.start(every)

    def recorded(self) -> tuple[Floats, Floats, Floats]:
        """Places [K,N,D], [K,M,D] and [K,B,D] µm of colloids, centres and beads that were kept."""
        assert self._track is not None
        track = self._track.stop() - self._frame.origin
        track = track[..., : self._frame.dimension]
        n, m = len(self._colloids), len(self._centres)
        return track[:, :n], track[:, n : n + m], track[:, n + m :]

    def head(self, director: Floats, chosen: np.ndarray) -> None:
        """Turn colloids `chosen` bool [N] to directors [N,D] at once.

        Setting a particle's director would rebuild its frame, whose x axis has to stay the normal
        of the plane, or torque turns nothing; the frame is set as a whole instead.
        """
        quaternion = colloid_quaternions(director).tolist()
        for index in np.flatnonzero(chosen).tolist():
            self._colloids[index].set_parameter("quat", quaternion[index])

    def drive(self, swim: Floats, force: Floats, torque: Floats) -> bool:
        """Set swimming forces [N] pN along the directors, forces [N,3] pN and torques [N,3] pN µm.

        Returns whether any of them changed.
        """
        changed = self._write("swimming", swim, lambda value: {"f_swim": value})
        changed |= self._write("ext_force", force, None)
        changed |= self._write("ext_torque", torque, None)
        return changed

    def _write(self, name: str, values: Floats, convert: Any) -> bool:
        old = self._written.get(name)
        changed = np.ones(len(values), bool)
        if old is not None:
            changed = (values != old).reshape(len(values), -1).any(axis=1)
        elif not values.any():
            changed[:] = False
        # Attributes would do the same, three times as slowly; so would arrays.
        plain = values.tolist()
        for index in np.flatnonzero(changed).tolist():
            value = plain[index] if convert is None else convert(plain[index])
            self._colloids[index].set_parameter(name, value)
        self._written[name] = values.copy()
        return bool(changed.any())


class _Track:
    """Places of particles within an interval, taken by ESPResSo itself."""

    def __init__(self, system: Any, observable: Any) -> None:
        self._system, self._observable = system, observable
        self._series: Any = None

    def start(self, every: int) -> None:
        series = importlib.import_module("espressomd.accumulators").TimeSeries
        self._series = series(obs=self._observable, delta_N=every)
        self._system.auto_update_accumulators.add(self._series)

    def stop(self) -> Floats:
        self._system.auto_update_accumulators.remove(self._series)
        return np.asarray(self._series.time_series())


def _add_colloids(
    system: Any,
    world: World,
    params: MotionParams,
    frame: Frame,
    placed: Placed,
    random: np.random.Generator,
) -> list[Any]:
    count, planar = world.capacity, frame.dimension == 2
    slots = [world.species[s] for s in world.species_of_slot]
    across = np.asarray(params.friction, np.float64)
    along = across if params.friction_along is None else np.asarray(params.friction_along)
    friction = np.stack([across, across, along], axis=1)
    fix = np.tile([False, False, planar], (count, 1))
    held = planar & np.asarray([s.uniaxial for s in slots])
    if world.dynamics == "brownian":
        friction[held, 0] *= STIFF
        fix[held] = False
    columns: dict[str, Any] = {
        "id": np.arange(count),
        "pos": frame.inside(placed.position),
        "quat": colloid_quaternions(placed.director),
        "type": np.asarray(world.species_of_slot),
        "gamma": friction,
        "gamma_rot": np.tile(np.asarray(params.rotational_friction, np.float64)[:, None], 3),
        "fix": fix,
        "rotation": np.tile([True, not planar, not planar], (count, 1)),
    }
    if params.mass is not None and params.inertia is not None:
        mass = np.asarray(params.mass, np.float64)
        inertia = np.tile(np.asarray(params.inertia, np.float64)[:, None], 3)
        columns |= _momenta(mass, inertia, ~fix, columns["rotation"], params, random)
    return list(_add(system, columns))


def _add_bodies(
    system: Any,
    world: World,
    params: MotionParams,
    frame: Frame,
    placed: Placed,
    random: np.random.Generator,
    first: int,
) -> list[Any]:
    about, types, planar = params.bodies, types_of(world), frame.dimension == 2
    assert about is not None
    assert placed.centre is not None
    assert placed.orientation is not None
    count = about.count
    friction = np.asarray(about.friction, np.float64).T
    rotation = np.asarray(about.rotational_friction, np.float64).T
    if planar:
        friction = np.column_stack([friction, friction[:, :1]])
        rotation = np.tile(rotation, 3)
    fix = np.tile([False, False, planar], (count, 1))
    fix |= np.asarray(about.free)[:, None] == 0
    columns: dict[str, Any] = {
        "id": first + np.arange(count),
        "pos": frame.inside(placed.centre),
        "quat": body_quaternions(placed.orientation),
        "type": np.full(count, types.centre),
        "gamma": friction,
        "gamma_rot": rotation,
        "fix": fix,
        "rotation": np.tile([not planar, not planar, True], (count, 1)),
        "ext_force": frame.vectors(np.asarray(about.force).T),
        "ext_torque": frame.turns(np.asarray(about.torque).T),
    }
    if params.mass is not None:
        inertia = np.asarray(about.inertia, np.float64).T
        inertia = np.tile(inertia, 3) if planar else inertia
        mass = np.asarray(about.mass, np.float64)
        columns |= _momenta(mass, inertia, ~fix, columns["rotation"], params, random)
    centres = list(_add(system, columns))
    arms = np.asarray(bead_arms(about, placed.orientation.T), np.float64).T
    owner = np.asarray(about.owner)
    beads = np.asarray(placed.centre, np.float64)[owner] + arms
    added = _add(
        system,
        {
            "id": first + count + np.arange(len(beads)),
            "pos": frame.inside(beads),
            "type": np.asarray([types.bead(int(k)) for k in owner]),
        },
    )
    for bead, body in zip(added, owner, strict=True):
        bead.vs_auto_relate_to(centres[body])
    return centres


def _momenta(
    mass: Floats,
    inertia: Floats,
    moves: np.ndarray,
    turns: np.ndarray,
    params: MotionParams,
    random: np.random.Generator,
) -> dict[str, Any]:
    """Masses, moments of inertia [.,3], and velocities drawn from Maxwell's distribution."""
    thermal = float(params.thermal_energy)
    shape = (len(mass), 3)
    velocity = np.sqrt(thermal / mass)[:, None] * random.standard_normal(shape)
    spin = np.sqrt(thermal / inertia) * random.standard_normal(shape)
    return {
        "mass": mass,
        "rinertia": inertia,
        "v": np.where(moves, velocity, 0),
        "omega_body": np.where(turns, spin, 0),
    }


def _add(system: Any, columns: dict[str, Any]) -> Any:
    """Add particles one by one, which returns their handles."""
    count = len(columns["id"])
    for i in range(count):
        row = {name: value[i] for name, value in columns.items()}
        yield system.part.add(
            **{
                name: value.item() if value.ndim == 0 else value.tolist()
                for name, value in row.items()
            }
        )
