"""The sample, its light and its camera as functions of time; the clock is whoever calls `advance`.

Time goes on in ticks. In a tick the light is constant: the newest pattern whose delay is over. A
frame is taken at the beginning of every period, over some ticks, and shows what was there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from swarmctl.bridge.virtual.coil_field import coil_field
from swarmctl.bridge.virtual.delayed import Delayed
from swarmctl.bridge.virtual.faults import SampleFaults
from swarmctl.bridge.virtual.hidden_world import HiddenWorld, Snapshot
from swarmctl.bridge.virtual.illumination import (
    Floats,
    LightOnDiscs,
    Pattern,
    ProjectionOnCamera,
)
from swarmctl.bridge.virtual.sample_config import SampleConfig
from swarmctl.core.command import FieldCommand
from swarmctl.core.disturbances import StageDrift
from swarmctl.core.errors import ConfigError
from swarmctl.optics.image_formation import Frame, Image, ImageFormation, Sample


@dataclass(frozen=True)
class Exposure:
    """What a frame was taken of; arrays of N colloids, means over the exposure.

    Attributes:
        number: of the period, from 0.
        time: s, its middle.
        due: s, when the frame arrives.
        samples: what was seen in every tick of it.
        light: [H,W] mean of the patterns, 0 to 255; None in the dark.
        position: [N,2] µm, unwrapped, of the sample.
        director: [N,2], at its middle.
        power: [N] light that colloids received. offset: [N,2] µm, its centre.
        stuck: bool [N].
        stage: [2] µm, how far the stage has moved.
    """

    number: int
    time: float
    due: float
    samples: tuple[Sample, ...]
    light: Floats | Pattern | None
    position: Floats
    director: Floats
    power: Floats
    offset: Floats
    stuck: np.ndarray
    stage: Floats


@dataclass(frozen=True)
class _Moment:
    """A tick of an exposure."""

    snapshot: Snapshot
    seen: Sample
    pattern: Pattern | None
    power: Floats
    offset: Floats


class VirtualSample:
    """A laboratory without a camera's user: it is told patterns, and hands out exposures.

    Attributes:
        light: patterns u8 [H,W] on their way to the sample.
        coils: currents [C] on their way to the sample, see `coil_field`.
        goal, position: [2] µm, where the motors of the stage shall be, and are.
    """

    def __init__(self, config: SampleConfig, start: float) -> None:
        """Compile and place; time begins at `start` s. Raises ConfigError, MissingExtraError."""
        self.config = config
        self.start = start
        self.faults = SampleFaults()
        self.light: Delayed[Pattern] = Delayed()
        self.coils: Delayed[Floats] = Delayed()
        self.ticks = 0
        self.world = HiddenWorld(config.world, config.timing.tick, config.seed)
        self._form = ImageFormation(config.optics)
        lamp = replace(config.optics.illumination, background=0.0)
        self._unlit = ImageFormation(replace(config.optics, illumination=lamp))
        self._discs = LightOnDiscs(config.projector.affine, self.world.radius)
        self._projection = ProjectionOnCamera(
            config.optics.affine,
            config.projector.affine,
            (config.optics.camera.height, config.optics.camera.width),
            (config.projector.height, config.projector.width),
        )
        self._random = np.random.default_rng([config.seed, 2])
        self._stage = np.zeros(2)  # by drift
        self.goal = self.position = np.zeros(2)
        self._moments: list[_Moment] = []
        self._projected: tuple[Floats | Pattern, Image] | None = None
        self.world.compile(self._field())

    @property
    def now(self) -> float:
        """Time of the sample, s."""
        return self.start + self.ticks * self.config.timing.tick

    def set_faults(self, faults: SampleFaults) -> None:
        """Let things go wrong, or right again, from now on."""
        self.faults = faults
        self.world.disturb(faults.speed, faults.mirror_turning)

    def skip(self, time: float) -> None:
        """Let the clock go on by `time` s while nothing in the sample moves."""
        self.start += time

    def show(self, serial: int, pattern: Pattern, told: float) -> None:
        """Take a pattern u8 [H,W] that the projector was told to show at `told` s."""
        self.light.tell(
            serial, pattern, told + self.config.projector.delay * self.faults.light_delay
        )

    def drive(self, serial: int, values: Floats, told: float) -> None:
        """Take values [C] of the coils' supply, which was told them at `told` s."""
        assert self.config.coils is not None, "a laboratory without coils"
        self.coils.tell(serial, values, told + self.config.coils.delay * self.faults.light_delay)

    def move(self, to: Floats) -> None:
        """Let the motors of the stage go to a position [2] µm. Raises ConfigError."""
        motors, goal = self.config.motors, np.array(to, np.float64)
        if motors is None:
            raise ConfigError("this laboratory's stage has no motors.")
        if goal.shape != (2,) or not (np.abs(goal) <= motors.travel).all():
            raise ConfigError(f"the stage goes to x and y within {motors.travel:g} µm, not {to}.")
        self.goal = goal

    def advance(self) -> Exposure | None:
        """Go on by a tick; return the exposure that ended with it. Raises PhysicsError."""
        timing = self.config.timing
        pattern = self.light.at(self.now)
        if pattern is not None and not pattern.any():
            pattern = None
        before = self.world.snapshot
        power, offset = self._received(pattern, before)
        after = self.world.advance(power * self.config.projector.full, offset, self._field())
        middle = _halfway(before, after)
        self._move_stage(timing.tick)
        phase = self.ticks % timing.period_ticks
        self.ticks += 1
        if phase >= timing.exposure_ticks:
            return None
        seen = self._seen(middle)
        self._moments.append(_Moment(middle, seen, pattern, power, offset))
        return self._exposed() if phase == timing.exposure_ticks - 1 else None

    def frame(self, exposure: Exposure) -> Frame:
        """Return the frame [H,W] of an exposure."""
        if self.faults.blank:
            return self._unlit.frame(_NOBODY, exposure.number)
        projected = None if exposure.light is None else self._lit(exposure.light)
        return self._form.frame(exposure.samples, exposure.number, projected)

    def _field(self) -> FieldCommand | None:
        if self.config.coils is None:
            return None
        values = self.coils.at(self.now)
        return coil_field(self.config.coils, values)

    def _received(self, pattern: Pattern | None, where: Snapshot) -> tuple[Floats, Floats]:
        if pattern is None:
            return np.zeros(len(where.position)), np.zeros((len(where.position), 2))
        return self._discs.received(pattern, self._in_view(where.position))

    def _in_view(self, position: Floats) -> Floats:
        """Where colloids are under the camera: moved by the stage, the nearest copy to its centre.

        Along axes that are not periodic there is one copy only.
        """
        centre = np.asarray(self.config.optics.view.centre)
        away = position + self._stage + self.position - centre
        size = self.world.size
        wrapped = away - size * np.round(away / size)
        return centre + np.where(self.world.periodic, wrapped, away)

    def _seen(self, middle: Snapshot) -> Sample:
        count = len(middle.position)
        return Sample(self._in_view(middle.position), middle.director, np.arange(count))

    def _move_stage(self, interval: float) -> None:
        stage: StageDrift = self.config.stage
        steady = np.asarray(stage.velocity or (0.0, 0.0)) * interval
        random = math.sqrt(2 * stage.diffusion * interval) * self._random.standard_normal(2)
        self._stage = self._stage + steady + random
        if self.config.motors is not None:
            most = self.config.motors.speed * interval
            self.position = self.position + np.clip(self.goal - self.position, -most, most)

    def _exposed(self) -> Exposure:
        timing, moments = self.config.timing, self._moments
        self._moments = []
        end = self.now
        late = abs(float(self._random.normal(0, timing.jitter))) if timing.jitter else 0.0
        return Exposure(
            number=(self.ticks - 1) // timing.period_ticks,
            time=end - timing.exposure / 2,
            due=end + (timing.readout + late) * self.faults.frame_delay,
            samples=tuple(moment.seen for moment in moments),
            light=_mean_light([moment.pattern for moment in moments]),
            position=np.mean([moment.snapshot.position for moment in moments], axis=0),
            director=moments[len(moments) // 2].snapshot.director,
            power=np.mean([moment.power for moment in moments], axis=0)
            * self.config.projector.full,
            offset=np.mean([moment.offset for moment in moments], axis=0),
            stuck=moments[-1].snapshot.stuck,
            stage=self._stage + self.position,
        )

    def _lit(self, light: Floats | Pattern) -> Image:
        """Electrons [H,W] of projected light; the last one is kept, as patterns often stand."""
        if self._projected is None or self._projected[0] is not light:
            image = self._projection.image(light, self.config.projector.visible)
            self._projected = light, image
        return self._projected[1]


_NOBODY = Sample(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, np.int64))


def _halfway(before: Snapshot, after: Snapshot) -> Snapshot:
    director = before.director + after.director
    length = np.linalg.norm(director, axis=1, keepdims=True)
    director = np.where(length > 0, director / np.where(length > 0, length, 1), after.director)
    return Snapshot((before.position + after.position) / 2, director, after.stuck)


def _mean_light(patterns: list[Pattern | None]) -> Floats | Pattern | None:
    lit = [pattern for pattern in patterns if pattern is not None]
    if not lit:
        return None
    if len(lit) == len(patterns) and all(pattern is lit[0] for pattern in lit):
        return lit[0]
    return np.asarray(np.sum(lit, axis=0, dtype=np.float64) / len(patterns))
