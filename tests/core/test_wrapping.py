"""Angles on the circle, and positions in a periodic box."""

import numpy as np
import pytest

from swarmctl.core.wrapping import wrapped_angle, wrapped_position


def test_angles_lie_in_the_half_open_circle() -> None:
    angle = wrapped_angle([3.5, -3.5, np.pi, -np.pi, 0.0, np.nan])
    assert angle == pytest.approx(
        [3.5 - 2 * np.pi, 2 * np.pi - 3.5, np.pi, np.pi, 0.0, np.nan], nan_ok=True
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_positions_lie_in_the_box_and_can_be_unwrapped(dtype: str) -> None:
    size, periodic = np.array([10.0, 7.0]), np.array([True, False])
    there = np.random.default_rng(0).uniform(-40, 40, (200, 2))
    position, image = wrapped_position(there, size, periodic, dtype)
    assert position.dtype == dtype
    assert image.dtype == np.int32
    assert ((position[:, 0] >= 0) & (position[:, 0] < size[0])).all()
    assert not image[:, 1].any()
    np.testing.assert_allclose(position + image * size, there, atol=1e-5)


def test_what_rounds_up_to_the_face_belongs_to_the_next_box() -> None:
    there = np.array([[-1e-9, 0.0], [10.0 - 1e-9, 0.0], [10.0, 0.0]])
    position, image = wrapped_position(there, (10.0, 10.0), (True, True), "float32")
    np.testing.assert_array_equal(position[:, 0], 0)
    np.testing.assert_array_equal(image[:, 0], [0, 1, 1])
