"""The verb `lab replay`: what would this agent have asked for in a run that was recorded?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from swarmctl.core.config import to_dict
from swarmctl.core.errors import SwarmctlError
from swarmctl.core.state import SwarmState
from swarmctl.engines.command_difference import channel_ranges, command_difference
from swarmctl.engines.replay_episode import Recording, longest_episode, read_recording
from swarmctl.lab.recorded_experiment import recorded_experiment, replay_env
from swarmctl.lab.replay_config import ReplayConfig
from swarmctl.records.files import write_json_atomic
from swarmctl.records.layout import CHANNEL_UNITS
from swarmctl.records.run_folder import RunFolder
from swarmctl.training.engine_episodes import Decision, EngineEnv, stacked
from swarmctl.training.evaluate import Rollout, find_agent, finite
from swarmctl.training.experiment import Experiment
from swarmctl.training.record import write_rollout

__all__ = ["ChannelAgreement", "ReplayConfig", "ReplayResult", "replay"]


@dataclass(frozen=True)
class ChannelAgreement:
    """How well an agent agrees with a recording in one channel.

    Attributes:
        compared: commands that were compared: of colloids that were present, controllable and in
            the episode; of a field one a decision.
        agreement: share of them that agree within the tolerance; NaN if there are none.
        mean_difference, largest_difference: see `command_difference`, in the channel's unit.
        missing: commands that the recording does not have.
    """

    compared: int
    agreement: float
    mean_difference: float
    largest_difference: float
    missing: int


@dataclass(frozen=True)
class ReplayResult:
    """What `replay` found: decisions, agreement by channel, the same in words, the folder."""

    decisions: int
    channels: Mapping[str, ChannelAgreement]
    text: str
    path: Path | None


def replay(config: ReplayConfig, say: Callable[[str], None] = print) -> ReplayResult:
    """Run an agent against a recording and compare commands, channel by channel.

    The agent sees the recorded states, those of the longest episode unless another is chosen; what
    it asks for moves nothing. With `out`, a run folder gets `comparison.json` and a trajectory with
    the agent's commands as requested and the recorded ones as applied. Raises ConfigError,
    CapabilityError, RecordError, RunFolderError, UnknownNameError and PolicyFileError.
    """
    path, episode = config.recording, config.episode
    assert path is not None
    if episode is None:
        episode = longest_episode(path)
        config = dataclasses.replace(config, episode=episode)
    experiment = recorded_experiment(
        path, config.scenario, config.set, episode=episode, against=config.against
    )
    env = replay_env(experiment)
    agent = find_agent(config.agent, env)
    first, *rest = env.episode(agent, config.seed, config.deterministic)
    steps = [step for step in rest if isinstance(step, Decision)]
    assert isinstance(first, SwarmState)
    if steps[-1].fault is not None:
        raise SwarmctlError(f"lab replay: {steps[-1].fault}")
    recording = read_recording(path, episode)
    channels = compare(recording, env, config, first, steps)
    text = _describe(config, len(steps), channels)
    if config.out is not None:
        _write(config.out, config, experiment, env, stacked(first, steps), channels)
    say(text)
    return ReplayResult(len(steps), channels, text, config.out)


def compare(
    recording: Recording,
    env: EngineEnv,
    config: ReplayConfig,
    first: SwarmState,
    steps: Sequence[Decision],
) -> dict[str, ChannelAgreement]:
    """Compare the commands of all decisions with those of the recording."""
    ranges = channel_ranges(env.spec.engine)
    before, apart = first, dict[str, list[np.ndarray]]()
    shares: dict[str, list[np.ndarray]] = {}
    for step, row in zip(steps, recording.rows[1:], strict=True):
        counts = step.active & np.asarray(before.present & before.controllable)
        asked = jax.tree.map(np.asarray, step.requested)
        recorded = recording.command(config.against, int(row))
        for name, difference in command_difference(asked, recorded).items():
            chosen = difference[counts] if difference.ndim else difference[None]
            limit = np.broadcast_to(ranges[name], difference.shape)
            share = (difference / limit)[counts] if difference.ndim else (difference / limit)[None]
            apart.setdefault(name, []).append(chosen)
            shares.setdefault(name, []).append(share)
        before = step.swarm
    return {
        name: _agreement(np.concatenate(apart[name]), np.concatenate(shares[name]), config)
        for name in apart
    }


def _agreement(apart: np.ndarray, shares: np.ndarray, config: ReplayConfig) -> ChannelAgreement:
    known = np.isfinite(apart)
    apart, shares = apart[known], shares[known]
    nothing = float("nan")
    return ChannelAgreement(
        compared=len(apart),
        agreement=float(np.mean(shares <= config.tolerance)) if len(apart) else nothing,
        mean_difference=float(np.mean(apart)) if len(apart) else nothing,
        largest_difference=float(np.max(apart)) if len(apart) else nothing,
        missing=int(np.sum(~known)),
    )


def _describe(
    config: ReplayConfig, decisions: int, channels: Mapping[str, ChannelAgreement]
) -> str:
    lines = [
        f"{config.agent} against {config.recording}, episode {config.episode}, {decisions} "
        f"decisions, compared with what was {config.against} (agreement: within "
        f"{config.tolerance:g} of the range)"
    ]
    for name, found in channels.items():
        unit = CHANNEL_UNITS.get(name, "rad" if name == "heading" else "")
        line = (
            f"  {name:<12} {100 * found.agreement:5.1f} % agree, mean difference "
            f"{found.mean_difference:.3g} {unit}".rstrip()
        )
        if found.missing:
            line += f", {found.missing} not recorded"
        lines.append(line)
    return "\n".join(lines)


def _write(
    folder: Path,
    config: ReplayConfig,
    experiment: Experiment,
    env: EngineEnv,
    episode: tuple[SwarmState, dict[str, Any]],
    channels: Mapping[str, ChannelAgreement],
) -> None:
    states, named = episode
    tables = {"replay": to_dict(config), "experiment": experiment.tables()}
    with RunFolder.create(folder, tables, "lab replay", config.overwrite) as run:
        rows = {
            name: {
                key: finite([value])[0] if isinstance(value, float) else value
                for key, value in dataclasses.asdict(found).items()
            }
            for name, found in channels.items()
        }
        write_json_atomic(run.path / "comparison.json", {"agent": config.agent, "channels": rows})
        about = {"source": config.agent, "seed": config.seed}
        path = run.path / "trajectory.h5md"
        write_rollout(path, experiment, env, Rollout(states, **named), about)
