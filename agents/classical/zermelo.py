"""A controller that takes the fastest way through a known flow."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from swarmctl.agents.classical.extremals import heading_map
from swarmctl.agents.classical.geometry import (
    bearing,
    directors,
    fastest,
    head,
    needs,
    quickest,
    swim,
)
from swarmctl.agents.options import AgentConfig
from swarmctl.core.command import Command
from swarmctl.core.config import key as config_key
from swarmctl.core.contracts import Agent, AgentInputs
from swarmctl.core.errors import CapabilityError, ConfigError, require_positive
from swarmctl.core.fields import Flow
from swarmctl.core.spec import AgentSpec, EngineSpec
from swarmctl.core.tree import pytree
from swarmctl.core.world import Box
from swarmctl.observe.pairs import unit
from swarmctl.physics.flow import flow_at, flow_params

Array = jax.Array


@pytree
class Zermelo(Agent):
    """Steers along the fastest way to a goal in a known, steady flow (see
    `extremals.fastest_route`).

    The best heading was computed beforehand everywhere in the box (`extremals.heading_map`), so
    that noise is corrected from wherever it drives the colloid; it does not count with the noise to
    come. Near the goal it heads so that swimming and the flow u there add up to the direction d̂ of
    the goal: n = d̂ √(1 - u⊥²/v²) - u⊥/v.

    Attributes:
        headings: [C,C,2] unit vectors at the centres of the cells of the box.
        goal: [2] µm. current: [2] µm/s, the flow there.
        near: [] µm, closer than this the flow at the goal is taken.
        speed, turn_rate: [N]; turn_rate None sets headings at once.
        interval: [] s.
    """

    output: ClassVar[Literal["action", "command"]] = "command"
    headings: Array
    goal: Array
    current: Array
    near: Array
    speed: Array
    turn_rate: Array | None
    interval: Array

    def check(self, spec: AgentSpec) -> None:
        """Raise CapabilityError unless the engine is 2D and takes speed and heading or turns."""
        steer = "heading" if self.turn_rate is None else "turn_rate"
        needs(spec, "zermelo", "speed", steer, plane=True)

    def init_memory(self, spec: AgentSpec) -> Any:
        """No memory."""
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Array, deterministic: bool = False
    ) -> tuple[Command, Any]:
        """Return the command; there is no chance in the rule."""
        state, space = inputs.state, inputs.space
        position = jnp.where(state.present[:, None], state.position, 0)
        aim = self._look_up(position, space.size, space.periodic)
        towards = space.displacement(position, self.goal)
        ahead = unit(towards)
        along = jnp.sum(ahead * self.current, axis=-1, keepdims=True)
        across = (self.current - along * ahead) / jnp.maximum(self.speed, 1e-9)[:, None]
        left = jnp.maximum(1 - jnp.sum(across**2, axis=-1, keepdims=True), 0)
        direct = unit(ahead * jnp.sqrt(left) - across)
        close = jnp.sum(towards**2, axis=-1, keepdims=True) < self.near**2
        aim = jnp.where(close, direct, aim)
        if self.turn_rate is None:
            return head(state, self.speed, aim), memory
        turn = jnp.clip(
            bearing(directors(state), aim) / self.interval, -self.turn_rate, self.turn_rate
        )
        return swim(state, self.speed, turn), memory

    def _look_up(self, position: Array, size: Array, periodic: tuple[bool, ...]) -> Array:
        """Unit vectors [N,2], interpolated between the four cells around every position."""
        cells = self.headings.shape[0]
        place = position / size * cells - 0.5
        low = jnp.floor(place)
        share = place - low
        total = jnp.zeros_like(position)
        for x in (0, 1):
            for y in (0, 1):
                corner = low.astype(jnp.int32) + jnp.asarray([x, y])
                wrapped = jnp.where(
                    jnp.asarray(periodic), corner % cells, jnp.clip(corner, 0, cells - 1)
                )
                weight = (share[:, 0] if x else 1 - share[:, 0]) * (
                    share[:, 1] if y else 1 - share[:, 1]
                )
                total += weight[:, None] * self.headings[wrapped[:, 0], wrapped[:, 1]]
        return unit(total)


@dataclasses.dataclass(frozen=True)
class ZermeloConfig(AgentConfig):
    """Keys of the time-optimal navigator."""

    name: ClassVar[str] = "zermelo"
    goal: tuple[float, ...] | None = config_key(
        None, "where to go; the middle of the box if left out", "um"
    )
    flows: tuple[Flow, ...] = config_key((), "the flow, as in a world; the engine's if left out")
    speed: float | None = config_key(None, "swim speed; the highest if left out", "um/s")
    steer: Literal["set", "turn"] = config_key(
        "set", "set: take the heading at once; turn: by turn rates"
    )
    cells: int = config_key(96, "cells along a side of the map of headings")
    rays: int = config_key(1440, "extremals that make the map")

    def build(self, spec: AgentSpec) -> Zermelo:
        """Return the agent."""
        engine = spec.engine
        needs(spec, self.name, "speed", plane=True)
        require_positive(self.name, speed=self.speed)
        if min(self.cells, self.rays) < 8:
            raise ConfigError(
                f"{self.name}: cells and rays must be at least 8, got {self.cells}, {self.rays}."
            )
        goal = self.goal or tuple(length / 2 for length in engine.box)
        if len(goal) != 2 or not all(math.isfinite(x) for x in goal):
            raise ConfigError(f"{self.name}: goal needs two finite numbers, got {goal}.")
        flows = self.flows or known_flows(engine)
        speed = max(engine.speed_max) if self.speed is None else self.speed
        box = Box(engine.box, tuple("periodic" if p else "open" for p in engine.periodic))
        headings, _ = heading_map(flows, box, (goal[0], goal[1]), speed, self.cells, self.rays)
        here = jnp.asarray(goal)[:, None]
        current, _ = flow_at(
            here, jnp.zeros(()), flow_params(flows, box), jnp.asarray(box.size), box.periodic
        )
        return Zermelo(
            headings=jnp.asarray(headings, engine.dtype),
            goal=jnp.asarray(goal, engine.dtype),
            current=current[:, 0].astype(engine.dtype),
            near=jnp.asarray(3 * max(engine.box) / self.cells),
            speed=fastest(engine, self.speed),
            turn_rate=None if self.steer == "set" else quickest(engine),
            interval=jnp.asarray(engine.control_interval),
        )


def known_flows(engine: EngineSpec) -> tuple[Flow, ...]:
    """The flows that an engine tells of. Raises CapabilityError if it tells of none."""
    if not engine.flows:
        raise CapabilityError(
            f"zermelo needs to know the flow, and engine {engine.name!r} tells of none; give the "
            "agent flows, as a world has them, or take another agent."
        )
    return engine.flows
