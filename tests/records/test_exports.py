"""Tables of trackpy: what was present, where, and who; trackpy reads them."""

import numpy as np
import pytest

from swarmctl.core.errors import ConfigError, MissingExtraError, RecordError
from swarmctl.core.extras import has_extra
from swarmctl.records.exports import COLUMNS, TrackpyConfig, export_trackpy
from swarmctl.records.trajectory import TrajectorySpec, TrajectoryWriter

N, FRAMES = 5, 40
RANDOM = np.random.default_rng(3)
PLACE = np.cumsum(RANDOM.normal(0, 1, (FRAMES, N, 2)), axis=0)
PRESENT = RANDOM.random((FRAMES, N)) < 0.9
IDENTITY = np.arange(10, 10 + N, dtype="int32")


@pytest.fixture
def recording(tmp_path):
    spec = TrajectorySpec(N, (100.0, 100.0), (False, False), "float64")
    with TrajectoryWriter(tmp_path / "trajectory.h5md", spec) as writer:
        writer.write({"time": 0.0, "step": 0, "episode": 0, "position": PLACE[0]})
        for k in range(FRAMES):
            frame = {"time": k / 8, "step": k, "episode": 1, "position": PLACE[k]}
            writer.write({**frame, "present": PRESENT[k], "identity": IDENTITY})
    return tmp_path


def rows(path):
    lines = [line.split(",") for line in path.read_text().splitlines()]
    assert tuple(lines[0]) == COLUMNS
    return [dict(zip(COLUMNS, line, strict=True)) for line in lines[1:]]


def test_a_row_for_every_colloid_that_is_present(recording, tmp_path):
    table = tmp_path / "tracks.csv"
    count = export_trackpy(TrackpyConfig(recording, table, episode=1, pixel_size=0.5))
    found = rows(table)
    assert len(found) == count == PRESENT.sum()
    expected = [
        (t, IDENTITY[i], PLACE[t, i, 0] / 0.5, PLACE[t, i, 1] / 0.5)
        for t in range(FRAMES)
        for i in range(N)
        if PRESENT[t, i]
    ]
    got = [(int(r["frame"]), int(r["particle"]), float(r["x"]), float(r["y"])) for r in found]
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    for name in ("mass", "size", "ecc", "signal", "raw_mass", "ep"):
        assert {row[name] for row in found} == {""}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # trackpy 0.7 with pandas 3
def test_trackpy_reads_it(recording, tmp_path):
    trackpy = pytest.importorskip("trackpy", reason="needs the extra tracking")
    pandas = pytest.importorskip("pandas")
    table = tmp_path / "tracks.csv"
    export_trackpy(TrackpyConfig(recording, table, episode=1))
    tracks = pandas.read_csv(table)
    assert list(tracks.columns) == list(COLUMNS)
    assert tracks["mass"].isna().all()
    found = trackpy.imsd(tracks, mpp=1.0, fps=8.0, max_lagtime=1)
    for i, who in enumerate(IDENTITY):
        both = PRESENT[1:, i] & PRESENT[:-1, i]
        square = (np.diff(PLACE[:, i], axis=0) ** 2).sum(axis=1)[both]
        assert found[who].iloc[0] == pytest.approx(square.mean(), rel=1e-9)


@pytest.mark.skipif(not has_extra("parquet"), reason="needs the extra parquet")
def test_parquet_holds_the_same(recording, tmp_path):
    from pyarrow import parquet

    export_trackpy(TrackpyConfig(recording, tmp_path / "tracks.parquet", episode=1))
    export_trackpy(TrackpyConfig(recording, tmp_path / "tracks.csv", episode=1))
    table = parquet.read_table(tmp_path / "tracks.parquet")
    assert tuple(table.column_names) == COLUMNS
    csv = rows(tmp_path / "tracks.csv")
    assert table["x"].to_pylist() == [float(row["x"]) for row in csv]
    assert table["particle"].to_pylist() == [int(row["particle"]) for row in csv]
    assert np.isnan(table["mass"].to_pylist()).all()


@pytest.mark.skipif(has_extra("parquet"), reason="pyarrow is installed")
def test_without_pyarrow_the_extra_is_named(recording, tmp_path):
    with pytest.raises(MissingExtraError, match=r"swarmctl\[parquet\]"):
        export_trackpy(TrackpyConfig(recording, tmp_path / "tracks.parquet"))


def test_mistakes_are_said(recording, tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.csv or \.parquet"):
        TrackpyConfig(recording, tmp_path / "tracks.txt")
    with pytest.raises(ConfigError, match="pixel_size must be positive"):
        TrackpyConfig(recording, tmp_path / "tracks.csv", pixel_size=0.0)
    with pytest.raises(ConfigError, match="no episode 2; there are 0, 1"):
        export_trackpy(TrackpyConfig(recording, tmp_path / "tracks.csv", episode=2))
    with pytest.raises(RecordError, match="no trajectory"):
        export_trackpy(TrackpyConfig(tmp_path / "nowhere", tmp_path / "tracks.csv"))
    spec = TrajectorySpec(1, (9.0, 9.0, 9.0), (False,) * 3)
    with TrajectoryWriter(tmp_path / "space.h5md", spec) as writer:
        writer.write({"time": 0.0, "step": 0, "position": np.zeros((1, 3))})
    with pytest.raises(ConfigError, match="3D"):
        export_trackpy(TrackpyConfig(tmp_path / "space.h5md", tmp_path / "tracks.csv"))
