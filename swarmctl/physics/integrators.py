"""One time step of translation or rotation, overdamped or with inertia, for any friction tensor.

A friction is an array of principal values, and a `Frame` says what its axes are: one value for a
sphere, (across, along) for what turns about its director, one an axis for a rigid body.

Overdamped:  Δ = u dt + F dt/γ + √(2 k_B T dt/γ) ξ, in Itô's sense: friction at the step's start.
With inertia, the scheme of Grønbech-Jensen and Farago, Mol. Phys. 111, 983 (2013), in its half-step
form (L. F. G. Jensen and Grønbech-Jensen, Mol. Phys. 117, 2511 (2019)), b = 1/(1 + γ dt/2m),
a = (1 - γ dt/2m) b:

    w' = a w + √b dt/m (F + γ u) + √b/(2m) (β + β'),    Δ = √b dt w',    β ~ √(2 γ k_B T dt) ξ

Free diffusion, drift and the distribution in a harmonic potential are exact for any stable dt, and
the half-step velocity w has the variance k_B T/m.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from swarmctl.core.tree import pytree

Array = jax.Array
Frame = Callable[[Array, Array], Array]
"""(principal values, vectors [D,N,*batch]) -> vectors, each scaled along the principal axes."""


@pytree
class Momentum:
    """What inertia remembers, [D,N,*batch]: the half-step velocity and the last random impulse."""

    velocity: Array
    impulse: Array


def isotropic(values: Array, vector: Array) -> Array:
    """Scale by the same value [N,*batch] along all axes."""
    return values * vector


def along_director(director: Array) -> Frame:
    """Scale by values [2,N,*batch]: across and along the directors [D,N,*batch]."""

    def scale(values: Array, vector: Array) -> Array:
        across, along = values
        projection = jnp.sum(director * vector, axis=0)
        return across * vector + (along - across) * projection * director

    return scale


def in_body(axes: Array) -> Frame:
    """Scale by values [D,N,*batch] along the columns of `axes` [D,D,N,*batch] (lab, body)."""

    def scale(values: Array, vector: Array) -> Array:
        inside = values * jnp.sum(axes * vector[:, None], axis=0)
        return jnp.sum(axes * inside[None], axis=1)

    return scale


@pytree
class Overdamped:
    """Coefficients of an overdamped step, shaped as the friction's principal values."""

    step: Array
    mobility: Array
    shake: Array

    def move(
        self,
        frame: Frame,
        velocity: Array,
        force: Array | None,
        noise: Array,
        momentum: Momentum | None,
    ) -> tuple[Array, Momentum | None]:
        """Displacement [D,N,*batch] under an imposed velocity and a force; keeps the momentum."""
        moved = velocity * self.step + frame(self.shake, noise)
        if force is not None:
            moved = moved + frame(self.mobility, force)
        return moved, momentum


@pytree
class Inertial:
    """Coefficients of a step with inertia, shaped as the friction's principal values."""

    keep: Array
    drive: Array
    push: Array
    kick: Array
    random: Array
    advance: Array

    def move(
        self,
        frame: Frame,
        velocity: Array,
        force: Array | None,
        noise: Array,
        momentum: Momentum | None,
    ) -> tuple[Array, Momentum | None]:
        """Displacement [D,N,*batch], and the momentum after the step.

        `velocity` is that of the fluid (or of the swimmer), towards which friction pulls.
        """
        assert momentum is not None
        impulse = frame(self.random, noise)
        new = (
            frame(self.keep, momentum.velocity)
            + frame(self.drive, velocity)
            + frame(self.kick, momentum.impulse + impulse)
        )
        if force is not None:
            new = new + frame(self.push, force)
        return frame(self.advance, new), Momentum(new, impulse)


Integrator = Overdamped | Inertial


def integrator(friction: Array, thermal: Array, dt: Array, mass: Array | None = None) -> Integrator:
    """Coefficients for a friction (principal values) and, for dynamics with inertia, a mass."""
    if mass is None:
        return Overdamped(dt, dt / friction, jnp.sqrt(2 * thermal * dt / friction))
    half = friction * dt / (2 * mass)
    b = 1 / (1 + half)
    root = jnp.sqrt(b)
    return Inertial(
        keep=(1 - half) * b,
        drive=root * dt / mass * friction,
        push=root * dt / mass + 0 * friction,
        kick=root / (2 * mass),
        random=jnp.sqrt(2 * friction * thermal * dt),
        advance=root * dt,
    )
