"""The contract suites behind `swarmctl check`: what an engine, an environment and an agent must
do, as named rules.

Every suite returns a `Report` with the rules that hold, the findings with their remedies, and what
was not tried.
"""

from swarmctl.testing.agent_suite import check_agent
from swarmctl.testing.device_suite import check_device
from swarmctl.testing.engine_suite import check_engine
from swarmctl.testing.gym_suite import check_gym_env
from swarmctl.testing.parallel_suite import check_parallel_env
from swarmctl.testing.piece_suite import check_action_map, check_observable, check_task
from swarmctl.testing.report import Finding, Report
from swarmctl.testing.sb3_suite import check_sb3_env
from swarmctl.testing.scenario_suite import check_functional, check_options, check_scenario
from swarmctl.testing.target import check, check_thing
from swarmctl.testing.vector_suite import check_vector_env

__all__ = [
    "Finding",
    "Report",
    "check",
    "check_action_map",
    "check_agent",
    "check_device",
    "check_engine",
    "check_functional",
    "check_gym_env",
    "check_observable",
    "check_options",
    "check_parallel_env",
    "check_sb3_env",
    "check_scenario",
    "check_task",
    "check_thing",
    "check_vector_env",
]
