"""What a microscope and its camera make of a sample, as one configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from swarmctl.core.config import key
from swarmctl.core.errors import (
    ConfigError,
    require_finite,
    require_not_negative,
    require_positive,
)
from swarmctl.optics.affine import Affine, ViewConfig


@dataclass(frozen=True)
class SpotConfig:
    """Bright colloids on a dark ground, as in fluorescence."""

    kind: ClassVar[str] = "spot"

    sigma: float = key(0.6, "standard deviation of a spot in focus", "um")
    brightness: float = key(500.0, "electrons per exposure in the brightest pixel of a spot")
    spread: float = key(0.15, "standard deviation of the logarithm of the brightness")

    def __post_init__(self) -> None:
        require_positive("spot", sigma=self.sigma, brightness=self.brightness)
        require_not_negative("spot", spread=self.spread)


@dataclass(frozen=True)
class JanusConfig:
    """Discs in bright field with a cap behind that lets little light through."""

    kind: ClassVar[str] = "janus"

    radius: float = key(1.2, "of a colloid", "um")
    edge: float = key(0.15, "standard deviation by which edges are blurred in focus", "um")
    body: float = key(1.25, "light through the bare part, relative to beside it")
    cap: float = key(0.35, "light through the cap, relative to beside it")
    spread: float = key(0.05, "standard deviation of the logarithm of the contrast")

    def __post_init__(self) -> None:
        require_positive("janus", radius=self.radius, edge=self.edge)
        require_not_negative("janus", body=self.body, cap=self.cap, spread=self.spread)


@dataclass(frozen=True)
class RodConfig:
    """Bright rods on a dark ground: a line, as wide as the point spread. They lie along directors.

    Both ends look alike.
    """

    kind: ClassVar[str] = "rod"

    length: float = key(4.0, "of a rod, from half height to half height", "um")
    sigma: float = key(0.5, "standard deviation across a rod in focus", "um")
    brightness: float = key(500.0, "electrons per exposure in the brightest pixel of a rod")
    spread: float = key(0.15, "standard deviation of the logarithm of the brightness")

    def __post_init__(self) -> None:
        require_positive("rod", length=self.length, sigma=self.sigma, brightness=self.brightness)
        require_not_negative("rod", spread=self.spread)


@dataclass(frozen=True)
class DimerConfig:
    """Two bright spots as one body on a dark ground. Directors point from the first to the second.

    With a ratio below 1 that is from bright to dim; with 1 both ends look alike.
    """

    kind: ClassVar[str] = "dimer"

    distance: float = key(2.0, "between the two spots", "um")
    sigma: float = key(0.6, "standard deviation of a spot in focus", "um")
    brightness: float = key(500.0, "electrons per exposure in the brightest pixel of the first")
    ratio: float = key(1.0, "brightness of the second spot, relative to the first")
    spread: float = key(0.15, "standard deviation of the logarithm of the brightness of a body")

    def __post_init__(self) -> None:
        require_positive(
            "dimer",
            distance=self.distance,
            sigma=self.sigma,
            brightness=self.brightness,
        )
        require_not_negative("dimer", spread=self.spread)
        if not 0 < self.ratio <= 1:
            raise ConfigError(f"dimer: ratio must be in (0, 1], got {self.ratio}.")


@dataclass(frozen=True)
class FocusConfig:
    """How far colloids are from the focal plane, and what that does."""

    offset: float = key(0.0, "height of the focal plane over that of the colloids", "um")
    spread: float = key(0.0, "standard deviation of the height of a colloid", "um")
    aperture: float = key(0.5, "numerical aperture of the objective")
    index: float = key(1.33, "refractive index of the medium")

    def __post_init__(self) -> None:
        require_finite("focus", offset=self.offset)
        require_not_negative("focus", spread=self.spread)
        if not 0 < self.aperture < self.index:
            raise ConfigError(
                f"focus: the aperture must lie between 0 and the refractive index {self.index}, "
                f"got {self.aperture}."
            )

    @property
    def slope(self) -> float:
        """Radius of the cone of light per height: tan of the half angle whose sine is NA/n."""
        return self.aperture / math.sqrt(self.index**2 - self.aperture**2)


@dataclass(frozen=True)
class IlluminationConfig:
    """Light where no colloid is, and what takes light away."""

    background: float = key(40.0, "electrons per exposure and pixel beside colloids")
    gradient: float = key(0.0, "change of the background from edge to edge, relative to its mean")
    gradient_angle: float = key(0.0, "where the background rises to, from the image's x", "rad")
    vignetting: float = key(0.1, "share of the light that is missing in the corners")
    dust: int = key(0, "number of dust grains on the camera's window")
    dust_size: float = key(8.0, "radius of a grain's shadow, px")
    dust_depth: float = key(0.2, "share of the light that a grain takes")

    def __post_init__(self) -> None:
        require_not_negative("illumination", background=self.background, dust=self.dust)
        require_finite("illumination", gradient_angle=self.gradient_angle)
        require_positive("illumination", dust_size=self.dust_size)
        for name in ("vignetting", "dust_depth"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"illumination: {name} must be in [0, 1].")
        if not -2 <= self.gradient <= 2:
            raise ConfigError("illumination: gradient must be in [-2, 2].")


@dataclass(frozen=True)
class CameraConfig:
    """From electrons to counts."""

    width: int = key(1024, "pixels in a row")
    height: int = key(1024, "rows")
    bits: int = key(12, "of a pixel; up to 8 give bytes, up to 16 give words")
    gain: float = key(1.0, "counts per electron")
    offset: float = key(100.0, "counts without light")
    read_noise: float = key(2.0, "standard deviation of the read-out, electrons")

    def __post_init__(self) -> None:
        require_positive("camera", gain=self.gain)
        require_not_negative("camera", offset=self.offset, read_noise=self.read_noise)
        if self.width < 8 or self.height < 8:
            raise ConfigError(f"camera: at least 8 x 8 px, got {self.width} x {self.height}.")
        if not 1 <= self.bits <= 16:
            raise ConfigError(f"camera: bits must be 1 to 16, got {self.bits}.")


@dataclass(frozen=True)
class OpticsConfig:
    """All that lies between a sample and a frame."""

    view: ViewConfig = key(ViewConfig(), "what is seen, and how it is turned")
    look: SpotConfig | JanusConfig | RodConfig | DimerConfig = key(
        SpotConfig(), "what a colloid looks like"
    )
    focus: FocusConfig = key(FocusConfig(), "distance from the focal plane")
    illumination: IlluminationConfig = key(IlluminationConfig(), "light and what takes it away")
    camera: CameraConfig = key(CameraConfig(), "from electrons to counts")
    seed: int = key(0, "of dust, brightness, heights and noise")

    @property
    def affine(self) -> Affine:
        """The map from the sample to the image."""
        return self.view.affine(self.camera.width, self.camera.height)
