"""What the validation cases share: rows with a verdict, batches of swarms, means with errors."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import Command
from swarmctl.core.state import SwarmState
from swarmctl.core.units import BOLTZMANN
from swarmctl.core.world import World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.physics.parameters import MotionParams

Array = jax.Array
Verdict = Literal["pass", "fail", "unclear"]

THERMAL = BOLTZMANN * 300.0
"""k_B T in pN µm at the temperature of all cases that do not say otherwise."""


@dataclass(frozen=True)
class Row:
    """One figure of a case beside its reference.

    `error` is the standard error of value - reference; `tolerance` is absolute, and `rule` says how
    it is meant.
    """

    quantity: str
    value: float
    reference: float
    error: float
    tolerance: float
    rule: str
    source: str

    @property
    def verdict(self) -> Verdict:
        """Pass or fail; unclear if chance alone might decide: error above half the tolerance."""
        if not math.isfinite(self.value) or not math.isfinite(self.error):
            return "fail"
        if self.rule != "2σ" and self.error > self.tolerance / 2:
            return "unclear"
        return "pass" if abs(self.value - self.reference) <= self.tolerance else "fail"


def row(
    quantity: str,
    measured: float | tuple[float, float],
    reference: float,
    tolerance: float,
    source: str,
    *,
    absolute: bool = False,
) -> Row:
    """Row from a value, or (value, standard error), and a tolerance relative to the reference."""
    value, error = measured if isinstance(measured, tuple) else (measured, 0.0)
    wide = tolerance if absolute else tolerance * abs(reference)
    rule = f"± {tolerance:g}" if absolute else f"{100 * tolerance:g} %"
    return Row(quantity, float(value), float(reference), float(error), wide, rule, source)


@dataclass(frozen=True)
class Result:
    """Rows of a case, curves for its figure (name -> list of numbers), and remarks for the page."""

    rows: list[Row]
    curves: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def save(self, path: Path, about: dict[str, Any]) -> None:
        """Write the result as JSON, at once or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            **about,
            "rows": [dataclasses.asdict(r) for r in self.rows],
            "remarks": self.remarks,
            "curves": self.curves,
        }
        part = path.with_suffix(".part")
        part.write_text(json.dumps(content, indent=1, default=_plain) + "\n", "utf-8")
        part.replace(path)


def _plain(x: Any) -> Any:
    if isinstance(x, np.ndarray | jax.Array):
        return [float(f"{v:.6g}") for v in np.asarray(x, float).ravel()]
    return float(f"{float(x):.7g}")


def load(path: Path) -> tuple[Result, dict[str, Any]]:
    """Read what `Result.save` wrote: (result, what was said about it)."""
    content = json.loads(path.read_text("utf-8"))
    rows = [Row(**r) for r in content.pop("rows")]
    return Result(rows, content.pop("curves"), content.pop("remarks")), content


def mean_error(samples: Any) -> tuple[float, float]:
    """Mean and standard error of independent samples."""
    values = np.asarray(samples, float).ravel()
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size))


def jackknife(function: Callable[..., float], *samples: Any) -> tuple[float, float]:
    """Value and standard error of a function of means over independent units (first axes)."""
    arrays = [np.asarray(s, float) for s in samples]
    count = len(arrays[0])
    totals = [a.sum(0) for a in arrays]
    value = function(*(t / count for t in totals))
    others = np.array(
        [
            function(*((t - a[i]) / (count - 1) for t, a in zip(totals, arrays, strict=True)))
            for i in range(count)
        ]
    )
    return float(value), float(
        math.sqrt((count - 1) / count * ((others - others.mean()) ** 2).sum())
    )


EngineState: TypeAlias = Any
Measure = Callable[[SwarmState, EngineState], Any]


class Batch:
    """Many swarms of one world, moved together."""

    def __init__(self, world: World, interval: float, swarms: int) -> None:
        self.engine, self.swarms = JaxEngine(world, interval), swarms
        self.world, self.interval = world, self.engine.config.interval
        self.params: MotionParams = self.engine.params()
        self.space = self.engine.space(self.params)

    def start(self, seed: int) -> EngineState:
        """Fresh states [swarms, ...]. Raises PlacementError."""
        keys = jax.random.split(jax.random.key(seed), self.swarms)
        state = jax.jit(jax.vmap(self.engine.init, (0, None)))(keys, self.params)
        self.engine.check_start(state)
        return state

    def command(self, **channels: Any) -> Command:
        """A command for all swarms: numbers, or arrays that broadcast to [swarms, N, ...]."""
        n, d = self.world.capacity, self.world.dimension
        shapes = {
            "speed": (n,),
            "turn_rate": (n,) if d == 2 else (n, 3),
            "heading": (n, d),
            "velocity": (n, d),
            "has_heading": (n,),
        }
        arrays: dict[str, Any] = {
            name: jnp.broadcast_to(jnp.asarray(value), (self.swarms, *shapes[name]))
            for name, value in channels.items()
        }
        return Command(**arrays)

    def advance(self, key: Array, state: EngineState, command: Command) -> tuple[Any, Array]:
        """One interval: (states, whether anything failed)."""
        keys = jax.random.split(key, self.swarms)
        advance = jax.vmap(self.engine.advance, (0, 0, 0, None))
        state, _, flags = advance(keys, state, command, self.params)
        return state, flags.overlap.any() | flags.diverged.any()

    def observe(self, state: EngineState) -> SwarmState:
        """Observed states [swarms, ...]."""
        return jax.vmap(self.engine.observe_state, (0, None))(state, self.params)

    def run(
        self,
        state: EngineState,
        command: Command,
        intervals: int,
        seed: int,
        measure: Measure | None = None,
    ) -> tuple[EngineState, Any]:
        """Advance; returns (states, what `measure` returned at the end of every interval, stacked).

        Raises RuntimeError if anything overlapped or diverged.
        """
        state, (failed, out) = _run(self, measure, intervals, state, command, jax.random.key(seed))
        if bool(failed.any()):
            raise RuntimeError("a swarm overlapped or diverged")
        return state, jax.tree.map(np.asarray, out)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _run(
    batch: Batch, measure: Measure | None, intervals: int, state: Any, command: Any, key: Array
) -> Any:
    def body(state: EngineState, key: Array) -> tuple[EngineState, Any]:
        state, failed = batch.advance(key, state, command)
        out = None if measure is None else measure(batch.observe(state), state)
        return state, (failed, out)

    return jax.lax.scan(body, state, jax.random.split(key, intervals))


def scaled(count: int, effort: float, least: int = 2) -> int:
    """A number of independent units, times the effort."""
    return max(least, round(count * effort))
