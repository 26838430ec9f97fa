"""Registries of engines, scenarios and agents: a name, where it lives, and one line about it.

A thing in a file of one's own has a name, too: ``"my_file.py:Thing"``.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from swarmctl.core.errors import ConfigError, DuplicateNameError, UnknownNameError, nearest


@dataclass(frozen=True)
class Entry:
    """One registered thing, or one in a file.

    `target` is ``"module:attribute"`` or ``"file.py:attribute"``, resolved when it is first needed.
    `base` is the target of the class that things in files must inherit from.
    """

    name: str
    target: str
    summary: str
    base: str = ""

    def load(self) -> Any:
        """Import the target and return it. Raises ConfigError if it is of another kind."""
        thing = load_target(self.target)
        if not self.fits(thing):
            wanted = self.base.partition(":")[2]
            raise ConfigError(f"{self.target}: is no class that inherits from {wanted}.")
        return thing

    def fits(self, thing: Any) -> bool:
        """Whether a thing is of this kind, as far as that is known."""
        if not (self.base and is_file_target(self.target)):
            return True
        return isinstance(thing, type) and issubclass(thing, load_target(self.base))


def is_file_target(text: str) -> bool:
    """Whether a text names something in a file, such as ``"my_file.py:Thing"``.

    >>> is_file_target("a/my_file.py:Thing"), is_file_target("math:pi"), is_file_target("my.py")
    (True, False, False)
    """
    path, colon, attribute = text.rpartition(":")
    return bool(colon) and path.endswith(".py") and attribute.isidentifier()


@dataclass(frozen=True)
class OwnFile:
    """A file of the user's, imported: its full path, the sha256 of its text, and the module."""

    path: Path
    sha256: str
    module: ModuleType


def attribute_of(module: ModuleType, path: str | Path, attribute: str) -> Any:
    """Return what has this name in a file. Raises ConfigError with the nearest one."""
    if not hasattr(module, attribute):
        names = [n for n in vars(module) if not n.startswith("_")]
        raise ConfigError(f"{path} has no {attribute!r}. {nearest(attribute, names)}")
    return getattr(module, attribute)


def load_file(path: str | Path) -> OwnFile:
    """Import a file once for every text that it has had; files in its folder can be imported by it.

    Raises ConfigError if there is no such file or if it cannot be imported.
    """
    found = find_file(path)
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    return _load_once(found, digest)


@functools.cache
def _load_once(path: Path, digest: str) -> OwnFile:
    return OwnFile(path, digest, import_file(path, f"_swarmctl_own_{path.stem}_{digest[:12]}"))


def find_file(path: str | Path) -> Path:
    """Return the full path of a file. Raises ConfigError, with the nearest name, without one."""
    full = Path(path).expanduser().resolve()
    if not full.is_file():
        files = [p.name for p in full.parent.glob("*.py")] if full.parent.is_dir() else []
        raise ConfigError(
            f"there is no file {str(full)!r}. {nearest(full.name, files)} If it has moved, name it "
            "where it is now, as in 'folder/my_file.py:Thing'."
        )
    return full


def import_file(path: Path, name: str) -> ModuleType:
    """Execute a file as the module `name`. Raises ConfigError if that fails, and leaves no half."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.parent)
    sys.modules[name] = module
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(
            f"{path.name} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    return module


def load_target(target: str) -> Any:
    """Import ``"module:attribute"`` or ``"file.py:attribute"``.

    Raises ConfigError with what was wrong.
    """
    if is_file_target(target):
        path, _, attribute = target.rpartition(":")
        return attribute_of(load_file(path).module, path, attribute)
    module_name, _, attribute = target.partition(":")
    if not attribute:
        raise ConfigError(f"{target!r} is not of the form 'module:attribute'.")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except AttributeError as error:
        raise ConfigError(f"{target!r}: {error}.") from None


class Registry:
    """Names of one kind; duplicates are refused, unknown names answered with the nearest one.

    Names of things in files are known without being registered; `base` is the target of the class
    that these must inherit from.
    """

    def __init__(self, kind: str, base: str = "") -> None:
        self.kind, self.base = kind, base
        self._entries: dict[str, Entry] = {}

    def register(self, name: str, target: str, summary: str) -> None:
        """Add a name. Raises DuplicateNameError if it is taken by another target."""
        if name in self._entries:
            raise DuplicateNameError(
                f"{self.kind} {name!r} is already registered as {self._entries[name].target!r}; "
                "choose another name or version."
            )
        self._entries[name] = Entry(name, target, summary)

    def __getitem__(self, name: str) -> Entry:
        if is_file_target(name):
            return Entry(name, name, "from a file of your own", self.base)
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(
                f"Unknown {self.kind} {name!r}. {nearest(name, self._entries)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        if isinstance(name, str) and is_file_target(name):
            return self[name].fits(load_target(name))
        return name in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._entries)


engines = Registry("engine", "swarmctl.core.contracts:Engine")
scenarios = Registry("scenario", "swarmctl.envs.scenario:ScenarioConfig")
agents = Registry("agent", "swarmctl.agents.options:AgentConfig")

engines.register(
    "jax",
    "swarmctl.engines.jax_engine:JaxEngine",
    "active Brownian particles on JAX: batched, jitted, 2D and 3D; the default",
)
engines.register(
    "link",
    "swarmctl.engines.link.engine:LinkEngine",
    "a laboratory behind a TCP connection: our framed protocol, or the predecessor's",
)

engines.register(
    "replay",
    "swarmctl.engines.replay_engine:ReplayEngine",
    "a recording, played as an engine; commands are compared with those of then",
)

engines.register(
    "microscope",
    "swarmctl.bridge.microscope.engine:MicroscopeEngine",
    "a microscope: camera, tracking, and outputs behind a supervisor, as a rig file names them",
)
engines.register(
    "espresso",
    "swarmctl.engines.espresso_engine:EspressoEngine",
    "the same worlds on ESPResSo, if that is installed; one swarm per process",
)

scenarios.register(
    "Chemotaxis-v0",
    "swarmctl.envs.chemotaxis:ChemotaxisConfig",
    "climb a concentration gradient by temporal sensing; four actions",
)
scenarios.register(
    "ChemotaxisContinuous-v0",
    "swarmctl.envs.chemotaxis:ChemotaxisContinuousConfig",
    "climb a concentration gradient; speed and turn rate are continuous",
)
scenarios.register(
    "RotateRod-v0",
    "swarmctl.envs.rotate_rod:RotateRodConfig",
    "turn a rod by pushing it together; vision cones, reward by true torque",
)

scenarios.register(
    "Swirl-v0",
    "swarmctl.envs.swirl:SwirlConfig",
    "swim around the common centre, all the same way; three actions",
)
scenarios.register(
    "GroupFormation-v0",
    "swarmctl.envs.group_formation:GroupFormationConfig",
    "find together and stay together by swimming or resting alone; two actions",
)
scenarios.register(
    "ReachGoal-v0",
    "swarmctl.envs.reach_goal:ReachGoalConfig",
    "one noisy swimmer to a goal; eight headings",
)
scenarios.register(
    "ReachGoalContinuous-v0",
    "swarmctl.envs.reach_goal:ReachGoalContinuousConfig",
    "one noisy swimmer to a goal; any heading",
)
scenarios.register(
    "ReachGoalField-v0",
    "swarmctl.envs.reach_goal:ReachGoalFieldConfig",
    "reach a goal against noise; a roller, driven by one of eight global fields",
)
scenarios.register(
    "NavigateFlow-v0",
    "swarmctl.envs.navigate_flow:NavigateFlowConfig",
    "the fastest way through shear, a vortex or a channel; sixteen headings",
)
scenarios.register(
    "PredatorPrey-v0",
    "swarmctl.envs.predator_prey:PredatorPreyConfig",
    "two species: predators hunt prey, prey escapes",
)
scenarios.register(
    "Gather-v0",
    "swarmctl.envs.gather:GatherConfig",
    "gather in a disc that just holds everyone",
)
scenarios.register(
    "FormShape-v0",
    "swarmctl.envs.form_shape:FormShapeConfig",
    "take up the places of a polygon or a ring, one each",
)
scenarios.register(
    "Maze-v0",
    "swarmctl.envs.maze:MazeConfig",
    "find the way through a maze by a scent that spreads along its corridors",
)
scenarios.register(
    "SpeciesSearch-v0",
    "swarmctl.envs.species_search:SpeciesSearchConfig",
    "seekers climb the signal of another species",
)
scenarios.register(
    "Forage-v0",
    "swarmctl.envs.forage:ForageConfig",
    "find food, eat it up, and find the next",
)
scenarios.register(
    "TransportRod-v0",
    "swarmctl.envs.transport_rod:TransportRodConfig",
    "bring a rod to a place and an angle by pushing it together",
)

agents.register(
    "random", "swarmctl.agents.classical.simple:RandomConfig", "uniform actions; the floor"
)
agents.register(
    "constant",
    "swarmctl.agents.classical.simple:ConstantConfig",
    "the same action for all, always",
)
agents.register(
    "run-and-tumble",
    "swarmctl.agents.classical.gradient:RunAndTumbleConfig",
    "run while the field rises, tumble when it falls",
)
agents.register(
    "gradient-climber",
    "swarmctl.agents.classical.gradient:GradientClimberConfig",
    "estimates the gradient from what it sensed and did, and climbs it",
)
agents.register(
    "steer-to-source",
    "swarmctl.agents.classical.steering:SteerToSourceConfig",
    "sees everything and steers to a point; the ceiling for sensing agents",
)
agents.register(
    "ppo",
    "swarmctl.agents.deep.ppo:PPOConfig",
    "proximal policy optimisation; one policy shared by all colloids",
)
agents.register(
    "recurrent-ppo",
    "swarmctl.agents.deep.ppo:RecurrentPPOConfig",
    "PPO with a recurrent cell, for colloids that have to remember",
)
agents.register(
    "reinforce",
    "swarmctl.agents.deep.reinforce:ReinforceConfig",
    "policy gradient with a learned baseline",
)
agents.register(
    "evolution",
    "swarmctl.agents.deep.evolution:EvolutionConfig",
    "evolution strategies; needs no gradient of the policy",
)
agents.register(
    "rod-pusher",
    "swarmctl.agents.classical.rod_pusher:RodPusherConfig",
    "pushes the two halves of a rod from opposite sides, to turn it",
)
agents.register(
    "baeuerle",
    "swarmctl.agents.classical.baeuerle:BaeuerleConfig",
    "steers at an angle to the centre of the others; swarms and swirls",
)
agents.register(
    "lavergne",
    "swarmctl.agents.classical.lavergne:LavergneConfig",
    "swims while it sees enough of the others; groups form",
)
agents.register(
    "zermelo",
    "swarmctl.agents.classical.zermelo:ZermeloConfig",
    "the fastest way to a goal through a known flow",
)
agents.register(
    "constant-heading",
    "swarmctl.agents.classical.heading:ConstantHeadingConfig",
    "all head the same way, by a choice of steering rules",
)
agents.register(
    "steer-to-point",
    "swarmctl.agents.classical.heading:SteerToPointConfig",
    "heads for a point, by a choice of steering rules",
)
agents.register(
    "pursue",
    "swarmctl.agents.classical.pursuit:PursueConfig",
    "predators head for the nearest prey, prey flees the nearest predator",
)
agents.register(
    "constant-drive",
    "swarmctl.agents.classical.drive:ConstantDriveConfig",
    "constant speed and turn rate: constant force and torque",
)
agents.register(
    "excite",
    "swarmctl.agents.classical.excite:ExciteConfig",
    "random commands within bounds, for recordings from which a laboratory is identified",
)
agents.register(
    "vicsek",
    "swarmctl.agents.classical.vicsek:VicsekConfig",
    "takes the mean heading of its neighbours, with noise; flocks",
)
agents.register(
    "lymburn",
    "swarmctl.agents.classical.lymburn:LymburnConfig",
    "alignment, repulsion, a home and a fear of predators",
)
agents.register(
    "waypoints",
    "swarmctl.agents.classical.waypoints:WaypointsConfig",
    "visits points in order, with a PID controller on the heading",
)
agents.register(
    "recorded",
    "swarmctl.agents.classical.recorded:RecordedConfig",
    "gives the commands of a recorded trajectory again",
)
agents.register(
    "follow-goal",
    "swarmctl.agents.classical.follow_goal:FollowGoalConfig",
    "goes where the observation says that the goal is",
)
agents.register(
    "rod-carrier",
    "swarmctl.agents.classical.rod_carrier:RodCarrierConfig",
    "pushes a rod broadside to its goal, then turns it",
)
agents.register(
    "roll-to-point",
    "swarmctl.agents.classical.roll_to_point:RollToPointConfig",
    "turns one global field so that rollers reach a point",
)
