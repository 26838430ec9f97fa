"""The contract of engines: any engine, and what pure ones promise besides."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from swarmctl.core.command import Command
from swarmctl.core.contracts import Engine, PureEngine, Transition
from swarmctl.core.errors import CapabilityError, CommandError, SwarmctlError
from swarmctl.core.state import SwarmState
from swarmctl.testing import pure_engine_suite
from swarmctl.testing.motion import command_shapes, random_command, state_faults
from swarmctl.testing.report import NotApplicableError, Report, Suite, describe_error
from swarmctl.testing.trees import differences, host, tolerance

suite: Suite[Engine] = Suite("engine")
SEED = 5


def check_engine(engine: Engine) -> Report:
    """Check an engine against decision 0001; for a `PureEngine` also its pure functions.

    It is stopped first, then reset and stepped many times with random commands within its
    limits and with bad ones, and closed at the end. Not for an engine whose outputs may not be
    driven at random.
    """
    report = Report(engine.spec.name)
    if isinstance(engine, PureEngine):
        report = pure_engine_suite.suite.run(engine.spec.name, pure_engine_suite.PureCase(engine))
    return report + suite.run(engine.spec.name, engine)


def _command(engine: Engine, index: int, scale: float = 1.0) -> Command:
    return random_command(jax.random.key(100 + index), engine.spec, scale)


def _run(engine: Engine, steps: int, seed: int = SEED) -> list[Any]:
    """[state of reset, transitions...]."""
    return [engine.reset(seed), *(engine.step(_command(engine, i)) for i in range(steps))]


def _states(results: list[Any]) -> list[SwarmState]:
    return [r.state if isinstance(r, Transition) else r for r in results]


@suite.rule(
    "needs-reset",
    "a step before reset, or after stop, raises SwarmctlError",
    "refuse to move until reset was called",
)
def needs_reset(engine: Engine) -> Iterator[str]:
    """Stop twice, then step."""
    for _ in range(2):
        engine.stop("contract check")
    try:
        engine.step(_command(engine, 0))
    except SwarmctlError:
        return
    except Exception as error:  # anything else is the wrong answer
        yield f"raised {describe_error(error)}, not SwarmctlError"
        return
    yield "the step was done"


@suite.rule(
    "state",
    "every state has the shapes, dtypes and species of the spec, unit directors and wrapped "
    "positions",
    "build SwarmState as decision 0001 has it, and make the spec say what the engine does",
)
def state(engine: Engine) -> Iterator[str]:
    """Look at the states of a short run."""
    for t, found in enumerate(_states(_run(engine, 3))):
        for text in state_faults(found, engine.spec):
            yield f"after {t} steps: {text}"


@suite.rule(
    "time",
    "step counts control intervals from 0, and time is step x interval",
    "count steps and multiply; never add up times",
    needs=["state"],
)
def time(engine: Engine) -> Iterator[str]:
    """Compare step, time and interval with the number of steps; on hardware time may jitter."""
    spec, simulated = engine.spec, engine.spec.time_step is not None
    for t, found in enumerate(_states(_run(engine, 3))):
        if int(found.step) != t:
            yield f"after {t} steps, step is {int(found.step)}"
        if not simulated:
            continue
        if not np.isclose(float(found.interval), spec.control_interval, rtol=1e-5):
            yield f"interval is {float(found.interval)} s, the spec says {spec.control_interval} s"
        if not np.isclose(float(found.time), t * spec.control_interval, rtol=1e-5):
            yield f"after {t} steps of {spec.control_interval} s, time is {float(found.time)} s"


@suite.rule(
    "limits",
    "what is applied lies within the limits, and a request that was cut is reported",
    "use apply_limits, return what it returns, and set flags.limited",
)
def limits(engine: Engine) -> Iterator[str]:
    """Ask for ten times as much as is possible."""
    spec = engine.spec
    engine.reset(SEED)
    transition = engine.step(_command(engine, 1, 10.0))
    applied = transition.applied
    high, low = (np.asarray(spec.per_slot(v)) for v in (spec.speed_max, spec.speed_min))
    turn = np.asarray(spec.per_slot(spec.turn_rate_max))
    slack = 1 + tolerance(spec.dtype)
    if applied.speed is not None:
        speed = np.asarray(applied.speed)
        if np.any(speed > high * slack) or np.any(speed < low - 1e-6 * np.abs(low)):
            yield (
                f"applied speeds {speed.min()} to {speed.max()} µm/s, "
                f"allowed {low.min()} to {high.max()}"
            )
    for name, longest in (("velocity", high), ("turn_rate", turn)):
        value = getattr(applied, name)
        if value is not None:
            size = np.linalg.norm(np.asarray(value).reshape(spec.capacity, -1), axis=-1)
            if np.any(size > longest * slack):
                yield f"applied {name} {size.max()}, at most {longest.max()} is allowed"
    flags = transition.status.flags
    if flags is not None and not np.any(flags.limited):
        yield "ten times the highest speed was asked for, and flags.limited is all False"


@suite.rule(
    "bad-commands",
    "a NaN or a wrong shape raises CommandError, a channel that is not declared CapabilityError",
    "call check_command before anything else in step",
)
def bad_commands(engine: Engine) -> Iterator[str]:
    """Give bad commands in every channel."""
    spec, shapes = engine.spec, command_shapes(engine.spec)
    engine.reset(SEED)
    trials: list[tuple[str, Command, type[Exception]]] = []
    for name, shape in shapes.items():
        mask: dict[str, Any] = {}
        if name == "heading":
            mask["has_heading"] = np.ones(spec.capacity, bool)
        if name not in spec.capabilities:
            good = Command(**{name: np.ones(shape), **mask})
            trials.append((f"{name}, which is not declared", good, CapabilityError))
            continue
        nan, long = np.full(shape, np.nan), np.ones((shape[0] + 1, *shape[1:]))
        trials.append((f"{name} = NaN", Command(**{name: nan, **mask}), CommandError))
        trials.append((f"{name} too long", Command(**{name: long, **mask}), CommandError))
    for name, command, kind in trials:
        try:
            engine.step(command)
        except kind:
            continue
        except Exception as error:  # anything else is the wrong answer
            yield f"{name}: raised {describe_error(error)}, not {kind.__name__}"
        else:
            yield f"{name}: accepted"
            engine.reset(SEED)
    if int(engine.step(_command(engine, 0)).state.step) != 1:
        yield "a refused command has moved the swarm"


@suite.rule(
    "capabilities",
    "every declared channel is taken, alone",
    "declare what is taken and nothing else",
)
def capabilities(engine: Engine) -> Iterator[str]:
    """Command every declared channel by itself, at a small value."""
    spec, shapes = engine.spec, command_shapes(engine.spec)
    unknown = spec.capabilities - shapes.keys() - {"field"}
    if unknown:
        yield f"unknown capabilities: {', '.join(sorted(unknown))}"
    engine.reset(SEED)
    for name in sorted(spec.capabilities & shapes.keys()):
        value = np.zeros(shapes[name], spec.dtype)
        mask: dict[str, Any] = {}
        if name == "heading":
            value[:, 0], mask = 1, {"has_heading": np.ones(spec.capacity, bool)}
        result = engine.step(Command(**{name: value, **mask}))
        if name not in result.applied.channels:
            yield f"{name} was asked for and is not in what was applied"


@suite.rule(
    "seeded",
    "in simulation equal seeds give equal episodes and other seeds others",
    "draw from the seed of reset alone",
    needs=["state"],
)
def seeded(engine: Engine) -> Iterator[str]:
    """Compare episodes with equal and with other seeds."""
    if engine.spec.time_step is None:
        raise NotApplicableError("nothing is simulated")
    first, again, other = (_states(_run(engine, 2, seed))[-1] for seed in (SEED, SEED, SEED + 1))
    for text in differences(first, again, exact=True):
        yield f"equal seeds: {text}"
    if np.array_equal(first.position, other.position):
        yield "two seeds end at the same positions"


@suite.rule(
    "own-arrays",
    "states that were returned are not changed by later steps",
    "return fresh arrays",
)
def own_arrays(engine: Engine) -> Iterator[str]:
    """Keep copies, go on, and compare."""
    results = _states(_run(engine, 1))
    copies = [host(s) for s in results]
    engine.step(_command(engine, 1))
    engine.reset(SEED + 1)
    for t, (kept, found) in enumerate(zip(copies, results, strict=True)):
        for text in differences(kept, found, exact=True):
            yield f"the state after {t} steps has changed: {text}"


@suite.rule(
    "hashable-spec",
    "the spec is frozen, hashable and the same before and after a run",
    "make spec an EngineSpec that is known with nothing connected",
)
def hashable_spec(engine: Engine) -> Iterator[str]:
    """Hash the spec and compare it with itself after a run."""
    before = engine.spec
    value = hash(before)
    _run(engine, 1)
    if engine.spec != before or hash(engine.spec) != value:
        yield "the spec has changed"
    with contextlib.suppress(dataclasses.FrozenInstanceError):
        before.name = before.name  # type: ignore[misc]
        yield "the spec is not frozen"


@suite.rule(
    "stop-close",
    "after stop an engine can be reset; close may be called twice",
    "let stop and close do nothing where there is nothing to do",
)
def stop_close(engine: Engine) -> Iterator[str]:
    """Stop, reset, stop and close twice."""
    _run(engine, 1)
    engine.stop("contract check")
    if int(engine.reset(SEED).step) != 0:
        yield "reset after stop does not start at step 0"
    engine.stop("contract check")
    engine.close()
    engine.close()
