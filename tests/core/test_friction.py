"""Friction of shapes against closed forms, limits and exact results of Stokes flow."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.core.friction import (
    bead_friction,
    cylinder_friction,
    disc_friction,
    planar_friction,
    slender_rod_friction,
    sphere_friction,
    spheroid_friction,
)

PI = math.pi


def chain(beads: int) -> list[list[float]]:
    return [[2.0 * i, 0.0, 0.0] for i in range(beads)]


def prolate_resistances(p: float) -> tuple[float, ...]:
    """Kim and Karrila (1991), table 3.4: X^A, Y^A, Y^C, X^C by the eccentricity, for a = p."""
    e = math.sqrt(1 - 1 / p**2)
    log = math.log((1 + e) / (1 - e))
    x_a = 8 / 3 * e**3 / (-2 * e + (1 + e**2) * log)
    y_a = 16 / 3 * e**3 / (2 * e + (3 * e**2 - 1) * log)
    y_c = 4 / 3 * e**3 * (2 - e**2) / (-2 * e + (1 + e**2) * log)
    x_c = 4 / 3 * e**3 * (1 - e**2) / (2 * e - (1 - e**2) * log)
    return 6 * PI * p * x_a, 6 * PI * p * y_a, 8 * PI * p**3 * y_c, 8 * PI * p**3 * x_c


def oblate_resistances(p: float) -> tuple[float, ...]:
    """The same table for oblate spheroids, for an equatorial semi-axis of 1."""
    e = math.sqrt(1 - p**2)
    root = math.sqrt(1 - e**2)
    cot = math.atan(e / root)
    x_a = 4 / 3 * e**3 / ((2 * e**2 - 1) * cot + e * root)
    y_a = 8 / 3 * e**3 / ((2 * e**2 + 1) * cot - e * root)
    y_c = 2 / 3 * e**3 * (2 - e**2) / (e * root - (1 - 2 * e**2) * cot)
    x_c = 2 / 3 * e**3 / (cot - e * root)
    return 6 * PI * x_a, 6 * PI * y_a, 8 * PI * y_c, 8 * PI * x_c


@pytest.mark.parametrize("p", [1.2, 2.0, 5.0, 10.0, 50.0])
def test_prolate_spheroid_is_kim_and_karrila(p: float) -> None:
    assert astuple(spheroid_friction(1.0, p, 1.0)) == pytest.approx(
        prolate_resistances(p), rel=1e-10
    )


@pytest.mark.parametrize("p", [0.8, 0.5, 0.2, 0.01])
def test_oblate_spheroid_is_kim_and_karrila(p: float) -> None:
    assert astuple(spheroid_friction(1.0, p, 1.0)) == pytest.approx(
        oblate_resistances(p), rel=1e-10
    )


@pytest.mark.parametrize(("p", "wanted"), [(2.0, 1.044), (5.0, 1.250), (10.0, 1.543)])
def test_perrin_factor(p: float, wanted: float) -> None:
    """Mean friction over that of a sphere of the same volume: Perrin (1936) gives
    √(p² - 1)/(p^(1/3) ln(p + √(p² - 1))) for prolate spheroids.
    """
    friction = spheroid_friction(1.0, p, 1.0)
    factor = 3 / (1 / friction.along + 2 / friction.across) / (6 * PI * p ** (1 / 3))
    root = math.sqrt(p**2 - 1)
    assert factor == pytest.approx(root / (p ** (1 / 3) * math.log(p + root)), rel=1e-12)
    assert factor == pytest.approx(wanted, abs=6e-4)


def test_spheroid_becomes_a_sphere_smoothly() -> None:
    sphere = astuple(sphere_friction(1.3, 0.9e-3))
    assert astuple(spheroid_friction(1.3, 1.0, 0.9e-3)) == pytest.approx(sphere, rel=1e-14)
    # Kim and Karrila, p = 1 + s: along 6πη(1 + s/5), across 6πη(1 + 2s/5).
    for s in (1e-9, -1e-9, 1e-5, -1e-5):
        friction = spheroid_friction(1.0, 1 + s, 1.0)
        assert friction.along / (6 * PI) - 1 == pytest.approx(s / 5, rel=1e-4, abs=1e-15)
        assert friction.across / (6 * PI) - 1 == pytest.approx(2 * s / 5, rel=1e-4, abs=1e-15)


@pytest.mark.parametrize("p", [0.9, 1.1])
def test_series_and_closed_form_join(p: float) -> None:
    values = [spheroid_friction(1.0, p * (1 + s), 1.0) for s in (-1e-12, 1e-12)]
    assert astuple(values[0]) == pytest.approx(astuple(values[1]), rel=1e-10)


def test_flat_spheroid_is_a_disc() -> None:
    flat, disc = spheroid_friction(2.0, 1e-7, 0.5), disc_friction(2.0, 0.5)
    assert astuple(flat) == pytest.approx(astuple(disc), rel=1e-6)
    assert disc.along == pytest.approx(16.0)


def test_needle_has_twice_the_friction_across() -> None:
    needle = spheroid_friction(1.0, 1e8, 1.0)
    assert needle.across / needle.along == pytest.approx(2.0, rel=0.06)
    # slender bodies: 4πηc/(ln 2p - 1/2) along, 8πηc³/3/(ln 2p - 1/2) in rotation
    log = math.log(2e8) - 0.5
    assert needle.along == pytest.approx(4 * PI * 1e8 / log, rel=1e-6)
    assert needle.rotation_across == pytest.approx(8 * PI * 1e24 / 3 / log, rel=1e-6)


def test_friction_scales_with_size_and_viscosity() -> None:
    small, large = spheroid_friction(1.0, 3.0, 1.0), spheroid_friction(2.0, 3.0, 5.0)
    assert large.along == pytest.approx(10 * small.along)
    assert large.rotation_across == pytest.approx(40 * small.rotation_across)


def test_rod_of_heuthe() -> None:
    """Velocity and rotation of a pushed rod: F = η_c v/(1 + η_c/η_across + η_c y²/η_rotation)."""
    viscosity, diameter, length, speed = 5.027, 6.8, 96.0, 7.3
    robot = sphere_friction(diameter / 2, viscosity).along
    for factor, wanted in ((3, 0.44290), (4, 0.33729)):
        rod = slender_rod_friction(length, diameter, viscosity, factor)
        assert robot * speed / (1 + robot / rod.across) / rod.across == pytest.approx(
            wanted, rel=2e-5
        )
    rod, lever = slender_rod_friction(length, diameter, viscosity, 3), 44.6
    force = robot * speed / (1 + robot / rod.across + robot * lever**2 / rod.rotation_across)
    assert force / rod.across == pytest.approx(0.3976, rel=1e-3)
    assert force * lever / rod.rotation_across == pytest.approx(0.01676, rel=1e-3)


def test_cylinder_lies_between_its_spheroids() -> None:
    """A body that contains another has the larger friction (Hill and Power, 1956)."""
    for p in (2.0, 5.0, 12.0, 30.0):
        cylinder = astuple(cylinder_friction(2 * p, 2.0, 1.0))
        inside = astuple(spheroid_friction(1.0, p, 1.0))
        outside = astuple(spheroid_friction(math.sqrt(2), p, 1.0))
        for low, value, high in zip(inside, cylinder, outside, strict=True):
            assert low < value < high


# Beads


def test_one_bead_is_a_sphere() -> None:
    body = bead_friction([[3.0, -1.0, 2.0]], 1.4, 0.8)
    sphere = sphere_friction(1.4, 0.8)
    np.testing.assert_allclose(body.translation, sphere.along * np.eye(3), atol=1e-12)
    np.testing.assert_allclose(body.rotation, sphere.rotation_about * np.eye(3), atol=1e-12)
    np.testing.assert_allclose(body.centre, [3, -1, 2], atol=1e-12)
    assert np.abs(body.coupling).max() < 1e-12


def test_two_distant_beads_are_oseen() -> None:
    """Friction along 12πηa/(1 + 3a/2r), across 12πηa/(1 + 3a/4r), rotation 6πηa r²/2 and more."""
    r = 2000.0
    body = bead_friction([[0, 0, 0], [r, 0, 0]], 1.0, 1.0)
    assert body.translation[0, 0] == pytest.approx(12 * PI / (1 + 1.5 / r), rel=1e-8)
    assert body.translation[1, 1] == pytest.approx(12 * PI / (1 + 0.75 / r), rel=1e-8)
    assert body.rotation[2, 2] == pytest.approx(3 * PI * r**2 / (1 - 0.75 / r), rel=1e-5)
    assert body.rotation[0, 0] == pytest.approx(16 * PI, rel=1e-8)
    np.testing.assert_allclose(body.centre, [r / 2, 0, 0], atol=1e-9)


def test_touching_pair_is_near_the_exact_solution() -> None:
    """Exact: 0.645 along, 0.725 across, 3ζ(3)/4 about (Stimson and Jeffery 1926, Goldman et al.
    1966, Jeffery 1915). By hand, with RPY: 2/(1 + 5/8) along and 2/(1 + 3/8 + 1/48...) across.
    """
    body = bead_friction(chain(2), 1.0, 1.0)
    translation, rotation = body.translation / (6 * PI), body.rotation / (8 * PI)
    assert translation[0, 0] == pytest.approx(2 / (1 + 5 / 8), rel=1e-12)
    assert translation[0, 0] == pytest.approx(2 * 0.645, rel=0.05)
    assert translation[1, 1] == pytest.approx(2 * 0.725, rel=0.015)
    assert rotation[0, 0] == pytest.approx(2 / (1 + 1 / 8), rel=1e-12)
    assert rotation[0, 0] == pytest.approx(1.5 * 1.2020569, rel=0.015)
    assert rotation[2, 2] == pytest.approx(3.74, rel=0.015)


@pytest.mark.parametrize("beads", [5, 10, 20])
def test_chain_is_near_the_cylinder_around_it(beads: int) -> None:
    """A chain of touching beads is inside the cylinder and encloses no slender spheroid: lower
    friction than the former by at most 20 %.
    """
    body = bead_friction(chain(beads), 1.0, 1.0)
    cylinder = cylinder_friction(2.0 * beads, 2.0, 1.0)
    for value, around in (
        (body.translation[0, 0], cylinder.along),
        (body.translation[1, 1], cylinder.across),
        (body.rotation[2, 2], cylinder.rotation_across),
    ):
        assert 0.8 * around < value < around


def test_friction_turns_with_the_body_and_is_positive() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(9, 3)) * 2.5  # some beads overlap
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix *= np.linalg.det(matrix)
    shift = np.array([5.0, -7.0, 1.0])
    body, turned = (bead_friction(p, 1.0, 2.0) for p in (points, points @ matrix.T + shift))
    np.testing.assert_allclose(turned.translation, matrix @ body.translation @ matrix.T, rtol=1e-9)
    np.testing.assert_allclose(
        turned.rotation, matrix @ body.rotation @ matrix.T, rtol=1e-9, atol=1e-6
    )
    np.testing.assert_allclose(turned.centre, matrix @ body.centre + shift, rtol=1e-9)
    full = np.block([[body.translation, body.coupling.T], [body.coupling, body.rotation]])
    assert np.linalg.eigvalsh(full).min() > 0
    mobility = np.linalg.inv(full)[3:, :3]
    np.testing.assert_allclose(mobility, mobility.T, atol=1e-9 * np.abs(mobility).max())
    # Beads that are added make the friction larger in every direction.
    more = bead_friction(np.vstack([points, [[9.0, 0, 0]]]), 1.0, 2.0)
    assert np.linalg.eigvalsh(more.translation - body.translation).min() > 0


def test_body_in_the_plane() -> None:
    """At the centre of a planar body, force and rotation do not couple; the friction of a body of
    three-fold symmetry is the same in all directions.
    """
    angles = 2 * PI * np.arange(3) / 3
    star = [(r * math.cos(a), r * math.sin(a), 0.0) for a in angles for r in (2.0, 4.0)]
    body = planar_friction(bead_friction([*star, (0.0, 0.0, 0.0)], 1.0, 1.0))
    assert body.translation == pytest.approx(body.translation[0, 0] * np.eye(2), abs=1e-9)
    np.testing.assert_allclose(body.centre, 0, atol=1e-9)

    hook = np.array([[2.0 * i, 0, 0] for i in range(3)] + [[0, 2.0 * i, 0] for i in range(1, 5)])
    whole = bead_friction(hook, 1.0, 1.0)
    plane = planar_friction(whole)
    # Dragged without rotation at U, the resistance acts at the centre for every direction of U.
    lever = plane.centre - whole.centre[:2]
    for velocity in np.eye(3)[:2]:
        force, torque = whole.translation @ velocity, whole.coupling @ velocity
        assert torque[2] == pytest.approx(lever[0] * force[1] - lever[1] * force[0], rel=1e-9)
    assert 0 < plane.rotation < whole.rotation[2, 2] + 1e-9


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: spheroid_friction(1.0, 0.0, 1.0), "aspect must be positive"),
        (lambda: spheroid_friction(-1.0, 2.0, 1.0), "radius must be positive"),
        (lambda: sphere_friction(1.0, math.nan), "viscosity must be positive"),
        (lambda: disc_friction(math.inf, 1.0), "radius must be positive"),
        (lambda: cylinder_friction(1.5, 1.0, 1.0), "from 2 to 30"),
        (lambda: cylinder_friction(40.0, 1.0, 1.0), "slender_rod_friction"),
        (lambda: slender_rod_friction(1.0, 1.0, 1.0), "must exceed the diameter"),
        (lambda: slender_rod_friction(9.0, 1.0, 1.0, -3.0), "factor must be positive"),
        (lambda: bead_friction([[0, 0]], 1.0, 1.0), "shape"),
        (lambda: bead_friction([[0, 0, math.nan]], 1.0, 1.0), "not finite"),
        (lambda: bead_friction([[0, 0, 0], [0, 0, 0]], 1.0, 1.0), "same centre"),
        (
            lambda: planar_friction(
                bead_friction([[0, 0, 0], [2, 0, 0], [0, 3, 1], [0, -2, 2]], 1.0, 1.0)
            ),
            "z = 0",
        ),
    ],
)
def test_impossible_shapes_are_refused(call: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        call()  # type: ignore[operator]
