"""Recordings as data sets for offline learning (Minari, https://minari.farama.org)."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swarmctl.core.errors import ConfigError, RecordError
from swarmctl.core.extras import import_extra
from swarmctl.core.files import cannot_write
from swarmctl.engines.replay_engine import ReplayEngine
from swarmctl.envs.episode import EngineEpisode
from swarmctl.envs.gym_env import colloid_action_space, observation_space
from swarmctl.lab.export_config import MinariConfig
from swarmctl.lab.recorded_actions import recorded_actions
from swarmctl.lab.recorded_experiment import recorded_experiment, replay_env
from swarmctl.training.engine_episodes import EngineEnv

__all__ = ["ColloidEpisode", "MinariConfig", "MinariResult", "colloid_episodes", "export_minari"]


@dataclass(frozen=True)
class ColloidEpisode:
    """What one colloid saw, did and earned while it kept its identity, T decisions.

    Attributes:
        identity: of the colloid.
        observation: f32 [T+1,F].
        action: i64 [T] or f32 [T,A].
        reward: f [T].
        terminated: whether the task ended it; else it was lost, or the recording ended.
    """

    identity: int
    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: bool


@dataclass(frozen=True)
class MinariResult:
    """What was written: the data set's folder, its episodes and transitions."""

    path: Path
    episodes: int
    transitions: int


def export_minari(config: MinariConfig) -> MinariResult:
    """Write a data set; it is read by `minari.load_dataset`, with `MINARI_DATASETS_PATH` set.

    Observations, rewards and spaces are those of the scenario, computed from the recorded states.
    A colloid that is lost ends its episode by truncation, with what it saw last. Raises
    MissingExtraError without Minari, ConfigError, CapabilityError, and RecordError if there is such
    a data set already.
    """
    minari = import_extra("minari")
    buffer_class = import_extra("minari", "minari.data_collector").EpisodeBuffer
    experiment = recorded_experiment(
        config.recording, config.scenario, config.set, episode=config.episode
    )
    env = replay_env(experiment)
    found = colloid_episodes(env, config)
    if not found:
        raise ConfigError(
            f"{config.recording}: no colloid was in the episode for a whole decision; there is "
            "nothing to export."
        )
    buffers = [_buffer(buffer_class, number, one) for number, one in enumerate(found)]
    with _datasets_in(config.folder):
        root = import_extra("minari", "minari.storage.datasets_root_dir")
        try:
            path = Path(root.get_dataset_path(config.dataset))
        except OSError as error:
            raise cannot_write(config.folder or Path("~/.minari"), error) from error
        if path.exists():
            raise RecordError(f"{path}: there is a data set already. Give another name.")
        try:
            # It warns of everything that a published data set has and this one lacks.
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                minari.create_dataset_from_buffers(
                    config.dataset,
                    buffers,
                    observation_space=observation_space(env.spec.observation_size),
                    action_space=colloid_action_space(env.spec.action_space),
                    algorithm_name="recording",
                    author=config.author or None,
                    description=f"{env.scenario.id}, one episode per colloid, from a recording",
                )
        except BaseException as error:
            shutil.rmtree(path, ignore_errors=True)  # half a data set cannot be read
            if isinstance(error, OSError):
                raise cannot_write(path, error) from error
            if isinstance(error, ValueError):
                raise ConfigError(f"data set {config.dataset!r}: {error}") from error
            raise
    return MinariResult(path, len(found), sum(len(one.reward) for one in found))


def colloid_episodes(env: EngineEnv, config: MinariConfig) -> list[ColloidEpisode]:
    """Return the episodes of all colloids of a recording; `env` as `replay_env` makes it.

    Raises ConfigError or CapabilityError if the commands are no actions of the scenario.
    """
    engine = env.engine
    assert isinstance(engine, ReplayEngine)
    episode = EngineEpisode(env.scenario, engine)
    seen = [np.asarray(episode.reset(0), np.float32)]
    assert episode.swarm is not None
    swarms = [episode.swarm]
    rewards, ended, active = [], [], []
    commands = [engine.recorded(k, config.commands) for k in range(engine.decisions)]
    for k in range(engine.decisions):
        observation, reward, terminated, _, info = episode.obey(engine.recorded(k, "applied"))
        seen.append(np.asarray(observation, np.float32))
        rewards.append(reward)
        ended.append(terminated)
        active.append(info["active"])
        swarms.append(episode.swarm)
    identity = np.stack([np.asarray(swarm.identity) for swarm in swarms])
    controllable = np.stack([np.asarray(swarm.controllable) for swarm in swarms])
    same = (identity[1:] == identity[:-1]) & (identity[1:] >= 0)
    # A stuck colloid acts on nothing, and teaches nothing about acting.
    counts = np.stack(active) & same & controllable[:-1]
    actions = recorded_actions(env.scenario.actions, engine.spec, commands, counts)
    parts = []
    for slot in range(engine.spec.capacity):
        for start, stop in _runs(counts[:, slot]):
            parts.append(
                ColloidEpisode(
                    identity=int(identity[start, slot]),
                    observation=np.stack([row[slot] for row in seen[start : stop + 1]]),
                    action=actions[start:stop, slot],
                    reward=np.array([row[slot] for row in rewards[start:stop]], float),
                    terminated=bool(ended[stop - 1][slot]),
                )
            )
    return parts


def _runs(counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last+1 of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], counts.astype(int), [0]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _buffer(buffer_class: type, number: int, episode: ColloidEpisode) -> object:
    count = len(episode.reward)
    last = np.arange(count) == count - 1
    return buffer_class(
        id=number,
        observations=episode.observation,
        actions=episode.action,
        rewards=episode.reward,
        terminations=last & episode.terminated,
        truncations=last & (not episode.terminated),
        infos={"identity": np.full(count + 1, episode.identity)},
    )


@contextmanager
def _datasets_in(folder: Path | None) -> Iterator[None]:
    """Have Minari keep its data sets in a folder; it takes it from the environment alone."""
    name = "MINARI_DATASETS_PATH"
    before = os.environ.get(name)
    if folder is not None:
        os.environ[name] = str(folder.absolute())  # it cannot do with another one
    try:
        yield
    finally:
        if before is not None:
            os.environ[name] = before
        elif folder is not None:
            del os.environ[name]
