"""A laboratory of NumPy in lockstep: time goes on when a frame is asked for.

The light that a colloid gets is integrated over its disc from the spots as they lie in the pattern,
by a map that the engine has to know from its calibration.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from swarmctl.bridge.calibration import Calibration, PatternMap, SpeedLaw, TurnLaw, ViewMap
from swarmctl.bridge.devices.contract import Camera, CameraSpec, Channel, OutputSpec, Shot
from swarmctl.bridge.gatekeeper import Evidence, Gatekeeper
from swarmctl.bridge.orders import Order, Receipt, Report, Spots, Standing
from swarmctl.core.config import key
from swarmctl.core.errors import ArmingError, DeviceTimeoutError, SupervisorLostError
from swarmctl.optics.affine import Affine, ViewConfig
from swarmctl.optics.image_formation import ImageFormation, Sample
from swarmctl.optics.optics_config import (
    CameraConfig,
    FocusConfig,
    IlluminationConfig,
    JanusConfig,
    OpticsConfig,
)

SIDE, PERIOD, EXPOSURE, READOUT = 256, 0.05, 0.02, 0.004
RADIUS, SPOT = 2.0, 3.0
VIEW = ViewConfig(pixel_size=0.25, rotation=0.2, mirror=True, centre=(100.0, 80.0))
TO_IMAGE = Affine(((0.9, 0.15), (-0.1, 1.1)), (6.0, -9.0))
SPEED = SpeedLaw(slope=8.0, threshold=0.1, speed_max=6.0)
TURN = TurnLaw(steering=-4.0, radius=RADIUS, turn_rate_max=6.0)
LIGHT = OutputSpec("toy light", "pattern", (Channel("light", "1", 0, 2, 0),), (256, 288))


def calibration(rig: str = "") -> Calibration:
    """What is true."""
    return Calibration(
        made="2020-01-01T00:00:00+00:00",
        expires="2100-01-01T00:00:00+00:00",
        operator="test",
        rig=rig,
        view=ViewMap(VIEW.affine(SIDE, SIDE)),
        pattern=PatternMap("light", TO_IMAGE),
        speed=SPEED,
        turn=TURN,
    )


@dataclass(frozen=True)
class ToyCameraConfig:
    """Names the camera in rig files."""

    role: ClassVar[str] = "camera"
    period: float = key(PERIOD, "between frames", "s")

    def build(self) -> Any:
        """Return what has its spec."""
        return dataclasses.make_dataclass("Shown", ["spec"])(
            CameraSpec("toy camera", SIDE, SIDE, 12, EXPOSURE, self.period)
        )


@dataclass(frozen=True)
class ToyLightConfig:
    """Names the light in rig files."""

    role: ClassVar[str] = "pattern"

    def build(self) -> Any:
        """Return what has its spec."""
        return dataclasses.make_dataclass("Shown", ["spec"])(LIGHT)


class ToyLab:
    """Colloids under spots; the clock of everything."""

    def __init__(self, count: int = 4, seed: int = 0, noise: float = 1.0, delay: float = 0.01):
        self.rng = np.random.default_rng(seed)
        self.view = VIEW.affine(SIDE, SIDE)
        side = math.ceil(math.sqrt(count))
        places = np.stack(np.meshgrid(*[np.arange(side)] * 2), -1).reshape(-1, 2)[:count]
        self.position = VIEW.centre + 14.0 * (places - (side - 1) / 2)
        self.angle = self.rng.uniform(-np.pi, np.pi, count)
        self.noise, self.delay = noise, delay
        self.time, self.number = 100.0, 0
        self.queue: list[tuple[float, Spots]] = []
        self.spots = Spots.none()
        self.visible, self.swim = np.ones(count, bool), True
        self.shows_light = False
        self.lamp = True
        self.log: list[tuple[float, np.ndarray, np.ndarray]] = []
        config = OpticsConfig(
            VIEW,
            JanusConfig(radius=RADIUS, edge=0.2),
            FocusConfig(),
            IlluminationConfig(background=400.0),
            camera=CameraConfig(SIDE, SIDE),
        )
        self.optics = ImageFormation(config)
        dark = dataclasses.replace(config.illumination, background=0.0)
        self.unlit = ImageFormation(dataclasses.replace(config, illumination=dark))
        angle = np.arange(40) * math.pi * (3 - math.sqrt(5))
        r = RADIUS * np.sqrt((np.arange(40) + 0.5) / 40)
        self.disc = np.column_stack([r * np.cos(angle), r * np.sin(angle)])

    def clock(self) -> float:
        """Time passes a little whenever somebody looks."""
        self.time += 1e-5
        return self.time

    def light(self) -> tuple[np.ndarray, np.ndarray]:
        """Power [N] as of a centred spot, and centre [N,2] µm of the light on the discs."""
        count = len(self.position)
        if not len(self.spots):
            return np.zeros(count), np.zeros((count, 2))
        place = self.view.to_sample(TO_IMAGE.to_image(self.spots.position))
        width = self.spots.radius * self.view.pixel_size / TO_IMAGE.pixel_size
        points = self.position[:, None] + self.disc
        away = np.linalg.norm(points[:, :, None] - place, axis=-1)
        local = (self.spots.power * np.exp(-2 * (away / width) ** 2)).sum(axis=-1)
        centred = np.exp(-2 * (self.disc**2).sum(axis=1) / SPOT**2).mean()
        total = local.sum(axis=1)
        centre = (local[..., None] * self.disc).sum(axis=1) / np.maximum(total, 1e-12)[:, None]
        return local.mean(axis=1) / centred, centre

    def advance(self, until: float) -> None:
        """Move to a time, in steps of 10 ms."""
        while self.time < until - 1e-9:
            step = min(0.01, until - self.time)
            self.time += step
            while self.queue and self.queue[0][0] <= self.time:
                self.spots = self.queue.pop(0)[1]
            power, centre = self.light()
            speed = np.clip(SPEED.slope * (power - SPEED.threshold), 0, SPEED.speed_max)
            speed = speed * self.swim
            director = np.column_stack([np.cos(self.angle), np.sin(self.angle)])
            across = director[:, 0] * centre[:, 1] - director[:, 1] * centre[:, 0]
            turn = TURN.steering * speed * across / RADIUS**2
            kick = self.rng.standard_normal((len(speed), 3)) * self.noise
            self.position = self.position + step * speed[:, None] * director
            self.position = self.position + math.sqrt(2 * 0.05 * step) * kick[:, :2]
            self.position = self.apart(self.position)
            self.angle = self.angle + step * turn + math.sqrt(2 * 0.01 * step) * kick[:, 2]

    def apart(self, position: np.ndarray) -> np.ndarray:
        """Push apart who overlap; who leaves the field of view comes back from the other side."""
        delta = position[:, None] - position
        distance = np.linalg.norm(delta, axis=-1)
        np.fill_diagonal(distance, np.inf)
        push = np.maximum(2.6 * RADIUS - distance, 0) / 2 / np.maximum(distance, 0.1)
        position = position + (push[..., None] * delta).sum(axis=1)
        return (position - VIEW.centre + 30.0) % 60.0 - 30.0 + VIEW.centre

    def frame(self) -> np.ndarray:
        """What the camera sees now."""
        swim = np.column_stack([np.cos(self.angle), np.sin(self.angle)])
        here = Sample(self.position, swim, np.arange(len(swim)))
        sample = Sample(*(getattr(here, f.name)[self.visible] for f in dataclasses.fields(here)))
        optics = self.optics if self.lamp else self.unlit
        frame = optics.frame(sample, self.number).astype(float)
        if self.shows_light and len(self.spots):
            y, x = np.mgrid[:SIDE, :SIDE]
            for place, radius, power in zip(
                TO_IMAGE.to_image(self.spots.position),
                self.spots.radius / TO_IMAGE.pixel_size,
                self.spots.power,
                strict=True,
            ):
                square = (x - place[0]) ** 2 + (y - place[1]) ** 2
                frame += 60.0 * power * np.exp(-2 * square / radius**2)
        return frame.astype(np.uint16)


class ToyCamera(Camera):
    """Frames of the toy."""

    def __init__(self, lab: ToyLab, period: float = PERIOD) -> None:
        self.lab = lab
        self.spec = CameraSpec("toy camera", SIDE, SIDE, 12, EXPOSURE, period)
        self.started = self.dead = False
        self.skip = 0
        self.closed = 0
        self.frozen: np.ndarray | None = None

    def connect(self, mock: bool = False) -> None:
        pass

    def start(self) -> None:
        self.started = True

    def newest(self, timeout: float) -> Shot:
        lab = self.lab
        if self.dead:
            lab.time += timeout
            raise DeviceTimeoutError("no frame")
        lab.number += 1 + self.skip
        period = self.spec.period
        exposed = (math.floor(lab.time / period) + 1 + self.skip) * period
        self.skip = 0
        lab.advance(exposed)
        frame = lab.frame() if self.frozen is None else self.frozen
        lab.log.append((exposed, lab.position.copy(), lab.angle.copy()))
        lab.advance(exposed + READOUT)
        return Shot(frame, lab.number, exposed, lab.time)

    def stop(self) -> None:
        self.started = False

    def disconnect(self) -> None:
        self.closed += 1


class ToyGate(Gatekeeper):
    """Passes orders on, cuts powers at `most`, and keeps everything."""

    def __init__(self, lab: ToyLab, most: float = 2.0) -> None:
        self.lab, self.most = lab, most
        self.outputs = {"light": LIGHT}
        self.standing, self.fault = Standing.DISCONNECTED, ""
        self.orders: list[Order] = []
        self.waiting: list[Receipt] = []
        self.events: list[str] = []
        self.evidence: Evidence | None = None
        self.beats: list[float] = []
        self.gone = False
        self.busy: set[int] = set()

    def open(self) -> None:
        self.standing = Standing.CONFIGURED

    def arm(self, operator: str, evidence: Evidence | None) -> None:
        if self.standing is Standing.FAULT:
            raise ArmingError(f"FAULT: {self.fault}.")
        error = None if evidence is None else evidence.spot_error
        if error is not None and not error <= evidence.spot_error_max:
            self.standing = Standing.CONFIGURED
            raise ArmingError(f"a spot lies {error} px off.")
        self.events.append(f"arm {operator}" + " for probing" * (evidence is None))
        self.standing, self.evidence = Standing.ARMED, evidence

    def activate(self) -> None:
        self.standing = Standing.ACTIVE

    def send(self, order: Order) -> None:
        now = self.lab.clock()
        self.beats.append(now)
        self.orders.append(order)
        if order.dry:
            return
        assert self.standing is Standing.ACTIVE
        if order.number in self.busy:
            self.waiting.append(Receipt(order.number, {}, {"light": "busy"}, math.nan, now))
            return
        spots = order.outputs["light"]
        assert isinstance(spots, Spots)
        cut = dataclasses.replace(spots, power=np.minimum(spots.power, self.most))
        words = {"light": f"above {self.most}"} if (spots.power > self.most).any() else {}
        self.lab.queue.append((now + self.lab.delay, cut))
        self.waiting.append(
            Receipt(order.number, {"light": cut}, words, now + 0.001, now + self.lab.delay)
        )

    def beat(self, frame: int, exposed: float) -> None:
        self.beats.append(self.lab.time)

    def receipts(self) -> list[Receipt]:
        come = [r for r in self.waiting if r.confirmed <= self.lab.time]
        self.waiting = [r for r in self.waiting if r.confirmed > self.lab.time]
        return come

    def report(self) -> Report:
        if self.gone:
            raise SupervisorLostError("the supervisor has died.")
        return Report(self.standing, self.fault, self.lab.time, math.nan, math.nan, None, "test")

    def _dark(self) -> None:
        self.lab.spots, self.lab.queue = Spots.none(), []

    def rest(self, reason: str) -> None:
        self.events.append(f"rest {reason}")
        self.standing = Standing.ARMED
        self._dark()

    def stop(self, reason: str) -> None:
        if self.gone:
            raise SupervisorLostError("the supervisor has died.")
        self.events.append(f"stop {reason}")
        self.standing, self.fault = Standing.FAULT, reason
        self._dark()

    def clear(self, operator: str) -> None:
        self.standing, self.fault = Standing.CONFIGURED, ""

    def close(self) -> None:
        self.events.append("close")
        self.standing = Standing.DISCONNECTED
        self._dark()


RIG = """
name = "toy"
unguarded = "nothing shines"
[camera]
driver = "{here}:ToyCameraConfig"
period = {period}
[outputs.light]
driver = "{here}:ToyLightConfig"
[outputs.light.limits]
power_max = 2.0
power_total = 40.0
slew = 100.0
spots_max = 40
radius_max = 60.0
window = 1.0
duty_max = 1.0
dose_colloid = 10.0
dose_area = 10.0
cell = 16
[supervisor]
[detector]
name = "janus"
radius = 8.0
separation = 12.0
[tracker]
speed = 5.0
diffusion = 0.05
[steering]
{steering}
"""


def write_rig(folder: Any, steering: str = "", period: float = PERIOD) -> Any:
    """Write the rig file, and return its path."""
    path = folder / "rig.toml"
    path.write_text(RIG.format(here=__file__, steering=steering, period=period))
    return path
