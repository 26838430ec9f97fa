"""Parameters drawn for every swarm of a batch from what is not known exactly."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.randomise import CUT, Lognormal, Normal, Randomise, Spread, Uniform
from swarmctl.core.world import World
from swarmctl.physics.parameters import MotionParams

Array = jax.Array
Numbers = dict[str, Array]


def spreads(world: World, randomise: Randomise) -> dict[str, Spread]:
    """Distributions by name: "0.diffusion" is that of the first species, "drift.1" of an axis."""
    found: dict[str, Spread | None] = {}
    for index, species in enumerate(world.species):
        entry = randomise.of(species)
        for field in dataclasses.fields(entry):
            if field.name != "name":
                found[f"{index}.{field.name}"] = getattr(entry, field.name)
    for axis, spread in enumerate(randomise.drift):
        found[f"drift.{axis}"] = spread
    for name in ("delay", "position_noise", "heading_noise"):
        found[name] = getattr(randomise, name)
    return {name: spread for name, spread in found.items() if spread is not None}


def draw_numbers(key: Array, world: World, randomise: Randomise, dtype: Any) -> Numbers:
    """One number [] for every distribution."""
    listed = spreads(world, randomise)
    keys = jax.random.split(key, max(len(listed), 1))
    return {
        name: _draw(own, spread, dtype)
        for own, (name, spread) in zip(keys, listed.items(), strict=False)
    }


def _draw(key: Array, spread: Spread, dtype: Any) -> Array:
    if isinstance(spread, Uniform):
        return jax.random.uniform(key, (), dtype, spread.low, spread.high)
    if isinstance(spread, (Normal, Lognormal)):
        normal = jax.random.truncated_normal(key, -CUT, CUT, (), dtype)
        if isinstance(spread, Normal):
            return spread.mean + spread.deviation * normal
        return spread.median * jnp.exp(spread.spread * normal)
    return jnp.asarray(spread, dtype)


def with_numbers(
    params: MotionParams, numbers: Numbers, world: World, interval: float
) -> MotionParams:
    """Put numbers into the parameters of a world that was made by `core.randomise.middle_world`.

    `interval` is the control interval in s. Leaves without a number stay the very same objects.
    """
    slots = np.asarray(world.species_of_slot)
    changes: dict[str, Any] = {}

    def put(values: Array | None, name: str, scale: Any = None) -> Array | None:
        for index in range(len(world.species)):
            if (number := numbers.get(f"{index}.{name}")) is not None:
                number = number if scale is None else scale / number
                old = jnp.ones(len(slots), params.size.dtype) if values is None else values
                values = jnp.where(slots == index, number, old)
        return values

    for name in ("speed_gain", "turn_gain", "speed_max"):
        changes[name] = put(getattr(params, name), name)
    pairs = (("diffusion", "friction"), ("rotational_diffusion", "rotational_friction"))
    for name, friction in pairs:
        changes[friction] = put(getattr(params, friction), name, params.thermal_energy)
    if params.actuator is not None:
        light = ("slope", "threshold", "steering")
        parts: dict[str, Any] = {name: put(getattr(params.actuator, name), name) for name in light}
        changes["actuator"] = dataclasses.replace(params.actuator, **parts)
    if params.disturbances is not None:
        changes["disturbances"] = _disturbed(params.disturbances, numbers, interval)
    return dataclasses.replace(params, **changes)


def _disturbed(given: Any, numbers: Numbers, interval: float) -> Any:
    changes: dict[str, Any] = {}
    if given.delay is not None and "delay" in numbers:
        length = given.delay.shape[0] - 1
        late = jnp.clip(numbers["delay"] / interval, 0, length)
        changes["delay"] = jnp.maximum(0, 1 - jnp.abs(jnp.arange(length + 1) - late))
    axes = [name for name in numbers if name.startswith("drift.")]
    if given.drift is not None and axes:
        velocity = jnp.stack([numbers[f"drift.{axis}"] for axis in range(len(axes))])
        changes["drift"] = dataclasses.replace(given.drift, velocity=velocity)
    if given.localisation is not None:
        errors = {
            part: numbers[name]
            for part, name in (("position", "position_noise"), ("heading", "heading_noise"))
            if name in numbers
        }
        changes["localisation"] = dataclasses.replace(given.localisation, **errors)
    return dataclasses.replace(given, **changes)


def drawn_axes(params: MotionParams, world: World, randomise: Randomise, interval: float) -> Any:
    """Which leaves are drawn, as `in_axes` and `out_axes` of `jax.vmap`: 0 for those, None else."""
    numbers = {name: jnp.zeros(()) for name in spreads(world, randomise)}
    made = with_numbers(params, numbers, world, interval)
    old = {id(leaf) for leaf in jax.tree.leaves(params)}
    return jax.tree.map(lambda leaf: None if id(leaf) in old else 0, made)


def draw_params(
    keys: Array, params: MotionParams, world: World, randomise: Randomise, interval: float
) -> MotionParams:
    """Parameters for every key [B]: drawn leaves [B,...], the others as they are (`drawn_axes`)."""
    axes = drawn_axes(params, world, randomise, interval)

    @jax.jit
    def draw(keys: Array, params: MotionParams) -> MotionParams:
        def one(key: Array) -> MotionParams:
            numbers = draw_numbers(key, world, randomise, params.size.dtype)
            return with_numbers(params, numbers, world, interval)

        return jax.vmap(one, out_axes=axes)(keys)

    return draw(keys, params)
