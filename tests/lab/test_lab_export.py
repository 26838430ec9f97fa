"""The verb `lab export`: tables and data sets from a run, and a sentence for every mistake."""

import sys

import pytest

from swarmctl.cli import main
from swarmctl.core.errors import ConfigError
from swarmctl.core.extras import has_extra
from swarmctl.lab.export import ExportConfig
from swarmctl.records.exports import COLUMNS
from swarmctl.training.evaluate import find_agent, record_episode
from swarmctl.training.experiment import load_experiment
from swarmctl.training.record import write_rollout

DECISIONS = 6
KEYS = ("scenario.colloids=2", f"scenario.horizon={DECISIONS}", "scenario.history=1")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "run"
    folder.mkdir()
    experiment = load_experiment("Chemotaxis-v0", KEYS)
    env = experiment.env()
    rollout = record_episode(env, find_agent("random", env), seed=1)
    write_rollout(folder / "trajectory.h5md", experiment, env, rollout, {})
    return folder


@pytest.fixture
def export(capsys):
    """Run the verb; returns (status, what it said)."""

    def run(*words):
        capsys.readouterr()
        status = main(["lab", "export", *map(str, words)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out + err

    return run


def test_a_run_becomes_a_table_of_trackpy(run_folder, export, tmp_path):
    table = tmp_path / "tracks.csv"
    status, said = export(run_folder, "--tracks", table, "--pixel-size", "0.5 um")
    rows = table.read_text().splitlines()
    assert status == 0
    assert f"{table}: {2 * (DECISIONS + 1)} rows" in said
    assert tuple(rows[0].split(",")) == COLUMNS
    assert len(rows) == 1 + 2 * (DECISIONS + 1)
    whole = tmp_path / "whole.csv"
    export(run_folder, "--tracks", whole)
    for pixels, length in zip(rows[1:], whole.read_text().splitlines()[1:], strict=True):
        for place in (0, 1):
            found, expected = float(pixels.split(",")[place]), float(length.split(",")[place])
            assert found == pytest.approx(2 * expected, rel=1e-12)


def test_a_table_that_is_there_is_replaced_only_when_asked(run_folder, export, tmp_path):
    table = tmp_path / "tracks.csv"
    table.write_text("precious")
    status, said = export(run_folder, "--tracks", table)
    assert (status, table.read_text()) == (2, "precious")
    assert "is there already" in said
    assert export(run_folder, "--tracks", table, "--overwrite")[0] == 0
    assert table.read_text().startswith(",".join(COLUMNS))


@pytest.mark.skipif(not has_extra("minari"), reason="needs the extra minari")
def test_a_run_becomes_a_data_set_of_minari(run_folder, export, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    sets, table = tmp_path / "sets", tmp_path / "tracks.csv"
    words = (run_folder, "--minari", "lab/x-v0", "--folder", sets)
    status, said = export(*words, "--tracks", table)
    assert status == 0, said
    assert table.exists()
    assert f"MINARI_DATASETS_PATH={sets}" in said
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(sets))
    data = minari.load_dataset("lab/x-v0")
    assert (data.total_episodes, data.total_steps) == (2, 2 * DECISIONS)
    status, said = export(*words)
    assert status == 2
    assert "there is a data set already" in said
    status, said = export(run_folder, "--minari", "lab/y-v0", "--folder", table)
    assert status == 2
    assert "cannot be written" in said
    status, said = export(run_folder, "--minari", "no version", "--folder", sets)
    assert status == 2
    assert "Malformed dataset ID" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tracks", "new.csv", "--episode", "4"], "no episode 4; there are 0"),
        (["--tracks", "new.csv", "--pixel-size", "nan"], "not a number"),
        (["--tracks", "new.csv", "--pixel-size", "3 s"], "is a [time]"),
        (["--tracks", "new.csv", "--pixel-size", "-1"], "pixel_size must be positive"),
        (["--tracks", "new.txt"], "must end in .csv or .parquet"),
        (["--tracks", "new.csv", "--author", "me"], "author changes nothing without minari"),
        (["--minari", "lab/x-v0", "--overwrite"], "overwrite changes nothing without tracks"),
        ([], "--tracks FILE.csv"),
    ],
)
def test_mistakes_are_one_sentence(run_folder, export, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    status, text = export(run_folder, *words)
    assert (status, text.count("\n")) == (2, 1)
    assert said in text
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_run_is_said(export, tmp_path):
    table = tmp_path / "tracks.csv"
    (tmp_path / "folder").mkdir()
    for name in ("nowhere", "folder"):
        status, text = export(tmp_path / name, "--tracks", table)
        assert status == 2
        assert "no trajectory there" in text
        assert "a run's folder" in text
    with pytest.raises(ConfigError, match="which recording"):
        ExportConfig()
    assert not table.exists()


def test_without_minari_the_extra_is_named_before_anything_is_written(
    run_folder, export, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "minari", None)
    table = tmp_path / "tracks.csv"
    status, text = export(run_folder, "--tracks", table, "--minari", "lab/x-v0")
    assert status == 2
    assert "swarmctl[minari]" in text
    assert not table.exists()
