"""The verb `lab record`: a swarm at a microscope, at rest or while an agent drives it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swarmctl.bridge.microscope.parts import Parts
from swarmctl.core.errors import ConfigError
from swarmctl.lab.configs import RecordConfig
from swarmctl.lab.film import write_film
from swarmctl.lab.run import ENDLESS, marks
from swarmctl.lab.session import Session
from swarmctl.training.engine_episodes import Decision, EngineEnv
from swarmctl.training.evaluate import find_agent
from swarmctl.training.experiment import load_experiment


@dataclass(frozen=True)
class Recorded:
    """What was recorded: folder, decisions, whether it went on to its end, and the fault if not."""

    path: Path
    decisions: int
    passed: bool
    fault: str


def record(
    config: RecordConfig, say: Callable[[str], None] = print, parts: Parts | None = None
) -> Recorded:
    """Record a swarm for some time.

    With an operator the outputs are armed and the agent drives within the rig's limits; there is no
    twin yet that could watch, so somebody should. Without one the outputs stay safe, and what the
    agent asks for is only written down. `parts` stand in for what the rig file names. Raises errors
    of rig, calibration, scenario and agent, and ArmingError.
    """
    experiment = load_experiment(config.scenario, config.set)
    scenario = dataclasses.replace(experiment.built(), horizon=ENDLESS)
    if scenario.world.dimension != 2:
        raise ConfigError("lab record: a camera sees a plane; take a scenario in two dimensions.")
    tables = {
        "rig": str(config.rig),
        "experiment": experiment.tables(),
        "agent": config.agent,
        "operator": config.operator,
    }
    fault = ""
    with Session(
        config.rig, scenario.world, scenario.control_interval, config.out, tables, "lab record",
        images=config.images, view=False, goal=marks(scenario), overwrite=config.overwrite,
        say=say, parts=parts, operator=config.operator, dry=not config.operator.strip(),
    ) as session:  # fmt: skip
        env = EngineEnv(scenario, session.engine)
        agent = find_agent(config.agent, env)
        clock = session.engine.clock
        end, decisions = math.inf, 0
        label = "recording" if config.operator.strip() else "recording, outputs safe"
        for moment in env.episode(agent, config.seed, deterministic=False):
            if not isinstance(moment, Decision):
                session.began(moment)
                end = clock() + config.seconds
                continue
            decisions += 1
            session.decided(moment, label)
            if moment.fault is not None:
                fault = moment.fault
                break
            if session.emergency():
                session.engine.gatekeeper.stop("the operator pressed the emergency stop")
                fault = "the operator pressed the emergency stop"
                break
            if clock() > end:
                break
    files = write_film(config.out, session.overlays) if config.images else ()
    if fault:
        say(f"ended by a fault: {fault}")
    say(f"{decisions} decisions in {config.out}" + "".join(f"\nfilm: {path}" for path in files))
    return Recorded(config.out, decisions, not fault, fault)
