"""The verb `lab run`: an agent drives a microscope, beside a twin that watches."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from swarmctl.bridge.microscope.parts import Parts
from swarmctl.bridge.switch.bridge import Bridge
from swarmctl.bridge.switch.microscope_plant import MicroscopePlant
from swarmctl.bridge.switch.modes import GuardConfig, Mode
from swarmctl.bridge.switch.probe import ProbeReport
from swarmctl.core.config import apply_overrides, build, to_dict
from swarmctl.core.contracts import Agent
from swarmctl.core.errors import ArmingError, ConfigError
from swarmctl.core.state import SwarmState, mean_present
from swarmctl.envs.scenario import Scenario
from swarmctl.lab.configs import RunConfig
from swarmctl.lab.film import write_film
from swarmctl.lab.session import Session
from swarmctl.training.engine_episodes import Decision, EngineEnv
from swarmctl.training.evaluate import find_agent
from swarmctl.training.experiment import Experiment, load_experiment

ENDLESS = 2**30
"""Decisions of an episode that a clock ends, not a count."""


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    Attributes:
        path: folder of the record.
        passed: whether it went on to its end.
        probe: what the probe found; None in SHADOW.
        decisions: how many were made while the agent drove, or watched in SHADOW.
        reward: mean reward of a colloid, summed over them.
        first, last: the scenario's measure in the first and the last tenth, mean over colloids.
        fault: what ended it, "" if nothing did.
        files: films.
    """

    path: Path
    passed: bool
    probe: ProbeReport | None
    decisions: int
    reward: float
    first: float
    last: float
    fault: str
    files: tuple[Path, ...]


def run(
    config: RunConfig, say: Callable[[str], None] = print, parts: Parts | None = None
) -> RunResult:
    """Let an agent drive a microscope: SHADOW, guards, probe, DRIVE, and back.

    Everything is recorded in `out`. Whatever goes wrong brings the outputs to their safe values; so
    do Ctrl-C, the key q and closing the window. `parts` stand in for what the rig file names.
    Raises ArmingError with every reason if the agent may not drive, and errors of rig, calibration,
    scenario and agent before anything moves.
    """
    experiment = _experiment(config.twin or config.agent, config.set)
    scenario = dataclasses.replace(experiment.built(), horizon=ENDLESS)
    guards = build(GuardConfig, apply_overrides({}, config.guards), "guards")
    tables = {
        "rig": str(config.rig),
        "experiment": experiment.tables(),
        "agent": config.agent,
        "guards": to_dict(guards),
        "operator": config.operator,
    }
    with Session(
        config.rig, scenario.world, scenario.control_interval, config.out, tables, "lab run",
        images=config.images, view=config.view, goal=marks(scenario), overwrite=config.overwrite,
        say=say, parts=parts,
    ) as session:  # fmt: skip
        plant = MicroscopePlant(session.engine)
        bridge = Bridge(plant, scenario.world, scenario.control_interval, guards, session.event)
        env = EngineEnv(scenario, bridge)
        agent = find_agent(config.agent, env)
        say(f"SHADOW: watching {session.engine.rig.name}; nothing is done")
        pilot = Pilot(env, agent, bridge, session, config)
        result = pilot.fly()
    files = write_film(config.out, session.overlays) if config.images else ()
    result = dataclasses.replace(result, files=files)
    say(_words(result, scenario))
    return result


def _experiment(source: str, overrides: tuple[str, ...]) -> Experiment:
    try:
        return load_experiment(source, overrides)
    except LookupError as error:
        raise ConfigError(
            f"{source!r} does not say of which scenario it is: give --twin, a scenario id or an "
            f"experiment file ({error})"
        ) from None


def marks(scenario: Scenario) -> np.ndarray:
    """Circles [G,3] µm that pictures of a scenario mark: x, y, radius."""
    points = scenario.picture.markers if scenario.picture is not None else {}
    return np.array([[*point[:2], 2.0] for point in points.values()]).reshape(-1, 3)


class Pilot:
    """The loop of a run, with what is counted in it."""

    def __init__(
        self, env: EngineEnv, agent: Agent, bridge: Bridge, session: Session, config: RunConfig
    ) -> None:
        self._env, self._agent, self._bridge = env, agent, bridge
        self._session, self._config = session, config
        space, measure = env.space, env.scenario.measure
        # Compiled in SHADOW: while outputs are live nothing may take its time.
        self._measure = jax.jit(lambda swarm: mean_present(measure(swarm, space), swarm.present))
        self._rewards: list[float] = []
        self._measures: list[float] = []

    def fly(self) -> RunResult:
        """Watch, arm, drive, hand back."""
        config, bridge = self._config, self._bridge
        probe = None
        if config.mode == "drive":
            self._watch()
            channels = self._env.scenario.actions.channels
            probe = bridge.engage(config.operator, channels)
        fault = self._drive(config.seconds)
        if bridge.mode is Mode.DRIVE:
            bridge.release("time is up")
        tenth = max(1, len(self._measures) // 10)
        first, last = (
            float(np.nanmean(part)) if part else math.nan
            for part in (self._measures[:tenth], self._measures[-tenth:])
        )
        return RunResult(
            path=config.out,
            passed=not fault,
            probe=probe,
            decisions=len(self._rewards),
            reward=float(np.nansum(self._rewards)),
            first=first,
            last=last,
            fault=fault,
            files=(),
        )

    def _watch(self) -> None:
        """Stay in SHADOW until the guards hold. Raises ArmingError if they never do."""
        config, bridge = self._config, self._bridge
        assert bridge.plant is not None
        reasons = bridge.plant.reasons()
        if reasons:
            raise ArmingError("the agent may not drive: " + "; ".join(reasons) + ".")
        session = self._session
        end = session.engine.clock() + config.patience
        for decision in self._episode(config.seed):
            self._session.decided(decision, "shadow")
            self._measure(decision.swarm)
            if self._session.emergency():
                raise ArmingError("stopped by the operator before the agent drove.")
            if decision.fault is not None:
                raise ArmingError(f"the microscope failed in SHADOW: {decision.fault}.")
            if not bridge.reasons(config.operator):
                return
            if session.engine.clock() > end:
                raise ArmingError(
                    f"the agent may not drive after {config.patience:g} s in SHADOW: "
                    + "; ".join(bridge.reasons(config.operator))
                    + "."
                )

    def _drive(self, seconds: float) -> str:
        """Let the agent act for so long; return the fault that ended it, if one did."""
        clock, end = self._session.engine.clock, math.inf
        for decision in self._episode(self._config.seed + 1):
            self._session.decided(decision, str(self._bridge.mode))
            end = min(end, clock() + seconds)
            if decision.fault is not None:
                return decision.fault
            counts = np.asarray(decision.swarm.present) & decision.active
            if counts.any():
                self._rewards.append(float(np.mean(decision.reward[counts])))
                self._measures.append(float(self._measure(decision.swarm)))
            if self._session.emergency():
                self._bridge.emergency("the operator pressed the emergency stop")
                return self._bridge.fault
            if clock() > end:
                break
        return ""

    def _episode(self, seed: int) -> Any:
        """Decisions of an episode; its first state is only kept."""
        episode = self._env.episode(self._agent, seed, self._config.deterministic)
        for moment in episode:
            if isinstance(moment, Decision):
                yield moment
            else:
                assert isinstance(moment, SwarmState)
                self._session.began(moment)


def _words(result: RunResult, scenario: Scenario) -> str:
    lines = []
    if result.fault:
        lines.append(f"ended by a fault: {result.fault}")
    lines.append(
        f"{result.decisions} decisions; {scenario.measure_name}: {result.first:.2f} in the first "
        f"tenth, {result.last:.2f} in the last; reward {result.reward:.2f}"
    )
    lines.append(f"record: {result.path}")
    lines += [f"film: {path}" for path in result.files]
    return "\n".join(lines)
