"""Every registered scenario, engine and agent keeps its contract."""

from __future__ import annotations

from typing import Any

import pytest

from swarmctl.core import registry
from swarmctl.core.bodies import Body, Rod
from swarmctl.core.errors import CapabilityError
from swarmctl.core.fields import HarmonicTrap, UniformFlow
from swarmctl.core.grids import Chemical
from swarmctl.core.walls import Circle, Segment
from swarmctl.core.world import Box, GlobalField, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.testing import (
    Report,
    check_agent,
    check_engine,
    check_functional,
    check_gym_env,
    check_options,
    check_vector_env,
)


def everything(dimension: int) -> World:
    """Every part of a world at once, with inertia."""
    size = (60.0,) * dimension
    centre = tuple(30.0 for _ in size)
    top = (30.0, 52.0, 30.0)[:dimension]
    return World(
        Box(size, "hard"),
        species=(
            Species("sphere", 4, speed_max=3, magnetic_moment=0.01, force=(0.01,) * dimension),
            Species("spheroid", 3, aspect_ratio=2.0, speed_max=3, rolling=0.1),
        ),
        bodies=(Body(shape=Rod(12.0, 2.0), placement=Placement("points", positions=(top,))),),
        walls=(Segment((10.0, 20.0), (25.0, 20.0), 1.0), Circle((45.0, 20.0), 5.0)),
        flows=(UniformFlow((0.5,) * dimension),),
        potentials=(HarmonicTrap(0.01, centre, species=("sphere",)),),
        chemicals=(Chemical("food", 10.0, 0.1, (1.0, 0.0), 3.0),),
        field=GlobalField(strength_max=5.0, gradient_max=0.1, frequency_max=5.0),
        hydrodynamics=None,
        dynamics="langevin",
        time_step=1e-4,
    )


SCENARIOS = registry.scenarios.names()
# The views of Gymnasium share one code for all scenarios: these have all kinds of parts.
VIEWED = ("Chemotaxis-v0", "ChemotaxisContinuous-v0", "PredatorPrey-v0", "RotateRod-v0")
CHEMOTAXIS = ("Chemotaxis-v0", "ChemotaxisContinuous-v0")
ACTS_IN = {
    "baeuerle": ("Swirl-v0",),
    "constant": CHEMOTAXIS,
    "constant-drive": ("Swirl-v0",),
    "constant-heading": ("ReachGoal-v0",),
    "follow-goal": ("Gather-v0",),
    "evolution": ("ChemotaxisContinuous-v0",),
    "excite": ("Swirl-v0",),
    "gradient-climber": CHEMOTAXIS,
    "lavergne": ("GroupFormation-v0",),
    "lymburn": ("Swirl-v0",),
    "ppo": CHEMOTAXIS,
    "pursue": ("PredatorPrey-v0",),
    "random": ("ChemotaxisContinuous-v0", "PredatorPrey-v0"),
    "recurrent-ppo": ("Chemotaxis-v0",),
    "reinforce": ("Chemotaxis-v0",),
    "roll-to-point": ("ReachGoalField-v0",),
    "rod-carrier": ("TransportRod-v0",),
    "rod-pusher": ("RotateRod-v0",),
    "run-and-tumble": CHEMOTAXIS,
    "steer-to-point": ("ReachGoal-v0", "ReachGoalContinuous-v0"),
    "steer-to-source": CHEMOTAXIS,
    "vicsek": ("Swirl-v0",),
    "waypoints": ("ReachGoal-v0",),
    "zermelo": ("NavigateFlow-v0",),
}
"""Where every agent is checked: where it belongs."""
WORLDS = {
    "2D": World(
        Box((40.0, 40.0)),
        species=(Species("a", 2, speed_max=3), Species("b", 2, radius=1.5, speed_max=3)),
    ),
    "3D": World(Box((30.0, 30.0, 30.0)), species=(Species(count=3, speed_max=3),)),
    "everything in 2D": everything(2),
}
ENGINES = {"jax": JaxEngine}


def assert_clean(report: Report, may_skip: frozenset[str] = frozenset()) -> None:
    assert report.ok, str(report)
    assert report.skipped.keys() <= may_skip, str(report)
    assert report.passed


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_keeps_the_functional_contract(name: str, quick_env: Any) -> None:
    assert_clean(check_functional(quick_env(name)))


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_refuses_bad_options(name: str) -> None:
    assert_clean(check_options(registry.scenarios[name].load()))


@pytest.mark.parametrize("name", VIEWED)
def test_gymnasium_view_keeps_its_contract(name: str, quick_gym: Any) -> None:
    assert_clean(check_gym_env(quick_gym(name, render_mode="rgb_array")))


@pytest.mark.parametrize("name", VIEWED[:3])
def test_vector_view_keeps_its_contract(name: str, quick_vector: Any, quick_gym: Any) -> None:
    assert_clean(check_vector_env(lambda mode: quick_vector(name, mode), lambda: quick_gym(name)))


def test_no_engine_is_left_out() -> None:
    # A link needs a laboratory, and is checked with one in tests/engines/test_link_engine.py;
    # ESPResSo has to be installed, and is checked in tests/engines/test_espresso_engine.py;
    # a replay needs a recording, and is checked with one in tests/engines/test_replay_engine.py;
    # a microscope is checked with a toy in tests/bridge/microscope/test_microscope_engine.py.
    others = {"link", "espresso", "replay", "microscope"}
    assert set(registry.engines.names()) == ENGINES.keys() | others


@pytest.mark.parametrize("dimension", WORLDS)
@pytest.mark.parametrize("name", ENGINES)
def test_engine_keeps_its_contract(name: str, dimension: str) -> None:
    assert registry.engines[name].load() is ENGINES[name]
    assert_clean(check_engine(ENGINES[name](WORLDS[dimension], 0.02)))


def test_no_agent_is_left_out() -> None:
    # A recorded agent needs a recording, and is checked with one in tests/agents/test_recorded.py.
    assert set(registry.agents.names()) == ACTS_IN.keys() | {"recorded"}


@pytest.mark.parametrize(
    ("name", "scenario"), [(name, place) for name, places in ACTS_IN.items() for place in places]
)
def test_agent_keeps_its_contract(name: str, scenario: str, quick_env: Any) -> None:
    report = check_agent(name, quick_env(scenario))
    assert_clean(report, frozenset({"agent.memory-rows"}))


def test_agent_that_does_not_fit_says_so() -> None:
    """The suite does not hide an agent's own refusal."""
    from swarmctl.envs.make import make_env

    env = make_env("Chemotaxis-v0", colloids=2, history=1)
    blind = type(env.spec)(**{**vars(env.spec), "observation_names": ("a", "b", "c")})
    with pytest.raises(CapabilityError, match="field change"):
        registry.agents["run-and-tumble"].load()().build(blind)
