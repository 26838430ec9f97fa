"""Pictures of a world: its scene with flows, potentials or chemicals under the colloids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.world import World
from swarmctl.physics.fields import energy_at, potential_params
from swarmctl.physics.flow import flow_at, flow_params
from swarmctl.records.trajectory import Trajectory
from swarmctl.training.record import scene_frames
from swarmctl.viz.movie import MovieFiles, write_movie
from swarmctl.viz.scene import Scene
from swarmctl.viz.still import still
from swarmctl.viz.world import world_scene

Points = Callable[[np.ndarray], np.ndarray]
MARGIN = 0.06
"""Free share of the view beyond the outermost places along open axes."""
NARROWEST = 0.8
"""Least width over height, and height over width, of a view that may be chosen."""


def flow_function(world: World) -> Points | None:
    """Velocity [K,D] µm/s of all flows at points [K,D] µm at time 0, None without flows."""
    if not world.flows:
        return None
    flows, size = flow_params(world.flows, world.box), jnp.asarray(world.box.size)

    def velocity(points: np.ndarray) -> np.ndarray:
        place, time = jnp.asarray(points.T), jnp.zeros(())
        return np.asarray(flow_at(place, time, flows, size, world.box.periodic)[0]).T

    return velocity


def energy_function(world: World) -> Points | None:
    """Energy [K] pN µm at points [K,D] µm at time 0 for the first species that feels one.

    None without potentials, and where the energy is the same everywhere.
    """
    if not world.potentials:
        return None
    name = next((p.species[0] for p in world.potentials if p.species), world.species[0].name)
    names = tuple(species.name for species in world.species)
    params = potential_params(world.potentials, world.box, names, (names.index(name),))
    size = jnp.asarray(world.box.size)

    def energy(points: np.ndarray) -> np.ndarray:
        place, time = jnp.asarray(points)[:, :, None], jnp.zeros(())

        def one(point: jax.Array) -> jax.Array:
            return energy_at(point, time, params, size, world.box.periodic)[0]

        return np.asarray(jax.vmap(one)(place))

    return energy


def fitting_view(world: World, trajectory: Trajectory) -> tuple[float, float, float, float] | None:
    """The view (xmin, xmax, ymin, ymax) µm: the box, but what was visited along open axes."""
    if "open" not in world.box.boundaries[:2]:
        return None
    points = [trajectory.position.reshape(-1, world.dimension)]
    largest = max(species.largest_radius for species in world.species)
    if trajectory.bodies is not None:
        points.append(trajectory.bodies.bead.reshape(-1, world.dimension))
        largest = max(largest, *trajectory.bodies.bead_radius.tolist())
    everything = np.concatenate(points)[:, :2]
    low, high = np.nanmin(everything, axis=0) - largest, np.nanmax(everything, axis=0) + largest
    room = MARGIN * (high - low)
    low, high = low - room, high + room
    for axis, kind in enumerate(world.box.boundaries[:2]):
        if kind != "open":
            low[axis], high[axis] = 0.0, world.box.size[axis]
    # A strip would leave no room for scale bar and text.
    for axis, other in ((0, 1), (1, 0)):
        lacking = NARROWEST * (high[other] - low[other]) - (high[axis] - low[axis])
        if world.box.boundaries[axis] == "open" and lacking > 0:
            low[axis], high[axis] = low[axis] - lacking / 2, high[axis] + lacking / 2
    return (float(low[0]), float(high[0]), float(low[1]), float(high[1]))


def chemical_channel(name: str) -> str:
    """Name of the recorded field of a chemical."""
    return "chemical." + "".join(c if c.isalnum() and c.isascii() else "_" for c in name)


def simulation_scene(
    world: World, trajectory: Trajectory, title: str = ""
) -> tuple[Scene, np.ndarray | None]:
    """Return the scene of a recorded world, and the values [T,X,Y(,Z)] of its first chemical."""
    values = None
    field: Points | None = energy_function(world)
    label, units = "potential energy", "pN µm"
    field_range: tuple[float, float] | None = None
    if world.chemicals:
        chemical = world.chemicals[0]
        values = trajectory.observables.get(chemical_channel(chemical.name))
    if values is not None:
        label, units = chemical.name, f"1/µm{'²' if world.dimension == 2 else '³'}"
        low, high = float(values.min()), float(values.max())
        field_range = (low, high if high > low else low + 1.0)

        def field(points: np.ndarray) -> np.ndarray:
            return np.full(len(points), low)

    scene = world_scene(
        world,
        title,
        field=field,
        field_label=label,
        field_units=units if field is not None else "",
        field_range=field_range,
        flow=flow_function(world),
        view=fitting_view(world, trajectory),
    )
    return scene, values


def write_pictures(
    folder: Path,
    world: World,
    trajectory: Trajectory,
    *,
    title: str = "",
    caption: tuple[str, ...] = (),
    formats: tuple[str, ...] = ("gif", "mp4"),
    pictures: int = 150,
    fps: int = 20,
    size: int = 720,
) -> tuple[Path, MovieFiles]:
    """Write `still.png` and `movie.*` of a recorded world; return where they are."""
    scene, values = simulation_scene(world, trajectory, title)
    position = trajectory.position
    away = np.ma.masked_invalid(np.sum((position - position[:1]) ** 2, axis=-1))
    kinds = np.asarray(world.species_of_slot)
    moved = {
        s.name: away[:, kinds == i].mean(axis=1).filled(np.nan) for i, s in enumerate(world.species)
    }
    picture = still(
        folder / "still.png",
        scene,
        position,
        trajectory.director,
        trajectory.time,
        caption,
        moved,
        metric_label="mean squared displacement (µm²)",
        present=trajectory.present,
        beads=None if trajectory.bodies is None else trajectory.bodies.bead,
        field_values=None if values is None else values[-1],
    )[0]
    every = max(1, -(-len(trajectory) // pictures))
    frames = scene_frames(scene, trajectory, size, every, values)
    movie = write_movie(folder / "movie", frames, fps, formats) if formats else MovieFiles()
    return picture, movie
