"""An observable, a task and a scenario of one's own: find the source, and see who is near.

Check them with `swarmctl check own_scenario.py:FindConfig`, or `:Find` or `:Neighbours` alone.
Run this file to train a policy.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

import swarmctl
from swarmctl.core.config import key
from swarmctl.core.contracts import Observable, Task
from swarmctl.core.tree import pytree
from swarmctl.envs.scenario import Scenario, ScenarioConfig
from swarmctl.observe.observables import Joined


@pytree
class Neighbours(Observable):
    """How many others are nearer than `reach` [] µm."""

    reach: ArrayLike = 15.0

    def names(self, spec: Any) -> tuple[str, ...]:
        return ("neighbours",)

    def init(self, state: Any, space: Any) -> Any:
        return ()

    def observe(self, state: Any, memory: Any, space: Any) -> tuple[jax.Array, Any]:
        distance = space.distance(state.position[:, None], state.position[None])
        others = ~jnp.eye(len(distance), dtype=bool) & state.present & state.present[:, None]
        near = (distance < self.reach) & others
        return jnp.sum(near, axis=1, keepdims=True).astype(distance.dtype), memory


@pytree
class Find(Task):
    """Pays every µm of approach to the source; within `radius` [] µm of it a colloid is done."""

    radius: ArrayLike = 10.0

    def init(self, state: Any, space: Any) -> Any:
        return space.distance(state.position, space.size / 2)

    def evaluate(self, state: Any, memory: Any, space: Any) -> tuple[jax.Array, jax.Array, Any]:
        distance = space.distance(state.position, space.size / 2)
        reward = jnp.where(state.present, memory - distance, 0)
        return reward, state.present & (distance < self.radius), distance


@dataclasses.dataclass(frozen=True)
class FindConfig(ScenarioConfig):
    """Keys of Find-v0."""

    id: ClassVar[str] = "Find-v0"
    colloids: int = key(10, "number of colloids")
    radius: float = key(10.0, "distance at which the source is found", "um")
    horizon: int = key(256, "decisions in an episode")

    def build(self) -> Scenario:
        base = swarmctl.make_scenario("Chemotaxis-v0", colloids=self.colloids, horizon=self.horizon)
        return dataclasses.replace(
            base,
            id=self.id,
            observable=Joined((base.observable, Neighbours())),
            task=Find(self.radius),
        )


if __name__ == "__main__":
    from swarmctl.agents.deep.ppo import PPOConfig
    from swarmctl.training.learner import Learner

    env = swarmctl.make_env(FindConfig().build())
    learner = Learner(env, PPOConfig(), updates=30)
    state = learner.init(seed=0)
    for update in range(30):
        state, figures = learner.update(state, seed=0)
        if update % 10 == 9:
            print(f"update {update + 1}: {float(figures['episode_return']):.1f} µm closer")
