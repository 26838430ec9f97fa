"""What is drawn over a camera's frame."""

import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.viz.overlay import Overlay, draw_overlay

EMPTY = np.zeros((0, 3))


def overlay(**keys):
    nobody = {
        "place": np.zeros((0, 2)),
        "radius": 10.0,
        "heading": np.zeros((0, 2)),
        "driven": np.zeros(0, bool),
        "light": EMPTY,
        "goal": EMPTY,
    }
    return Overlay(**{**nobody, **keys})


def test_a_colloid_is_drawn_where_it_is_and_its_heading_points_ahead():
    frame = np.full((100, 200), 500, np.uint16)
    frame[0, 0] = 4000
    bare = draw_overlay(frame, overlay(), width=400)
    assert bare.shape == (200, 400, 3)
    place, ahead = np.array([[50.0, 30.0]]), np.array([[1.0, 0.0]])
    drawn = draw_overlay(
        frame, overlay(place=place, heading=ahead, driven=np.ones(1, bool)), width=400
    )
    row, column = np.nonzero((drawn != bare).any(axis=2))
    # A circle of 10 px around (50, 30), at twice the size, and a line to its right.
    assert (row.min(), row.max()) == pytest.approx((40, 80), abs=2)
    assert column.min() == pytest.approx(80, abs=2)
    assert column.max() == pytest.approx(2 * (50 + 16), abs=2)


def test_words_and_alarms_are_legible_on_any_frame():
    for grey in (np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8)):
        bare = draw_overlay(grey, overlay(), width=320)
        said = draw_overlay(grey, overlay(lines=("drive  3.0 s",)), width=320)
        assert (said[:40] == 255).any()
        assert (said[:40] == 0).any()
        alarm = draw_overlay(grey, overlay(alarm="frame too old"), width=320)
        assert (alarm[-10] != bare[-10]).any()


def test_a_colour_image_is_refused():
    with pytest.raises(ConfigError, match="grey image"):
        draw_overlay(np.zeros((4, 4, 3), np.uint8), overlay())
