"""What a user may do wrong at `swarmctl lab`: every mistake is one sentence with its place."""

import numpy as np
import pytest

from swarmctl.cli import main
from swarmctl.records.trajectory import TrajectorySpec, TrajectoryWriter, channels_like

RIG = """
name = "bench"
[camera]
driver = "memory-camera"
width = 64
height = 48
[outputs.light]
driver = "memory-pattern"
own_timeout = "0.5 s"
[outputs.light.limits]
power_max = 0.8
power_total = 2.0
slew = 1000.0
spots_max = 10
radius_max = 20.0
window = "10 s"
duty_max = 1.0
dose_colloid = 100.0
dose_area = 100.0
cell = 8
[interlock]
driver = "memory-interlock"
"""


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    """Run a verb of `swarmctl lab` beside a rig file; returns (status, what was said)."""
    monkeypatch.chdir(tmp_path)

    def run(*words, rig=RIG):
        (tmp_path / "rig.toml").write_text(rig)
        capsys.readouterr()
        status = main(["lab", *words])
        out, err = capsys.readouterr()
        return status, out + err

    return run


def test_devices_says_what_each_can_do(lab):
    status, said = lab("devices", "rig.toml")
    assert status == 0
    assert "camera: memory-camera, 64 x 48 px, 8 bits, exposure 20 ms, a frame every 20 ms" in said
    assert "light 0 to 1 (safe: 0); safe by itself after 0.5 s" in said
    assert "interlock: memory-interlock" in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "bench"', "name = 3", "name: expected a text, got 3"),
        ('name = "bench"', "calibration = 3", "calibration: expected a text, got 3"),
        ('name = "bench"', 'detector = "spots"', "detector must be a table"),
        ('name = "bench"', "detector.name = 7", "detector.name: expected a text, got 7"),
        ('name = "bench"', "supervisor = 3", "supervisor: expected a table, got 3"),
        ('name = "bench"', "tracker = [1]", "tracker: expected a table, got [1]"),
        ('name = "bench"', "[lasers]", "Unknown section 'lasers'"),
        ('name = "bench"', "[", "cannot be read as TOML"),
        ('"memory-camera"', '"memory-camra"', "Did you mean 'memory-camera'?"),
        ("width = 64", "widht = 64", "Did you mean 'width'?"),
        ("width = 64", "width = nan", "camera.width: expected int, got nan"),
        ('"0.5 s"\n', '"0.5 s"\nunguarded = 3\n', "outputs.light.unguarded: say why in words"),
        ("power_max = 0.8", "power_max = -1", "outputs.light.limits: power_max must be positive"),
        ("power_max = 0.8", "power_max = nan", "limits.power_max: not a number"),
        ("power_max = 0.8\n", "", "outputs.light.limits: missing key(s) power_max"),
        ("duty_max = 1.0", "duty_max = 2", "outputs.light.limits: duty_max is a share"),
        ('[interlock]\ndriver = "memory-interlock"', "", "a rig needs an [interlock]"),
        ('"memory-interlock"', '"memory-camera"', "is for the role 'camera'"),
    ],
)
def test_a_rig_file_that_is_wrong_is_one_sentence(lab, old, new, said):
    assert old in RIG
    status, text = lab("devices", "rig.toml", rig=RIG.replace(old, new, 1))
    assert (status, text.count("\n")) == (2, 1)
    assert text.startswith("swarmctl lab devices: ")
    assert "rig.toml: " in text
    assert said in text


def test_an_interlock_that_is_no_table_is_said(lab):
    rig = RIG.replace('[interlock]\ndriver = "memory-interlock"\n', "")
    status, text = lab("devices", "rig.toml", rig='interlock = "x"\n' + rig)
    assert status == 2
    assert "interlock: expected a table with the key driver, got 'x'" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("devices nowhere.toml", "no such rig file"),
        ("devices .", "cannot be read as TOML"),
        ("check rig.toml --frames 3", "at least 10 frames"),
        ("check rig.toml --hours inf", "hours from 0 on; got 60 and inf"),
        ("check rig.toml --radius -1", "radius must be positive"),
        ("check rig.toml --radius 3s", "is a [time]"),
        ("stop nowhere.toml", "no such rig file. If light is on, cut its power"),
        ("stop .", "no such rig file"),
        ("stop rig.toml", "no supervisor owns this rig"),
        ("replay", "which recording"),
        ("replay nowhere", "which agent"),
        ("replay nowhere --agent constant", "no trajectory there"),
        ("replay nowhere --agent constant --tolerance -1", "tolerance must be positive"),
        ("replay nowhere --agent constant --against x", "Allowed: applied, requested"),
        ("replay rec --agent constant --set engine.name=jax", "the engine is the recording"),
        ("replay rec --agent constant --set scenario.horizon=3", "horizon is its length"),
        ("replay rec --agent constant --set agent.hidden=[3]", "nobody learns"),
        ("replay rec --agent constant", "does not say of which scenario it is"),
        ("replay rec --agent constant --scenario Chemotaxis-v0", "1 colloids in 2D, the world 10"),
        ("replay rec --agent constant --scenario Chemotaxi-v0", "Did you mean 'Chemotaxis-v0'?"),
        ("replay rods --agent constant --scenario RotateRod-v0", "forces of colloids on them"),
    ],
)
def test_a_call_that_is_wrong_is_one_sentence(lab, tmp_path, words, said):
    frames = [
        {
            "time": 0.1 * k,
            "step": k,
            "position": np.full((1, 2), 50.0),
            "requested": {"speed": np.ones(1)},
            "applied": {"speed": np.ones(1)},
        }
        for k in range(3)
    ]
    channels = channels_like({"speed": np.zeros(1)})
    beads = {"bodies": ("rod",), "bead_radius": (1.0,), "body_of_bead": (0,)}
    for name, more in (("rec", {}), ("rods", beads)):
        if name in words:
            spec = TrajectorySpec(1, (100.0, 100.0), (False, False), commands=channels, **more)
            (tmp_path / name).mkdir()
            with TrajectoryWriter(tmp_path / name, spec) as writer:
                for frame in frames:
                    writer.write(frame)
    status, text = lab(*words.split())
    assert (status, text.count("\n")) == (2, 1)
    assert said in text
