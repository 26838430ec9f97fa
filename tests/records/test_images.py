"""Images: what is put is in the file, whatever ends; the loop never waits, losses are said."""

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from swarmctl.core.errors import ConfigError, FrameError, RecordError
from swarmctl.records import image_ring
from swarmctl.records.image_process import image_file
from swarmctl.records.image_repair import repair_images
from swarmctl.records.images import ImageConfig, ImageWriter
from swarmctl.records.ome_tiff import OmeTiff, PlaneFormat

tifffile = pytest.importorskip("tifffile", reason="reading images needs the extra lab")

SIZE = {"height": 6, "width": 10}
START = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
FORM = PlaneFormat(6, 10, 16, 0.25, 0.02, START, "a & b")
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="stops and limits are those of Linux")


def frame(k, dtype="uint16"):
    return (np.arange(60).reshape(6, 10) + 3 * k).astype(dtype)


def read(path):
    """(planes [T,H,W], DeltaT [T], numbers [T]) as tifffile's OME reader has them."""
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.is_bigtiff
        [series] = file.series
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        planes = pixels["Plane"] if isinstance(pixels["Plane"], list) else [pixels["Plane"]]
        numbers = [page.aspage().tags["ImageNumber"].value for page in series.pages]
        data = series.asarray().reshape(-1, *series.shape[-2:])
    assert len(planes) >= len(data)
    return data, [plane["DeltaT"] for plane in planes[: len(data)]], numbers


def holds(path, numbers):
    """Assert that the file holds exactly the frames of these numbers."""
    data, times, found = read(path)
    assert found == list(numbers)
    np.testing.assert_allclose(times, np.array(found) / 8, atol=1e-6)
    np.testing.assert_array_equal(data, [frame(k) for k in found])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_what_is_put_comes_back_through_the_ome_reader(tmp_path, dtype):
    path = tmp_path / "images.ome.tif"
    config = ImageConfig(**SIZE, dtype=dtype, pixel_size=0.25, exposure=0.02, name="a & b")
    with ImageWriter(path, config, START) as images:
        for k in range(5):
            assert images.put(frame(k, dtype), 1.5 + k / 50, 100 + 2 * k)
    assert images.status().written == 5
    data, times, numbers = read(path)
    assert data.dtype == dtype
    np.testing.assert_array_equal(data, [frame(k, dtype) for k in range(5)])
    np.testing.assert_allclose(times, 1.5 + np.arange(5) / 50, atol=1e-6)
    assert numbers == [100, 102, 104, 106, 108]
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "TYX"
        image = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        assert file.pages.first.get_resolution("MICROMETER") == pytest.approx((4.0, 4.0))
    assert image["Name"] == "a & b"
    assert image["AcquisitionDate"] == "2026-01-02T03:04:05.678Z"
    pixels = image["Pixels"]
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (0.25, "µm")
    assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeYUnit"]) == (0.25, "µm")
    assert {plane["ExposureTime"] for plane in pixels["Plane"]} == {0.02}
    assert tifffile.imread(path).shape == (5, 6, 10)


def test_a_full_file_is_followed_by_the_next(tmp_path):
    path = tmp_path / "images.ome.tif"
    with ImageWriter(path, ImageConfig(**SIZE, planes=3)) as images:
        for k in range(7):
            images.put(frame(k), k / 8, k)
    names = ["images.ome.tif", "images.0001.ome.tif", "images.0002.ome.tif"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names)
    for index, numbers in enumerate([range(3), range(3, 6), range(6, 7)]):
        holds(image_file(path, index), numbers)


def test_without_a_frame_there_is_no_file(tmp_path):
    with ImageWriter(tmp_path / "images.ome.tif", ImageConfig(**SIZE)):
        pass
    assert list(tmp_path.iterdir()) == []


class Log:
    """A file in memory that keeps every write, and is full after so many bytes."""

    def __init__(self, room=10**9):
        self.room, self.writes, self.data = room, [], bytearray()

    def write_at(self, data, offset):
        data = bytes(data)
        fits = data[: max(0, self.room - offset)]
        self.writes.append((fits, offset))
        end = offset + len(fits)
        self.data.extend(bytes(max(0, end - len(self.data))))
        self.data[offset:end] = fits
        if len(fits) < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")

    def cut(self, length):
        self.writes.append((b"", length))
        del self.data[length:]

    def close(self):
        pass


def written(count, room=10**9):
    log = Log(room)
    file = OmeTiff(log, FORM, 10)
    for k in range(count):
        file.append(frame(k).tobytes(), k / 8, k)
    return log, file


def test_a_kill_between_or_within_any_two_writes_leaves_whole_pages(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    log, _ = written(4)
    path = tmp_path / "images.ome.tif"
    done, seen = bytearray(), set()
    for data, offset in log.writes:
        # Up to 16 bytes in one block of the disk are written whole.
        torn = {1, len(data) // 2, len(data) - 1} if len(data) > 16 else set()
        assert torn or offset // 4096 == (offset + len(data) - 1) // 4096
        for part in torn | {0, len(data)}:
            image = bytearray(done)
            image.extend(bytes(max(0, offset + part - len(image))))
            image[offset : offset + part] = data[:part]
            if bytes(image[:16]) != bytes(log.data[:16]):  # no TIFF yet
                continue
            path.write_bytes(image)
            count = len(read(path)[2])
            holds(path, range(count))
            seen.add(count)
        done.extend(bytes(max(0, offset + len(data) - len(done))))
        done[offset : offset + len(data)] = data
    assert seen == {1, 2, 3, 4}
    assert done == log.data


def test_a_file_cut_anywhere_gives_its_whole_pages(tmp_path, caplog):
    """As after a power cut: the XML counts more pages than there are, until it is repaired."""
    caplog.set_level(logging.CRITICAL)
    path = tmp_path / "images.ome.tif"
    ends = [len(written(k)[0].data) for k in range(1, 5)]
    data = bytes(written(4)[0].data)
    for length in range(ends[0], ends[3] + 1, 7):
        path.write_bytes(data[:length])
        whole = sum(end <= length for end in ends)
        with tifffile.TiffFile(path) as file:
            assert file.is_ome
            assert len(file.pages) >= whole
            for k in range(whole):
                np.testing.assert_array_equal(file.pages[k].asarray(), frame(k))
        actions = repair_images(path)
        assert actions == (
            () if whole == 4 else (f"dropped {4 - whole} planes that were not whole",)
        )
        holds(path, range(whole))
        assert repair_images(path) == ()
    for bad in (data[:100], b"no TIFF at all, but text", b""):
        path.write_bytes(bad)
        with pytest.raises(RecordError, match="no whole page"):
            repair_images(path)


def test_a_full_disk_costs_no_earlier_page(tmp_path):
    path = tmp_path / "images.ome.tif"
    start, end = (len(written(k)[0].data) for k in (3, 4))
    for room in range(start, end, 5):
        log, file = written(3, room)
        with pytest.raises(OSError, match="No space left"):
            file.append(frame(3).tobytes(), 3 / 8, 3)
        path.write_bytes(log.data)
        holds(path, range(3))
        log.room = 10**9
        file.append(frame(4).tobytes(), 4 / 8, 4)
        path.write_bytes(log.data)
        holds(path, [0, 1, 2, 4])


def wait_for(done, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "took too long"
        time.sleep(0.02)


@ON_LINUX
def test_a_full_disk_is_a_fault_that_the_loop_sees(tmp_path):
    import resource

    path = tmp_path / "images.ome.tif"
    images = ImageWriter(path, ImageConfig(**SIZE, planes=50))
    for k in range(3):
        images.put(frame(k), k / 8, k)
    wait_for(lambda: images.status().written == 3)
    limit = path.stat().st_size
    resource.prlimit(images.pid, resource.RLIMIT_FSIZE, (limit, limit))
    images.put(frame(3), 3 / 8, 3)
    wait_for(lambda: images.status().fault)
    assert not images.put(frame(4), 4 / 8, 4)
    status = images.close()
    assert (status.written, status.waiting, status.dropped) == (3, 0, 2)
    assert str(path) in status.fault
    assert "File too large" in status.fault
    holds(path, range(3))


@ON_LINUX
def test_a_slow_disk_drops_frames_and_counts_them(tmp_path):
    path = tmp_path / "images.ome.tif"
    with ImageWriter(path, ImageConfig(**SIZE, slots=4)) as images:
        os.kill(images.pid, signal.SIGSTOP)
        taken = [images.put(frame(k), k / 8, k) for k in range(10)]
        assert taken == [True] * 4 + [False] * 6
        status = images.status()
        assert (status.waiting, status.dropped, status.fault) == (4, 6, None)
        os.kill(images.pid, signal.SIGCONT)
        wait_for(lambda: images.status().waiting == 0)
        assert images.put(frame(10), 10 / 8, 10)
    assert images.status().written == 5
    assert images.status().dropped == 6
    holds(path, [0, 1, 2, 3, 10])


@ON_LINUX
def test_a_disk_that_never_answers_is_given_up(tmp_path):
    images = ImageWriter(tmp_path / "images.ome.tif", ImageConfig(**SIZE))
    os.kill(images.pid, signal.SIGSTOP)
    images.put(frame(0), 0.0, 0)
    status = images.close(timeout=0.1)
    assert (status.written, status.dropped) == (0, 1)
    assert "longer than 0.1 s" in status.fault


def test_a_writer_that_is_killed_is_a_fault_and_leaves_what_it_wrote(tmp_path):
    path = tmp_path / "images.ome.tif"
    with ImageWriter(path, ImageConfig(**SIZE)) as images:
        for k in range(3):
            images.put(frame(k), k / 8, k)
        wait_for(lambda: images.status().written == 3)
        os.kill(images.pid, signal.SIGKILL)
        wait_for(lambda: images.status().fault)
        assert "has ended" in images.status().fault
        assert not images.put(frame(3), 3 / 8, 3)
    assert images.status().dropped == 1
    holds(path, range(3))


LOOP = """
import sys
import numpy as np
from swarmctl.records.image_repair import repair_images
from swarmctl.records.images import ImageConfig, ImageWriter

assert "jax" not in sys.modules
images = ImageWriter(sys.argv[1], ImageConfig(height=6, width=10))
for k in range(10**9):
    frame = (np.arange(60).reshape(6, 10) + 3 * k).astype("uint16")
    while not images.put(frame, k / 8, k):
        pass
    print(k, flush=True)
"""


def test_a_loop_that_is_killed_loses_no_frame_that_it_has_put(tmp_path):
    path = tmp_path / "images.ome.tif"
    command = [sys.executable, "-W", "error", "-c", LOOP, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as loop:
        first = loop.stdout.readline()
        time.sleep(0.05)
        loop.kill()
        lines = (first + loop.stdout.read()).split(b"\n")[:-1]
    last = int(lines[-1])
    wait_for(lambda: read(path)[2][-1] >= last)
    assert read(path)[2][-1] in (last, last + 1)
    holds(path, range(read(path)[2][-1] + 1))


@ON_LINUX
def test_without_room_in_memory_a_temporary_file_serves(tmp_path, monkeypatch):
    tried, true_reserve = [], image_ring._reserve

    def reserve(folder, length):
        tried.append(folder)
        if len(tried) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return true_reserve(folder, length)

    monkeypatch.setattr(image_ring, "_reserve", reserve)
    monkeypatch.setattr(image_ring.tempfile, "gettempdir", lambda: str(tmp_path))
    path = tmp_path / "sub" / "images.ome.tif"
    with ImageWriter(path, ImageConfig(**SIZE)) as images:
        images.put(frame(0), 0.0, 0)
    assert tried[-1] == tmp_path
    assert [item.name for item in tmp_path.iterdir()] == ["sub"]
    holds(path, [0])


def test_the_writers_process_needs_no_jax():
    code = "import sys, swarmctl.records.image_process; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_bad_input_is_refused(tmp_path):
    path = tmp_path / "images.ome.tif"
    for keys, words in [
        ({"height": 0}, "height must be from 1"),
        ({"name": 201 * "n"}, "201 characters"),
        ({"slots": 1}, "slots must be from 2"),
        ({"pixel_size": -1.0}, "pixel_size must be positive"),
    ]:
        with pytest.raises(ConfigError, match=words):
            ImageConfig(**{**SIZE, **keys})
    with ImageWriter(path, ImageConfig(**SIZE)) as images:
        for bad in (frame(0)[:3], frame(0, "uint8"), frame(0, "float32")):
            with pytest.raises(FrameError, match="expected uint16"):
                images.put(bad, 0.0, 0)
        with pytest.raises(FrameError, match="time"):
            images.put(frame(0), float("nan"), 0)
        with pytest.raises(FrameError, match="number"):
            images.put(frame(0), 0.0, -1)
        images.put(frame(0), 0.0, 0)
    with pytest.raises(RecordError, match="closed"):
        images.put(frame(1), 1 / 8, 1)
    with pytest.raises(RecordError, match="exists already"):
        ImageWriter(path, ImageConfig(**SIZE))
    with pytest.raises(RecordError, match=r"\.ome\.tif"):
        ImageWriter(tmp_path / "images.tif", ImageConfig(**SIZE))
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be written"):
        ImageWriter(tmp_path / "file" / "images.ome.tif", ImageConfig(**SIZE))
    with pytest.raises(RecordError, match="shared memory"):
        ImageWriter(tmp_path / "b.ome.tif", ImageConfig(height=2**20, width=2**20, slots=2000))
