"""Swimmers in flows: Zermelo's problem, and gravitaxis between vortices."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from common import EVALUATION, Row, first_arrival, row, trained

from swarmctl.agents.deep.ppo import PPOConfig
from swarmctl.core.contracts import Agent, AgentInputs, Observable, Task
from swarmctl.core.fields import TaylorGreenFlow
from swarmctl.core.tree import pytree
from swarmctl.core.world import Box, Fluid, GlobalField, Placement, Species, World
from swarmctl.envs.fields import AlignBy, Votes
from swarmctl.envs.make import make_env
from swarmctl.envs.scenario import Scenario
from swarmctl.training.evaluate import evaluate_agent, find_agent


def anywhere(scenario: Scenario, radius: float) -> Scenario:
    """The scenario with starts anywhere within `radius` µm of the middle, to learn from."""
    world = scenario.world
    middle = tuple(side / 2 for side in world.box.size)
    (swimmer,) = world.species
    swimmer = dataclasses.replace(swimmer, placement=Placement("ball", middle, radius))
    return dataclasses.replace(scenario, world=dataclasses.replace(world, species=(swimmer,)))


def zermelo(seeds: int) -> list[Row]:
    env = make_env(
        "NavigateFlow-v0",
        temperature=0.0,
        arrival=1.0,
        horizon=300,
        actions="continuous",
        discount=0.99,
    )
    unit = 20.0 / 5.0
    best = 5.45787 * unit
    by_hand = first_arrival(env, find_agent("zermelo", env), 1.0, 4)
    naive = first_arrival(env, find_agent("steer-to-point", env), 1.0, 4)
    learning = PPOConfig(
        swarms=256, rollout=75, discount=0.99, gae_lambda=0.98, hidden=(64, 64), entropy=0.0
    )
    around = make_env(anywhere(env.scenario, 90.0))
    found = [
        first_arrival(env, trained(around, learning, 100, seed), 1.0, 4) / best
        for seed in range(seeds)
    ]
    return [
        row(
            "shear, no noise: time of arrival over Bryson and Ho's",
            found,
            "≤ 1.05",
            bool(np.mean(found) <= 1.05),
            f"T = 5.45787 L/v = {best:.2f} s; the solver {by_hand / best:.3f}, heading for the "
            f"goal {naive / best:.3f} of it; the goal is a disc of L/20, seen every 0.2 s; learned "
            "from starts anywhere within 4.5 L",
        )
    ]


@pytree
class VorticityAndHeading(Observable):
    """One of twelve states, as twelve numbers of which one is 1.

    The vorticity cos x cos z is below -1/3, above 1/3 or between; the heading is nearest to right,
    up, left or down.
    """

    def names(self, spec: Any) -> tuple[str, ...]:
        headings = ("right", "up", "left", "down")
        return tuple(f"{w} {n}" for w in ("clockwise", "none", "anticlockwise") for n in headings)

    def init(self, state: Any, space: Any) -> Any:
        return ()

    def observe(self, state: Any, memory: Any, space: Any) -> tuple[jax.Array, Any]:
        x = state.position - space.size / 2
        vorticity = jnp.cos(x[:, 0]) * jnp.cos(x[:, 1])
        turn = (vorticity > -1 / 3).astype(jnp.int32) + (vorticity > 1 / 3)
        angle = jnp.arctan2(state.director[:, 1], state.director[:, 0])
        heading = jnp.round(angle / (math.pi / 2)).astype(jnp.int32) % 4
        return jax.nn.one_hot(4 * turn + heading, 12, dtype=x.dtype), memory


@pytree
class Rise(Task):
    """Pays the displacement upwards."""

    def init(self, state: Any, space: Any) -> Any:
        return state.unwrapped(space)[:, 1]

    def evaluate(self, state: Any, memory: Any, space: Any) -> tuple[jax.Array, jax.Array, Any]:
        height = state.unwrapped(space)[:, 1]
        return height - memory, jnp.zeros(height.shape, bool), height


@pytree
class Upwards(Agent):
    """Always asks for up."""

    output: ClassVar[Literal["action", "command"]] = "action"

    def init_memory(self, spec: Any) -> Any:
        return ()

    def act(
        self, inputs: AgentInputs, memory: Any, key: Any, deterministic: bool = False
    ) -> tuple[Any, Any]:
        return jnp.full(inputs.state.capacity, 1, jnp.int32), memory


def gravitaxis_scenario(
    speed: float, stability: float, swimmers: int = 1, interval: float = 0.1, steps: int = 10
) -> Scenario:
    """A swimmer of speed Φ in Taylor-Green vortices, which a field turns: ṗ = [k - (k·p)p]/2Ψ.

    Lengths are in units of the vortices (here µm) and times in those of their vorticity (s).
    """
    swimmer = Species(
        count=swimmers,
        radius=0.1,
        rotational_friction=1.0,
        magnetic_moment=1 / (2 * stability),
        speed_max=speed,
    )
    world = World(
        Box((2 * math.pi, 2 * math.pi)),
        Fluid(temperature=0.0),
        (swimmer,),
        time_step=interval / steps,
        contacts=False,
        flows=(TaylorGreenFlow(0.5, 1.0),),
        field=GlobalField(strength_max=1.0),
    )
    return Scenario(
        id="Gravitaxis",
        world=world,
        observable=VorticityAndHeading(),
        task=Rise(),
        actions=AlignBy(jnp.asarray(1.0), jnp.asarray(speed), Votes(4)),
        control_interval=interval,
        horizon=round(40 / interval),
        baselines={"random": "random"},
        measure_name="heading (cos)",
        measure=lambda state, space: state.director[:, 1],
    )


def gravitaxis(seeds: int) -> list[Row]:
    rows = []
    for stability, known, gain in ((0.3, 7.25, 0.7), (1.0, 3.16, 1.2), (3.0, 2.47, 0.5)):
        env = make_env(gravitaxis_scenario(0.3, stability))
        many = make_env(gravitaxis_scenario(0.3, stability, swimmers=512))
        rise = evaluate_agent(many, Upwards(), 96, EVALUATION).returns
        naive, error = float(rise.mean()), float(rise.std() / math.sqrt(rise.size))
        allowed = 0.015 * known + 2 * error
        rows.append(
            row(
                f"Ψ = {stability:g}: rise of the naive swimmer",
                [naive],
                f"{known} ± 1.5 %",
                abs(naive - known) <= allowed,
                f"standard error {error:.3f}",
            )
        )
        learning = PPOConfig(
            swarms=256,
            rollout=80,
            discount=0.995,
            gae_lambda=0.98,
            hidden=(32, 32),
            entropy=0.02,
        )
        found = [
            float(
                evaluate_agent(
                    env, trained(env, learning, 160, seed), 4096, EVALUATION
                ).returns.mean()
            )
            / naive
            - 1
            for seed in range(seeds)
        ]
        rows.append(
            row(
                f"Ψ = {stability:g}: gain of PPO over it",
                found,
                f"≥ {0.8 * gain:.2f}, four fifths of a reproduction's {gain}",
                bool(np.mean(found) >= 0.8 * gain),
            )
        )
    return rows
