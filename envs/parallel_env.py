"""The PettingZoo view: one agent per colloid, on any engine."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from swarmctl.core.contracts import Engine
from swarmctl.core.errors import CommandError, ConfigError, SwarmctlError
from swarmctl.core.extras import import_extra
from swarmctl.core.spec import Discrete, EngineSpec
from swarmctl.core.state import SwarmState
from swarmctl.envs.episode import make_episodes
from swarmctl.envs.gym_env import (
    RENDER_FPS,
    check_action,
    colloid_action_space,
    observation_space,
)
from swarmctl.envs.make import as_scenario, make_engine
from swarmctl.envs.picture import SwarmPainter
from swarmctl.envs.scenario import Scenario, check_engine

ParallelEnv: Any = import_extra("marl").ParallelEnv

ByAgent = dict[str, Any]


class SwarmParallelEnv(ParallelEnv):  # type: ignore[misc]
    """A swarm in which every colloid is an agent of its own, "<species>_<number>".

    Observation of an agent: float32 [F]; action: Discrete, or Box [A] in [-1, 1]; reward: its own.

    The population is fixed and can lose members. An agent whose colloid terminates is removed with
    `terminations`, one whose colloid is lost from sight with `truncations`; at the horizon, and at
    a fault of the engine, all that are left are truncated. The colloid of a removed agent stays in
    the world where it is and rests: it is asked for no motion. No agent is revived: a colloid that
    is found again is another one, which this view does not use.

    Infos of an agent: `limited` (its last command was cut), and `fault` after one.

    Args:
        scenario: an id such as "Chemotaxis-v0", or a Scenario.
        engine: a registered name, or an Engine that is made already; it is closed with the
            environment.
        render_mode: "rgb_array", "human" or None.
        options: keys of the scenario, such as colloids=20 or radius="1.5 um".
    Raises UnknownNameError, ConfigError, UnitError, CapabilityError, MissingExtraError.
    """

    metadata: dict[str, Any] = {
        "name": "swarmctl",
        "render_modes": ["human", "rgb_array"],
        "render_fps": RENDER_FPS,
        "is_parallelizable": True,
    }

    def __init__(
        self,
        scenario: str | Scenario,
        engine: str | Engine = "jax",
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(
                f"render_mode {render_mode!r} is not known; allowed: human, rgb_array, None."
            )
        self.scenario = as_scenario(scenario, options)
        made = make_engine(engine, self.scenario) if isinstance(engine, str) else engine
        check_engine(self.scenario, made)
        self.engine = made
        self.render_mode = render_mode
        self.agent_spec = self.scenario.agent_spec(made.spec)
        self.metadata = {**self.metadata, "name": self.scenario.id}
        self.possible_agents = agent_names(made.spec)
        self.agents: list[str] = []
        size, actions = self.agent_spec.observation_size, self.agent_spec.action_space
        self.observation_spaces = {name: observation_space(size) for name in self.possible_agents}
        # One each: whoever samples seeds them one by one.
        self.action_spaces: dict[str, gymnasium.Space[Any]] = {
            name: colloid_action_space(actions) for name in self.possible_agents
        }
        self.state_space = observation_space(made.spec.capacity * size)
        self._rng = np.random.default_rng()
        self._episode = make_episodes(self.scenario, made)
        self._alive = np.zeros(made.spec.capacity, bool)
        self._identity = np.zeros(made.spec.capacity, int)
        self._rows = np.zeros((made.spec.capacity, size), np.float32)
        self._painter: SwarmPainter | None = None

    def observation_space(self, agent: str) -> gymnasium.Space[Any]:
        """Space of an agent's observations."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.Space[Any]:
        """Space of an agent's actions."""
        return self.action_spaces[agent]

    @property
    def swarm(self) -> SwarmState:
        """The present state of the swarm. Raises SwarmctlError before the first reset."""
        if self._episode.swarm is None:
            raise SwarmctlError("call reset() before reading the swarm.")
        return self._episode.swarm

    def state(self) -> np.ndarray:
        """What all colloids observe, one after the other, float32 [N F]."""
        return self._rows.reshape(-1).copy()

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ByAgent, ByAgent]:
        """Start an episode with all colloids that are there; equal seeds give equal episodes."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        drawn = int(self._rng.integers(2**31 - 1)) if seed is None else int(seed)
        self._rows = np.array(self._episode.reset(drawn), np.float32)
        self._alive = np.array(self.swarm.present)
        self._identity = np.array(self.swarm.identity)
        self.agents = self._those(self._alive)
        if self._painter is not None:
            self._painter.forget()
        self._show()
        return self._by_agent(self._rows, self._alive), {name: {} for name in self.agents}

    def step(self, actions: ByAgent) -> tuple[ByAgent, ByAgent, ByAgent, ByAgent, ByAgent]:
        """Act for one control interval with one action for every agent in `agents`.

        Returns observations, rewards, terminations, truncations and infos of those that acted.
        Raises CommandError for missing, foreign or bad actions, PhysicsError if the motion failed,
        SwarmctlError before reset and after the end.
        """
        if not self.agents:
            raise SwarmctlError("call reset() before step(), and after all agents are gone.")
        asked = self._collect(actions)
        acted = self._alive
        observation, reward, terminated, truncated, info = self._episode.step(asked, acted)
        self._rows = np.array(observation, np.float32)
        same = np.asarray(self.swarm.identity) == self._identity
        ended = terminated & acted
        lost = acted & ~ended & ~(np.asarray(info["remaining"]) & same)
        cut = acted & ~ended if truncated else lost
        # What stands in the row of a lost colloid may be another one's.
        rows = np.where(same[:, None], self._rows, 0)
        infos: ByAgent = {
            name: {"limited": bool(info["limited"][slot])}
            | ({"fault": info["fault"]} if "fault" in info else {})
            for name, slot in self._slots(acted)
        }
        results = (
            self._by_agent(rows, acted),
            {name: float(reward[slot]) for name, slot in self._slots(acted)},
            {name: bool(ended[slot]) for name, slot in self._slots(acted)},
            {name: bool(cut[slot]) for name, slot in self._slots(acted)},
            infos,
        )
        self._alive = acted & ~ended & ~cut
        self.agents = self._those(self._alive)
        self._show()
        return results

    def _collect(self, actions: ByAgent) -> np.ndarray:
        """Actions [N] or [N,A] of all colloids; those of removed agents do not matter."""
        given, wanted = set(actions), set(self.agents)
        if given != wanted:
            missing, odd = sorted(wanted - given), sorted(given - wanted)
            raise CommandError(
                f"actions: one is needed for every agent in `agents`, and for no other; missing: "
                f"{', '.join(missing) or 'none'}; not in the episode: {', '.join(odd) or 'none'}."
            )
        space = self.agent_spec.action_space
        kind = np.int64 if isinstance(space, Discrete) else np.float32
        rows = np.zeros((len(self._alive), *space.shape), kind)
        for name, slot in self._slots(self._alive):
            rows[slot] = _row(name, actions[name], space.shape, kind)
        return check_action(rows, space, (len(rows),))

    def _slots(self, mask: np.ndarray) -> list[tuple[str, int]]:
        return [(self.possible_agents[slot], int(slot)) for slot in np.flatnonzero(mask)]

    def _those(self, mask: np.ndarray) -> list[str]:
        return [name for name, _ in self._slots(mask)]

    def _by_agent(self, rows: np.ndarray, mask: np.ndarray) -> ByAgent:
        return {name: rows[slot].copy() for name, slot in self._slots(mask)}

    def render(self) -> Any:
        """Return a picture u8 [H,W,3] in mode rgb_array; None otherwise."""
        if self.render_mode != "rgb_array":
            return None
        swarm = self.swarm
        assert self._painter is not None
        return self._painter.draw(swarm)

    def _show(self) -> None:
        if self.render_mode is None:
            return
        if self._painter is None:
            self._painter = SwarmPainter(self.scenario)
        if self.render_mode == "human":
            self._painter.show(self.swarm)
        else:
            self._painter.remember(self.swarm)

    def close(self) -> None:
        """Close the engine and the window; may be called twice."""
        self.engine.close()
        self.agents = []
        if self._painter is not None:
            self._painter.close()
            self._painter = None


def agent_names(spec: EngineSpec) -> list[str]:
    """Names of the agents of all slots: the species and a number within it."""
    counts = dict.fromkeys(spec.species, 0)
    names = []
    for index in spec.species_of_slot:
        species = spec.species[index]
        names.append(f"{species}_{counts[species]}")
        counts[species] += 1
    return names


def _row(name: str, action: Any, shape: tuple[int, ...], kind: type[np.generic]) -> np.ndarray:
    array = np.asarray(action)
    whole = np.issubdtype(array.dtype, np.integer)
    if array.shape != shape or not (whole or kind is np.float32):
        wanted = "an integer" if kind is np.int64 else f"numbers of shape {shape}"
        raise CommandError(
            f"action of {name}: expected {wanted}, got {array.dtype} of shape {array.shape}."
        )
    return array


def parallel_env(
    scenario: str | Scenario = "Chemotaxis-v0",
    max_cycles: int | None = None,
    engine: str | Engine = "jax",
    render_mode: str | None = None,
    **options: Any,
) -> SwarmParallelEnv:
    """Return the environment as PettingZoo's modules do; `max_cycles` is the horizon."""
    if max_cycles is not None:
        options["horizon"] = max_cycles
    return SwarmParallelEnv(scenario, engine, render_mode, **options)


def env(**options: Any) -> Any:
    """Return the environment in which agents act one after the other (PettingZoo's AEC).

    Takes the arguments of `parallel_env`. The swarm moves when every agent has chosen.
    """
    convert = import_extra("marl", "pettingzoo.utils.conversions").parallel_to_aec
    return convert(parallel_env(**options))
