"""What the engine on ESPResSo says with and without ESPResSo: nothing here needs it."""

from __future__ import annotations

import importlib
import sys
import types

import numpy as np
import pytest

import swarmctl
from swarmctl.core.bodies import Body
from swarmctl.core.errors import CapabilityError, ConfigError, EngineMissingError
from swarmctl.core.fields import CallablePotential, HarmonicTrap, ShearFlow
from swarmctl.core.hydrodynamics import Hydrodynamics
from swarmctl.core.walls import Segment
from swarmctl.core.world import Box, Fluid, GlobalField, Species, World
from swarmctl.engines import espresso_build
from swarmctl.engines.espresso_contacts import WCA_SIGMA, sphere_contacts, types_of
from swarmctl.engines.espresso_engine import EspressoEngine
from swarmctl.engines.espresso_fields import ForceFields
from swarmctl.engines.espresso_frame import (
    body_rotations,
    colloid_quaternions,
    make_frame,
    rotations,
)
from swarmctl.engines.espresso_limits import build_features
from swarmctl.physics.contacts import wca_factor
from swarmctl.physics.parameters import motion_params


def matrices(quaternion: np.ndarray) -> np.ndarray:
    """Rotation matrices [N,3,3] of quaternions (w, x, y, z), columns being the frames' axes."""
    w, x, y, z = quaternion.T
    return np.moveaxis(
        np.asarray(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        ),
        2,
        0,
    )


def test_a_spec_is_read_with_nothing_connected():
    env = swarmctl.make("Chemotaxis-v0", engine="espresso", colloids=3)
    jax_env = swarmctl.make("Chemotaxis-v0", colloids=3)
    assert env.engine.spec.name == "espresso"
    assert env.observation_space == jax_env.observation_space
    assert env.action_space == jax_env.action_space
    env.close()


def test_without_espresso_a_reset_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(espresso_build, "is_installed", lambda: False)
    with pytest.raises(EngineMissingError, match=r"EESSI.*THERMOSTAT_PER_PARTICLE"):
        EspressoEngine(World()).reset(0)
    from swarmctl.training.about import info
    from swarmctl.training.configs import InfoConfig

    assert "espresso   not installed: load the module" in info(InfoConfig())


def fake_build(monkeypatch, version: tuple[int, int], features: list[str]) -> None:
    """Put a build of ESPResSo in place of what is installed, as far as it is asked about itself."""
    module = types.ModuleType("espressomd")
    parts = {
        "version": types.SimpleNamespace(version=lambda: version),
        "code_info": types.SimpleNamespace(features=lambda: features),
    }
    monkeypatch.setattr(espresso_build, "is_installed", lambda: True)
    monkeypatch.setitem(sys.modules, "espressomd", module)
    for name, part in parts.items():
        monkeypatch.setitem(sys.modules, f"espressomd.{name}", part)


def test_missing_features_of_a_build_are_named_at_once(monkeypatch):
    has = [name for name in espresso_build.FEATURES if name not in ("MASS", "ENGINE")]
    fake_build(monkeypatch, (4, 3), has)
    with pytest.raises(CapabilityError, match=r"lacks MASS, ENGINE, GAY_BERNE.*#define MASS"):
        espresso_build.check_build(("GAY_BERNE",))


def test_an_earlier_version_is_refused_and_a_later_one_warned_of(monkeypatch):
    everything = list(espresso_build.FEATURES)
    fake_build(monkeypatch, (4, 2), everything)
    with pytest.raises(CapabilityError, match=r"needs ESPResSo 4.3 or later, this is 4.2"):
        espresso_build.check_build()
    fake_build(monkeypatch, (5, 0), everything)
    with pytest.warns(UserWarning, match=r"was run on ESPResSo 4.3, this is 5.0"):
        espresso_build.check_build()


def test_everything_that_it_cannot_do_is_named_in_one_error():
    world = World(
        Box((60.0,) * 3, "hard"),
        species=(Species("a", 3), Species("b", 3, aspect_ratio=2.0)),
        flows=(ShearFlow(rate=0.1),),
        field=GlobalField(),
        hydrodynamics=Hydrodynamics("flow"),
        dynamics="langevin",
    )
    with pytest.raises(CapabilityError) as found:
        EspressoEngine(world)
    for text in ("hydrodynamics", "global field", "flow", "aspect ratio", "hard faces", "inertia"):
        assert text in str(found.value)


def test_features_follow_the_world():
    assert build_features(World()) == ()
    assert build_features(World(bodies=(Body(),))) == ("VIRTUAL_SITES_RELATIVE",)
    assert build_features(World(species=(Species(aspect_ratio=2.0),))) == ("GAY_BERNE",)


def test_contacts_are_those_of_the_jax_engine():
    # ESPResSo's 4ε[(σ/r)¹² - (σ/r)⁶] has the force 24ε[2(σ/r)¹² - (σ/r)⁶]/r below 2^(1/6) σ.
    world = World(species=(Species("a", 2, radius=1.0), Species("b", 2, radius=2.0, speed_max=9)))
    contacts = {(c.first, c.second): c for c in sphere_contacts(world, motion_params(world))}
    assert set(contacts) == {(0, 0), (0, 1), (1, 1)}
    contact = contacts[0, 1]
    push = 6 * np.pi * 1e-3 * 2.0 * 9
    assert contact.energy == pytest.approx(push * 3.0, rel=1e-6)
    r = np.linspace(2.1, 2.99, 9)
    s6 = (contact.distance * WCA_SIGMA / r) ** 6
    force = 24 * contact.energy * (2 * s6**2 - s6) / r
    factor, _ = wca_factor(r**2, 3.0, contact.energy)
    np.testing.assert_allclose(force, np.asarray(factor) * r, rtol=2e-5)


def test_every_pair_that_can_touch_has_a_contact_and_no_other():
    world = World(
        Box((300.0, 300.0)),
        species=(Species(count=2),),
        bodies=(Body(count=2),),
        walls=(Segment((10.0, 10.0), (20.0, 10.0)),),
    )
    types = types_of(world)
    pairs = {(c.first, c.second) for c in sphere_contacts(world, motion_params(world))}
    assert pairs == {(0, 0), (0, 1), (0, 2), (1, 2), (0, 4), (1, 4), (2, 4)}
    assert (types.bead(1), types.centre, types.surface) == (2, 3, 4)


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_frame_of_a_colloid_has_its_director_as_z_axis(dimension):
    rng = np.random.default_rng(0)
    director = rng.standard_normal((50, dimension))
    director /= np.linalg.norm(director, axis=1, keepdims=True)
    director[:2] = np.eye(dimension)[-1] * [[1], [-1]]
    axes = matrices(colloid_quaternions(director))
    np.testing.assert_allclose(axes[:, :dimension, 2], director, atol=1e-12)
    if dimension == 2:  # and the plane's normal as x axis, about which it turns
        np.testing.assert_allclose(axes[:, :, 0], np.tile([0, 0, 1], (50, 1)), atol=1e-12)


def test_rotations_count_the_turns_that_were_commanded():
    start, angle = np.asarray([[1.0, 0.0]] * 3), np.asarray([0.3, 7.0, -10.0])
    end = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    expected = np.stack([0 * angle, 0 * angle, angle + 0.2], axis=1)
    np.testing.assert_allclose(rotations(start, end, expected), angle, atol=1e-12)


def test_rotations_of_bodies_are_rotation_vectors():
    turn = np.asarray([[0.2, -0.4, 0.9]])
    angle = np.linalg.norm(turn)
    q = np.concatenate([[np.cos(angle / 2)], np.sin(angle / 2) * turn[0] / angle])
    found = body_rotations(np.asarray([[1.0, 0, 0, 0]]), q[None])
    np.testing.assert_allclose(found, turn, atol=1e-12)
    np.testing.assert_allclose(body_rotations(q[None], -q[None]), 0, atol=1e-7)


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_places_go_into_the_box_of_espresso_and_back(boundary):
    world = World(Box((20.0, 30.0), boundary), potentials=(HarmonicTrap(0.1),))
    frame = make_frame(world, 2.0, spare=True)
    points = np.asarray([[1.0, 29.0], [19.0, 3.0]])
    np.testing.assert_allclose(frame.outside(frame.inside(points)), points)
    assert (frame.inside(points) < frame.box).all()
    wrapped, image = frame.wrap(np.asarray([[-1e-12, 31.0]]), "float32")
    if boundary == "periodic":
        np.testing.assert_allclose(wrapped, [[0, 1]])
        assert image.tolist() == [[0, 1]]
    else:
        assert image.tolist() == [[0, 0]]


def test_a_field_that_no_grid_resolves_is_refused():
    def spikes(position, time):
        import jax.numpy as jnp

        return 1e-3 * jnp.sin(300 * position[0])

    world = World(
        Box((200.0, 200.0)), species=(Species(count=1),), potentials=(CallablePotential(spikes),)
    )
    frame = make_frame(world, 2.0, spare=True)
    with pytest.raises(ConfigError, match="too steep to be tabulated"):
        ForceFields(world, motion_params(world), frame)


def test_a_light_colloid_is_refused_with_the_time_step_it_needs():
    with pytest.raises(CapabilityError, match=r"relaxes in \S+ s: it needs a time step of"):
        EspressoEngine(World(fluid=Fluid(), dynamics="langevin"))


def test_the_engine_is_registered():
    entry = importlib.import_module("swarmctl.core.registry").engines["espresso"]
    assert entry.load() is EspressoEngine
