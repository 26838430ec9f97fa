"""From a swarm to a camera's frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from swarmctl.core.errors import CommandError
from swarmctl.optics.optics_config import (
    CameraConfig,
    DimerConfig,
    JanusConfig,
    OpticsConfig,
    RodConfig,
    SpotConfig,
)

if TYPE_CHECKING:  # swarmctl.core.state imports JAX; a renderer's process does without
    from swarmctl.core.state import SwarmState

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
Frame = npt.NDArray[np.uint8 | np.uint16]

_QUANTILES = 1 << 16
_KNOWN = 1 << 16  # so many identities have a look of their own


@dataclass(frozen=True)
class Sample:
    """What is there to be seen at one time.

    position [N,D] µm with D = 2 or 3 (the third is the height), director [N,D] unit vectors,
    identity [N] whole numbers that choose the brightness and height of a colloid.
    """

    position: Floats
    director: Floats
    identity: npt.NDArray[np.int64]

    @classmethod
    def of(cls, state: SwarmState) -> Sample:
        """Return the colloids of a state that are present."""
        present = np.asarray(state.present)
        return cls(
            np.asarray(state.position, np.float64)[present],
            np.asarray(state.director, np.float64)[present],
            np.asarray(state.identity, np.int64)[present],
        )


class ImageFormation:
    """Makes frames: equal samples, numbers and configurations give equal frames.

    Noise is Gaussian, up to 4.3 standard deviations. That of the light has the variance of a
    Poisson distribution, which it resembles for ten electrons and more.
    """

    def __init__(self, config: OpticsConfig) -> None:
        """Prepare what is the same in all frames. Raises MissingExtraError without numba."""
        from swarmctl.optics import compiled_light

        self.config = config
        self._loops = compiled_light
        self._affine = config.affine
        fixed = np.random.default_rng([config.seed, 0])
        self._look = fixed.standard_normal((_KNOWN, 2))
        self._ground = _ground(config)
        self._shading = _shading(config, fixed)

    @property
    def dtype(self) -> type[np.uint8 | np.uint16]:
        """Of a frame."""
        return np.uint8 if self.config.camera.bits <= 8 else np.uint16

    def light(self, samples: Sample | Sequence[Sample], projected: Image | None = None) -> Image:
        """Return the electrons [H,W] that an exposure makes on average, without noise.

        Several samples are the places during the exposure, in equal intervals: motion blurs.
        `projected` [H,W] is further light on the sample, in electrons where no colloid is.
        Raises CommandError for samples or light of a wrong shape or with values that are not
        finite.
        """
        return self._light(samples, projected) * self._shading

    def frame(
        self,
        samples: Sample | Sequence[Sample],
        number: int,
        projected: Image | None = None,
    ) -> Frame:
        """Return a frame [H,W], bytes or words; `number` chooses the noise.

        `projected` is as in `light`. Raises CommandError.
        """
        camera = self.config.camera
        light = self._light(samples, projected)
        frame: Frame = np.empty(light.shape, self.dtype)
        seed = np.random.SeedSequence([self.config.seed, 1, number]).generate_state(1, np.uint64)
        self._loops.expose(
            light.ravel(),
            self._shading.ravel(),
            _normal_quantiles(),
            seed[0],
            camera.gain,
            camera.offset,
            camera.read_noise,
            float(2**camera.bits - 1),
            frame.ravel(),
        )
        return frame

    def _light(self, samples: Sample | Sequence[Sample], projected: Image | None) -> Image:
        steps = [samples] if isinstance(samples, Sample) else list(samples)
        if not steps:
            raise CommandError("a frame needs at least one sample.")
        ground = self._ground
        if projected is not None:
            if projected.shape != ground.shape or not np.isfinite(projected).all():
                raise CommandError(
                    f"projected light is finite and has the camera's shape {ground.shape}, got "
                    f"{projected.shape}."
                )
            ground = np.asarray(ground + projected, np.float32)
        light = ground.copy()
        for sample in steps:
            _check(sample)
            if len(sample.position):
                self._add(light, ground, sample, 1 / len(steps))
        return light

    def _add(self, light: Image, ground: Image, sample: Sample, share: float) -> None:
        focus, look = self.config.focus, self.config.look
        size = self._affine.pixel_size
        centre = np.ascontiguousarray(self._affine.to_image(sample.position[:, :2]))
        own = self._look[sample.identity % _KNOWN]
        height = focus.spread * own[:, 1] - focus.offset
        if sample.position.shape[1] == 3:
            height = height + sample.position[:, 2]
        axis = _axis(self._affine.direction_to_image(sample.director[:, :2]), sample.director)
        if not isinstance(look, JanusConfig):
            electrons = share * look.brightness * np.exp(look.spread * own[:, 0])
            if isinstance(look, SpotConfig):
                self._add_spots(light, centre, electrons, look.sigma, height)
            elif isinstance(look, DimerConfig):
                half = 0.5 * look.distance * axis
                for end, part in ((-1, electrons), (1, electrons * look.ratio)):
                    at = centre + end * half[:, :2] / size
                    self._add_spots(light, at, part, look.sigma, height + end * half[:, 2])
            else:
                self._add_rods(light, centre, electrons, look, height, axis)
            return
        blur = self._blur(height)
        contrast = np.exp(look.spread * own[:, 0])
        body = np.maximum(1 + (look.body - 1) * contrast, 0)
        cap = np.maximum(1 + (look.cap - 1) * contrast, 0)
        edge = np.sqrt((look.edge / size) ** 2 + blur**2 / 2)
        radius = np.full(len(edge), look.radius / size)
        self._loops.add_discs(light, ground, centre, axis, radius, edge, body, cap, share)

    def _blur(self, height: Floats) -> Floats:
        """Radius in px of the cone of light at heights [N] µm over the focal plane."""
        return np.abs(height) * self.config.focus.slope / self._affine.pixel_size

    def _add_spots(
        self, light: Image, centre: Floats, electrons: Floats, sigma: float, height: Floats
    ) -> None:
        """Add spots with `electrons` [N] in the middle, were they in focus."""
        width, blur = sigma / self._affine.pixel_size, self._blur(height)
        blur = np.where(blur > 0.05 * width, blur, 0.0)
        peak = electrons * _dilution(blur / width)
        places = np.ascontiguousarray(centre)
        self._loops.add_spots(light, places, peak, np.full(len(peak), width), blur)

    def _add_rods(
        self,
        light: Image,
        centre: Floats,
        electrons: Floats,
        look: RodConfig,
        height: Floats,
        axis: Floats,
    ) -> None:
        """Add rods with `electrons` [N] in the middle, were they in focus and lay flat.

        Out of focus they are wider, with the variance of the cone of light; tilted they are
        shorter. Both keep their light.
        """
        size = self._affine.pixel_size
        long, wide = look.length / size, look.sigma / size
        total = electrons * math.sqrt(2 * math.pi) * wide * long / math.erf(long / wide / 8**0.5)
        sigma = np.sqrt(wide**2 + self._blur(height) ** 2 / 2)
        lying = np.linalg.norm(axis[:, :2], axis=1)
        shown = np.maximum(long * lying, 0.01 * sigma)
        flat = axis[:, :2] / np.maximum(lying, 1e-9)[:, None]
        along = np.where(lying[:, None] > 1e-9, flat, [1.0, 0.0])
        self._loops.add_rods(light, centre, along, total, shown, sigma)


@lru_cache(maxsize=1)
def _normal_quantiles() -> Image:
    """Return the middles of 2¹⁶ slices of the standard normal distribution, of equal weight."""
    inverse = NormalDist().inv_cdf
    upper = [inverse((k + 0.5) / _QUANTILES) for k in range(_QUANTILES // 2, _QUANTILES)]
    return np.asarray([-value for value in reversed(upper)] + upper, np.float32)


def _check(sample: Sample) -> None:
    count = len(sample.identity)
    shape = sample.position.shape
    if shape not in ((count, 2), (count, 3)) or sample.director.shape != shape:
        raise CommandError(
            f"a sample has position and director [N,2] or [N,3] and identity [N], got {shape}, "
            f"{sample.director.shape} and {sample.identity.shape}."
        )
    if not (np.isfinite(sample.position).all() and np.isfinite(sample.director).all()):
        raise CommandError("a position or director of the sample is not finite.")


def _dilution(ratio: Floats) -> Floats:
    """Peak factor that keeps the light of a spot whose ring has `ratio` times its σ as radius.

    The profile of `add_spots` integrates to 2πσ²[e^{-q²/2} + q √(π/2) erf(q/√2)], q = ratio.
    """
    turn = np.array([math.erf(q / math.sqrt(2)) for q in ratio])
    return 1 / (np.exp(-(ratio**2) / 2) + ratio * math.sqrt(math.pi / 2) * turn)


def _axis(direction: Floats, director: Floats) -> Floats:
    """Unit vectors [N,3] (image x, image y, towards the camera) of directors [N,2] or [N,3]."""
    flat = director.shape[1] == 2
    rise = np.zeros(len(director)) if flat else np.clip(director[:, 2], -1, 1)
    lying = np.sqrt(1 - rise**2)[:, None]
    return np.ascontiguousarray(np.column_stack([direction * lying, rise]))


def _places(camera: CameraConfig) -> tuple[Floats, Floats]:
    """Pixel coordinates relative to the middle, in half diagonals."""
    y, x = np.indices((camera.height, camera.width), np.float64)
    x, y = x - (camera.width - 1) / 2, y - (camera.height - 1) / 2
    half = np.hypot(camera.width - 1, camera.height - 1) / 2
    return x / half, y / half


def _ground(config: OpticsConfig) -> Image:
    """Electrons where no colloid is, before shading."""
    light = config.illumination
    x, y = _places(config.camera)
    along = x * np.cos(light.gradient_angle) + y * np.sin(light.gradient_angle)
    return np.asarray(light.background * (1 + light.gradient * along / 2), np.float32)


def _shading(config: OpticsConfig, random: Any) -> Image:
    """Share of the light that reaches every pixel: vignetting, quadratic, times dust."""
    light, camera = config.illumination, config.camera
    x, y = _places(camera)
    share = 1 - light.vignetting * (x**2 + y**2)
    row, column = np.indices(share.shape)
    for _ in range(light.dust):
        at_x, at_y = random.uniform(0, camera.width), random.uniform(0, camera.height)
        away = np.hypot(column - at_x, row - at_y) / (light.dust_size * random.uniform(0.5, 1.5))
        share *= 1 - light.dust_depth * np.exp(-(away**4))
    return np.asarray(share, np.float32)
