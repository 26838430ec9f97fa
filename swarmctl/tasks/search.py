"""Rewards between species: searching, avoiding, hunting and escaping."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

from swarmctl.core.contracts import Task
from swarmctl.core.errors import ConfigError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import Space, SwarmState
from swarmctl.core.tree import pytree, static
from swarmctl.observe.captures import captures, still_free
from swarmctl.observe.neighbours import signal
from swarmctl.observe.pairs import Pairs, of_species, pairs

Array = jax.Array


def _before(state: SwarmState, memory: tuple[Array, Array]) -> SwarmState:
    """The swarm where it was an interval ago, of those present then and now.

    Who comes or goes in between makes no difference to changes.
    """
    position, present = memory
    return dataclasses.replace(state, position=position, present=state.present & present)


@pytree
class SpeciesSearch(Task):
    """Pays for being near colloids of a species, S_i = Σ_j λ/(λ + d_ij), the colloid itself left
    out.

    `mode`: "approach" pays max(0, k ΔS), "change" pays k ΔS, which telescopes, "absolute" pays k S,
    and "avoid" min(0, -k ΔS), so that coming nearer costs. ΔS is the change during the interval
    over those present before and after. `length` λ [] µm, `scale` k []. `seekers`: only this
    species is paid; None means all.
    """

    length: Array
    scale: Array
    species: int | None = static(default=None)
    mode: Literal["approach", "change", "absolute", "avoid"] = static(default="change")
    seekers: int | None = static(default=None)

    def __post_init__(self) -> None:
        if self.mode not in ("approach", "change", "absolute", "avoid"):
            raise ConfigError(
                f"species search: mode {self.mode!r}; allowed: approach, change, absolute, avoid."
            )

    def check(self, spec: EngineSpec) -> None:
        """Raise ConfigError if there is no such species."""
        for index in (self.species, self.seekers):
            if index is not None:
                spec.check_species(index, "SpeciesSearch")

    def init(self, state: SwarmState, space: Space) -> Any:
        """Last positions [N,D] µm and who was present [N]."""
        return state.position, state.present

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], never terminated, memory)."""
        sources = of_species(state, self.species)
        pair = pairs(state, space)
        if self.mode == "absolute":
            reward = self.scale * signal(pair, sources, self.length)
        else:
            old = pairs(_before(state, memory), space)
            both = sources & old.others
            change = signal(pair, both, self.length) - signal(old, both, self.length)
            reward = self.scale * change
            if self.mode == "approach":
                reward = jnp.maximum(reward, 0)
            elif self.mode == "avoid":
                reward = jnp.minimum(-reward, 0)
        reward = jnp.where(state.present & of_species(state, self.seekers), reward, 0)
        return reward, jnp.zeros(reward.shape, bool), (state.position, state.present)


@pytree
class Pursuit(Task):
    """Predators are paid for hunting, prey for escaping.

    Free prey is caught, and done, when a predator's centre is within `radius` of its own. A capture
    pays `capture`, shared by the predators within reach, and costs the prey as much. Besides, a
    predator earns `approach` per µm that it came nearer to the free prey that was nearest to it
    before the action; prey pays `approach` per µm that it came nearer to the predator that was
    nearest, and earns `survival` per decision in freedom. Predators are done when no prey is free.

    Attributes:
        radius: [] µm, between centres; at least the sum of both radii, or nothing is ever caught.
        approach: [] 1/µm. capture, survival: [].
    """

    radius: Array
    approach: Array
    capture: Array
    survival: Array
    predator: int = static(default=0)
    prey: int = static(default=1)

    def check(self, spec: EngineSpec) -> None:
        """Raise ConfigError unless both species are there, and a capture is possible."""
        for index in (self.predator, self.prey):
            spec.check_species(index, "Pursuit")
        if self.predator == self.prey:
            raise ConfigError(
                f"Pursuit: predators and prey are both species {self.predator}; take two species."
            )
        touching = spec.radius[self.predator] + spec.radius[self.prey]
        if not float(self.radius) >= touching:
            raise ConfigError(
                f"Pursuit: a capture radius of {float(self.radius):g} µm is below {touching:g} µm, "
                f"where the colloids of engine {spec.name!r} touch; take a larger one."
            )

    def init(self, state: SwarmState, space: Space) -> Any:
        """Last positions [N,D] µm, who was present [N], and who is free [N]."""
        free = still_free(state, space, self.radius, self.predator, self.prey)
        return state.position, state.present, free

    def evaluate(self, state: SwarmState, memory: Any, space: Space) -> tuple[Array, Array, Any]:
        """Return (reward [N], terminated [N], memory)."""
        position, present, free = memory
        hunter = state.present & of_species(state, self.predator)
        quarry = state.present & of_species(state, self.prey) & free
        caught, share = captures(state, free, space, self.radius, self.predator, self.prey)
        now, before = pairs(state, space), pairs(_before(state, (position, present)), space)
        nearer = _approach(now, before, (hunter[:, None] & quarry) | (quarry[:, None] & hunter))
        hunting = self.approach * nearer + self.capture * share
        escaping = self.survival * ~caught - self.approach * nearer - self.capture * caught
        reward = jnp.where(hunter, hunting, jnp.where(quarry, escaping, 0))
        free = free & ~caught
        gone = state.present & of_species(state, self.prey) & ~free
        over = ~(state.present & of_species(state, self.prey) & free).any()
        return reward, gone | (hunter & over), (state.position, state.present, free)


def _approach(now: Pairs, before: Pairs, opposed: Array) -> Array:
    """How much nearer [N] µm everyone came to the opponent that was nearest; 0 without one."""
    away = jnp.where(opposed, before.distance, jnp.inf)
    index = jnp.argmin(away, axis=1)[:, None]
    old = jnp.take_along_axis(away, index, axis=1)[:, 0]
    new = jnp.take_along_axis(now.distance, index, axis=1)[:, 0]
    known = jnp.isfinite(old) & jnp.isfinite(new)
    return jnp.where(known, jnp.where(known, old, 0) - jnp.where(known, new, 0), 0)
