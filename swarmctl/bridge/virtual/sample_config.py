"""What a virtual laboratory is: the sample, its light, its camera and their delays. No JAX.

All of it is hidden from an agent. `SampleConfig.drawn` gives laboratories that differ.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swarmctl.core.actuator import Actuator
from swarmctl.core.config import build, dump_toml, key, to_dict
from swarmctl.core.disturbances import Disturbances, Drift, StageDrift, Sticking
from swarmctl.core.errors import (
    ConfigError,
    require_finite,
    require_not_negative,
    require_positive,
)
from swarmctl.core.species import Placement, Species
from swarmctl.core.world import Box, Fluid, World
from swarmctl.optics.affine import Affine, ViewConfig
from swarmctl.optics.optics_config import (
    CameraConfig,
    FocusConfig,
    IlluminationConfig,
    JanusConfig,
    OpticsConfig,
    SpotConfig,
)

LIGHT_UNIT = "W/um^2"
"""Unit of the light of a full pixel, unless a laboratory has its own."""


@dataclass(frozen=True)
class ProjectorConfig:
    """The light pattern: what a pixel of it lights, how strongly, and when."""

    width: int = key(512, "pixels in a row of the pattern")
    height: int = key(512, "rows of the pattern")
    view: ViewConfig = key(ViewConfig(), "what of the sample the pattern lights, and how it lies")
    full: float = key(1.0, "light of a full pixel on the sample", LIGHT_UNIT)
    visible: float = key(600.0, "electrons per exposure that full light adds to a pixel's image")
    delay: float = key(0.012, "from being told to show a pattern until the light is there", "s")

    def __post_init__(self) -> None:
        require_positive("projector", full=self.full)
        require_not_negative("projector", visible=self.visible, delay=self.delay)
        if self.width < 8 or self.height < 8:
            raise ConfigError(f"projector: at least 8 x 8 px, got {self.width} x {self.height}.")

    @property
    def affine(self) -> Affine:
        """The map from the sample to the pattern."""
        return self.view.affine(self.width, self.height)


@dataclass(frozen=True)
class CoilsConfig:
    """Coils around the sample and their supply, which makes steady and alternating currents."""

    matrix: tuple[tuple[float, ...], ...] = key(
        ((0.95, 0.06, 0.0), (-0.04, 1.08, 0.0), (0.02, -0.03, 1.0)),
        "field per current: rows x, y and z, one column per coil",
        "mT/A",
    )
    current_max: float = key(5.0, "highest current of a coil, steady and alternating each", "A")
    frequency_max: float = key(50.0, "highest frequency", "Hz")
    delay: float = key(0.01, "from being told values until the field is there", "s")

    def __post_init__(self) -> None:
        require_positive("coils", current_max=self.current_max, frequency_max=self.frequency_max)
        require_not_negative("coils", delay=self.delay)
        if len(self.matrix) != 3 or len({len(row) for row in self.matrix}) != 1:
            raise ConfigError("coils: matrix has three rows, each with one number per coil.")
        for row in self.matrix:
            require_finite("coils", matrix=row)

    @property
    def count(self) -> int:
        """Number of coils."""
        return len(self.matrix[0])

    @property
    def strength_max(self) -> float:
        """Field that cannot be exceeded, mT."""
        total = 2 * self.current_max * np.abs(self.matrix).sum(axis=1)
        return float(np.linalg.norm(total))


@dataclass(frozen=True)
class MotorsConfig:
    """Motors of the stage, which move the sample under camera and light."""

    travel: float = key(100.0, "farthest from the middle, either way along x and y", "um")
    speed: float = key(400.0, "at which both axes move", "um/s")

    def __post_init__(self) -> None:
        require_positive("motors", travel=self.travel, speed=self.speed)


@dataclass(frozen=True)
class TimingConfig:
    """When frames are taken and when they arrive. All times are whole numbers of ticks."""

    tick: float = key(0.005, "the light is constant and the sample is looked at in steps of", "s")
    period: float = key(0.05, "from frame to frame", "s")
    exposure: float = key(0.01, "of a frame", "s")
    readout: float = key(0.01, "from the end of the exposure until the frame arrives", "s")
    jitter: float = key(0.0, "standard deviation of the time until a frame arrives", "s")
    dropped: float = key(0.0, "share of the frames that never arrive")

    def __post_init__(self) -> None:
        require_positive("timing", tick=self.tick, period=self.period, exposure=self.exposure)
        require_not_negative("timing", readout=self.readout, jitter=self.jitter)
        for name in ("period", "exposure"):
            ticks = getattr(self, name) / self.tick
            if abs(ticks - round(ticks)) > 1e-6 or round(ticks) < 1:
                raise ConfigError(f"timing: {name} must be a whole number of ticks {self.tick} s.")
        if self.exposure > self.period:
            raise ConfigError("timing: the exposure cannot be longer than the period.")
        if not 0 <= self.dropped < 1:
            raise ConfigError(f"timing: dropped must lie in [0, 1), got {self.dropped}.")

    @property
    def period_ticks(self) -> int:
        """Ticks from frame to frame."""
        return round(self.period / self.tick)

    @property
    def exposure_ticks(self) -> int:
        """Ticks of an exposure."""
        return round(self.exposure / self.tick)


_VIEW = ViewConfig(pixel_size=0.2, rotation=0.05, centre=(75.0, 75.0))
_SWIMMER = Species(
    name="janus",
    count=60,
    radius=2.4,
    speed_max=8.0,
    actuator=Actuator(slope=10.0, threshold=0.1, steering=3.0, gain_spread=0.05),
)


@dataclass(frozen=True)
class SampleConfig:
    """A laboratory that nobody sees but through its camera.

    The world is a plane box, larger than the camera's view, so that colloids enter and leave. Its
    species are driven by the light of the pattern: the mean over a colloid's disc is its power, the
    centre of that light on the disc its spot's offset.
    """

    world: World = key(
        World(
            box=Box(size=(150.0, 150.0)),
            species=(_SWIMMER,),
            disturbances=Disturbances(
                drift=Drift(amplitude=0.05), sticking=Sticking(on_rate=0.002, off_rate=0.1)
            ),
        ),
        "the sample; of its disturbances drift and sticking only",
    )
    optics: OpticsConfig = key(
        OpticsConfig(
            view=_VIEW,
            look=JanusConfig(radius=2.4, edge=0.2),
            focus=FocusConfig(spread=0.3),
            illumination=IlluminationConfig(
                background=800.0, vignetting=0.15, dust=6, dust_depth=0.12
            ),
            camera=CameraConfig(width=512, height=512),
        ),
        "the microscope and its camera",
    )
    projector: ProjectorConfig = key(
        ProjectorConfig(
            view=ViewConfig(pixel_size=0.22, rotation=-0.2, mirror=True, centre=(73.0, 76.5))
        ),
        "the light pattern",
    )
    coils: CoilsConfig | None = key(None, "coils, for worlds with a global field")
    timing: TimingConfig = key(TimingConfig(), "frames and their delays")
    stage: StageDrift = key(StageDrift(), "the stage drifts, and the sample with it")
    motors: MotorsConfig | None = key(None, "motors of the stage")
    seed: int = key(0, "of everything that is drawn by chance")

    def __post_init__(self) -> None:
        if self.world.dimension != 2:
            raise ConfigError("sample: the world must be a plane; give its box two side lengths.")
        self.stage.check(2)
        self._check_disturbances()
        self._check_light()
        self._check_coils()
        self._check_view()

    def _check_disturbances(self) -> None:
        disturbances = self.world.disturbances
        for name in ("delay", "stage", "localisation", "losses", "frames"):
            if disturbances is not None and getattr(disturbances, name) is not None:
                raise ConfigError(
                    f"sample: {name} is no disturbance of the sample; the camera, the light and "
                    "the stage have keys of their own in [timing], [projector] and [stage]."
                )

    def _check_light(self) -> None:
        for species in self.world.species:
            light, where = species.actuator, f"sample: species {species.name!r}"
            if light is None:
                continue
            if light.spot_radius is not None or light.sharing != "none" or light.power_total:
                raise ConfigError(
                    f"{where}: the pattern decides who is lit; leave spot_radius, sharing and "
                    "power_total out."
                )
            if light.power_max < self.projector.full or light.offset_max < species.radius:
                raise ConfigError(
                    f"{where}: power_max must reach the projector's {self.projector.full:g} and "
                    f"offset_max the radius of {species.radius:g} µm."
                )

    def _check_coils(self) -> None:
        coils, field = self.coils, self.world.field
        if coils is None:
            return
        if (
            field is None
            or field.strength_max < coils.strength_max
            or field.frequency_max < coils.frequency_max
        ):
            raise ConfigError(
                "sample: coils need a world with a field whose strength_max is at least "
                f"{coils.strength_max:.3g} mT and frequency_max {coils.frequency_max:g} Hz."
            )

    def _check_view(self) -> None:
        camera, low = self.optics.camera, np.zeros(2)
        corners = np.array([[0, 0], [camera.width, 0], [0, camera.height], [camera.width] * 2])
        corners[3, 1] = camera.height
        places = self.optics.affine.to_sample(corners - 0.5)
        margin = max(s.largest_radius for s in self.world.species)
        high = np.asarray(self.world.box.size)
        if (places < low + margin).any() or (places > high - margin).any():
            raise ConfigError(
                f"sample: the camera looks at {places.min(axis=0).round(1).tolist()} to "
                f"{places.max(axis=0).round(1).tolist()} µm, which must lie in the box of "
                f"{self.world.box.size} µm, {margin:g} µm from its edges; enlarge the box, move "
                "the view's centre, or take fewer or smaller pixels."
            )

    def drawn(self, seed: int) -> SampleConfig:
        """Return another laboratory of this kind: see `variants.draw_laboratory`."""
        from swarmctl.bridge.virtual.variants import draw_laboratory

        return draw_laboratory(self, seed)


def bright_spots() -> SampleConfig:
    """Return a sample of bright spots on a dark ground, whose orientation cannot be seen."""
    optics = OpticsConfig(
        view=_VIEW,
        look=SpotConfig(sigma=0.7, brightness=600.0),
        focus=FocusConfig(spread=0.2),
        illumination=IlluminationConfig(background=60.0, vignetting=0.15, dust=6, dust_depth=0.12),
        camera=CameraConfig(width=512, height=512),
    )
    return SampleConfig(optics=optics)


def grid_slide(pitch: float = 10.0) -> SampleConfig:
    """Return a slide with a square grid of bright marks, `pitch` µm apart, that does not move."""
    side = 15
    places = pitch * (np.stack(np.meshgrid(*[np.arange(side)] * 2), -1).reshape(-1, 2) + 0.5)
    marks = Species(
        name="mark",
        count=side**2,
        radius=0.05 * pitch,
        placement=Placement("points", positions=tuple(map(tuple, places.tolist()))),
    )
    size = side * pitch
    view = ViewConfig(size / 750, rotation=0.05, centre=(size / 2, size / 2))
    return SampleConfig(
        world=World(
            box=Box((size, size)), species=(marks,), fluid=Fluid(temperature=0.0), contacts=False
        ),
        optics=OpticsConfig(
            view=view,
            look=SpotConfig(sigma=0.06 * pitch, brightness=600.0, spread=0.0),
            illumination=IlluminationConfig(background=60.0, vignetting=0.15),
            camera=CameraConfig(width=512, height=512),
        ),
        projector=ProjectorConfig(view=view),
    )


def read_sample(path: str | Path) -> SampleConfig:
    """Read a sample from a TOML file. Raises ConfigError, UnknownNameError or UnitError."""
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error}).") from None
    return build(SampleConfig, tables)


def write_sample(path: str | Path, config: SampleConfig) -> None:
    """Write a sample as a TOML file."""
    Path(path).write_text(dump_toml(to_dict(config)), encoding="utf-8")
