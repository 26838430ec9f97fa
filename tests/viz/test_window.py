import matplotlib
import numpy as np
import pytest

from swarmctl.core.errors import ConfigError
from swarmctl.viz import window
from swarmctl.viz.window import HumanWindow

FRAME = np.zeros((40, 60, 3), np.uint8)


@pytest.fixture
def backend():
    """Drawing without a screen; the toolkit check is what the tests replace."""
    from matplotlib import pyplot

    before = matplotlib.get_backend()
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")
    pyplot.switch_backend(before)


def test_without_a_display_the_error_says_what_to_use(backend):
    with pytest.raises(ConfigError, match="rgb_array"):
        HumanWindow()


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_frames_are_shown_until_the_window_is_closed(backend, monkeypatch):
    monkeypatch.setattr(window, "_interactive_backend", lambda: "stub")
    shown = HumanWindow()
    assert shown.show(FRAME)
    assert shown.show(FRAME + 5)
    np.testing.assert_array_equal(np.asarray(shown._picture.get_array()), FRAME + 5)
    with pytest.raises(ConfigError, match="frame has shape"):
        shown.show(np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(ConfigError, match="uint8"):
        shown.show(FRAME.astype(float))
    shown.close()
    assert shown.closed
    assert not shown.show(FRAME)
    shown.close()
