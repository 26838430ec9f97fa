import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from swarmctl.core.errors import ConfigError
from swarmctl.viz.movie import write_movie


def film(count, size=(64, 48)):
    """Frames of a square that moves over a smooth background."""
    width, height = size
    ramp = np.linspace(120, 250, width).astype(np.uint8)
    for index in range(count):
        frame = np.empty((height, width, 3), np.uint8)
        frame[...] = ramp[None, :, None]
        frame[10:20, index : index + 10] = (230, 90, 10)
        yield frame


def test_both_formats_hold_every_frame_at_full_size(tmp_path):
    files = write_movie(tmp_path / "run.1", film(24), fps=12)
    assert [path.name for path in files.paths] == ["run.1.gif", "run.1.mp4"]
    assert files.skipped == {}
    with Image.open(files.paths[0]) as gif:
        assert gif.n_frames == 24
        assert gif.size == (64, 48)
        total = 0
        for index, frame in enumerate(film(24)):
            gif.seek(index)
            total += gif.info["duration"]
            difference = np.asarray(gif.convert("RGB")).astype(int) - frame
            assert np.abs(difference).max() <= 4
    assert total == 2000
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(files.paths[1]))
    assert count == 24
    assert seconds == pytest.approx(2.0, abs=0.1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.1.gif", "run.1.mp4"]


def test_mp4_can_be_played_before_it_is_loaded(tmp_path):
    (path,) = write_movie(tmp_path / "a", film(5), fps=10, formats=("mp4",)).paths
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


# imageio_ffmpeg leaves the pipes of a reader to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_odd_sizes_are_padded_in_mp4_only(tmp_path):
    gif, mp4 = write_movie(tmp_path / "a", film(6, (65, 47)), fps=10).paths
    with Image.open(gif) as image:
        assert image.size == (65, 47)
    reader = imageio_ffmpeg.read_frames(str(mp4))
    assert next(reader)["source_size"] == (66, 48)
    reader.close()


def test_still_frames_are_kept(tmp_path):
    frames = [next(film(1))] * 5
    (path,) = write_movie(tmp_path / "a", frames, fps=10, formats=("gif",)).paths
    with Image.open(path) as gif:
        assert gif.n_frames == 5


def test_pure_black_and_white_survive(tmp_path):
    frames = [np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)]
    (path,) = write_movie(tmp_path / "a", frames, fps=10, formats=("gif",)).paths
    with Image.open(path) as gif:
        for index, frame in enumerate(frames):
            gif.seek(index)
            np.testing.assert_array_equal(np.asarray(gif.convert("RGB")), frame)


def test_fast_films_keep_their_speed_as_gif(tmp_path):
    (path,) = write_movie(tmp_path / "a", film(50), fps=100, formats=("gif",)).paths
    with Image.open(path) as gif:
        assert gif.n_frames == 25
        assert gif.info["duration"] == 20


def test_without_ffmpeg_the_gif_is_written_and_the_reason_given(tmp_path, monkeypatch):
    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    files = write_movie(tmp_path / "a", film(3), fps=10)
    assert [path.suffix for path in files.paths] == [".gif"]
    assert "No ffmpeg exe" in files.skipped["mp4"]


def test_a_film_that_breaks_off_leaves_nothing_and_keeps_the_old_one(tmp_path):
    old = tmp_path / "a.mp4"
    old.write_bytes(b"old")

    def breaking():
        yield from film(3)
        raise KeyError("broken")

    with pytest.raises(KeyError):
        write_movie(tmp_path / "a", breaking(), fps=10)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert old.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("frames", "arguments", "message"),
    [
        ([], {}, "no frames"),
        ([np.zeros((8, 8, 3))], {}, "uint8"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)], {}, "frame 1"),
        ([np.zeros((8, 8, 3), np.uint8)], {"fps": 0}, "fps"),
        ([np.zeros((8, 8, 3), np.uint8)], {"formats": ("avi",)}, "avi"),
    ],
)
def test_wrong_frames_are_named(tmp_path, frames, arguments, message):
    with pytest.raises(ConfigError, match=message):
        write_movie(tmp_path / "a", frames, **({"fps": 10, "formats": ("gif",)} | arguments))
    assert list(tmp_path.iterdir()) == []
