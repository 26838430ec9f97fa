"""A policy comes back bit for bit, and nothing but a policy comes back; no file runs code."""

import json
import pickle
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from swarmctl.agents.deep.policy import init_policy
from swarmctl.agents.options import make_agent
from swarmctl.agents.saving import (
    ARRAYS_FILE,
    JSON_FILE,
    describe_policy,
    find_policy,
    load_agent,
    save_agent,
)
from swarmctl.core.contracts import AgentInputs
from swarmctl.core.errors import PolicyFileError, RecordError
from swarmctl.envs.make import make_env

SPECS = {
    name: make_env(name, colloids=3).spec for name in ("Chemotaxis-v0", "ChemotaxisContinuous-v0")
}


def fresh(name="Chemotaxis-v0", seed=0):
    return init_policy(jax.random.key(seed), SPECS[name], (8, 4), -0.5)


@pytest.fixture
def saved(tmp_path):
    return save_agent(fresh(), tmp_path / "policy", {"seed": 3})


def rewrite_json(folder, **changes):
    data = json.loads((folder / JSON_FILE).read_text())
    for name, value in changes.items():
        if value is None:
            del data[name]
        else:
            data[name] = value
    (folder / JSON_FILE).write_text(json.dumps(data))


def rewrite_arrays(folder, change):
    """Change the arrays and let the description vouch for them, as a careless tool would."""
    import hashlib

    file = folder / ARRAYS_FILE
    arrays = load_file(file)
    change(arrays)
    save_file(arrays, file)
    rewrite_json(folder, sha256=hashlib.sha256(file.read_bytes()).hexdigest())


@pytest.mark.parametrize("name", SPECS)
def test_a_policy_comes_back_bit_for_bit_and_acts_the_same(tmp_path, name):
    policy = fresh(name)
    folder = save_agent(policy, tmp_path / "deep" / "policy")
    again = load_agent(folder)
    assert jax.tree.structure(again) == jax.tree.structure(policy)
    for a, b in zip(jax.tree.leaves(policy), jax.tree.leaves(again), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    again.check(SPECS[name])
    seen = AgentInputs(None, jax.random.normal(jax.random.key(1), (100, 12)), None)
    for deterministic in (True, False):
        one, _ = policy.act(seen, (), jax.random.key(2), deterministic)
        other, _ = again.act(seen, (), jax.random.key(2), deterministic)
        np.testing.assert_array_equal(one, other)


def test_a_policy_is_found_from_its_files_its_folder_and_its_run(saved):
    for path in (saved, saved / ARRAYS_FILE, saved / JSON_FILE, saved.parent, str(saved)):
        assert find_policy(path) == saved
        assert load_agent(path).observation_names == fresh().observation_names
    assert describe_policy(saved)["about"] == {"seed": 3}


def test_saving_again_replaces_the_policy(saved):
    save_agent(fresh(seed=1), saved)
    np.testing.assert_array_equal(
        load_agent(saved).actor.weights[0], fresh(seed=1).actor.weights[0]
    )
    assert sorted(p.name for p in saved.iterdir()) == [JSON_FILE, ARRAYS_FILE]


def test_every_flipped_byte_of_the_arrays_is_noticed(saved):
    file = saved / ARRAYS_FILE
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for place in [0, 7, 8, 9, len(whole) - 1, *rng.integers(len(whole), size=40)]:
        broken = bytearray(whole)
        broken[place] ^= 1 << rng.integers(8)
        file.write_bytes(bytes(broken))
        with pytest.raises(PolicyFileError, match=ARRAYS_FILE):
            load_agent(saved)
    file.write_bytes(whole)
    load_agent(saved)


def test_every_truncation_is_noticed(saved):
    for name in (ARRAYS_FILE, JSON_FILE):
        whole = (saved / name).read_bytes()
        for length in (0, 1, 8, 20, len(whole) // 2, len(whole) - 2):
            (saved / name).write_bytes(whole[:length])
            with pytest.raises(PolicyFileError, match=name):
                load_agent(saved)
        (saved / name).write_bytes(whole)
    load_agent(saved)


def test_files_of_two_policies_do_not_mix(saved, tmp_path):
    other = save_agent(fresh(seed=1), tmp_path / "other")
    shutil.copy(other / ARRAYS_FILE, saved / ARRAYS_FILE)
    with pytest.raises(PolicyFileError, match=r"does not belong .*checksums differ"):
        load_agent(saved)


def test_foreign_arrays_are_refused(saved):
    save_file({"a": np.zeros(3)}, saved / ARRAYS_FILE)
    with pytest.raises(PolicyFileError, match="checksums differ"):
        load_agent(saved)
    (saved / ARRAYS_FILE).write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    with pytest.raises(PolicyFileError, match="safetensors"):
        load_agent(saved)


@pytest.mark.parametrize("name", [ARRAYS_FILE, JSON_FILE])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(PolicyFileError, match=name):
        load_agent(saved)


def test_a_missing_folder_and_a_folder_without_policy_are_named(tmp_path):
    with pytest.raises(PolicyFileError, match=r"nowhere: no such file or folder"):
        load_agent(tmp_path / "nowhere")
    with pytest.raises(PolicyFileError, match=r"no policy.json here or in .*policy"):
        load_agent(tmp_path)
    file = tmp_path / "some.txt"
    file.write_text("x")
    with pytest.raises(PolicyFileError, match=r"no policy.json"):
        load_agent(file)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "has version 2, this swarmctl reads version 1"),
        ({"version": None}, "has version None"),
        ({"format": "other"}, "is not a swarmctl policy"),
        ({"format": None}, "is not a swarmctl policy"),
        ({"kind": "cnn"}, "kind 'cnn'"),
        ({"activation": "gelu"}, "activation 'gelu'"),
        ({"sha256": None}, "checksums differ"),
        ({"actor": [12, 9, 4]}, "description does not fit the arrays"),
        ({"actor": [12, 8, 4, 5]}, "description does not fit the arrays"),
        ({"actor": None}, "description does not fit the arrays"),
        ({"actor": "xyz"}, "description does not fit the arrays"),
        ({"critic": [5, 8, 4, 1]}, "description does not fit the arrays"),
        ({"action_space": {"kind": "Box", "n": 4}}, "description does not fit the arrays"),
        ({"action_space": {"kind": "Discrete"}}, "description does not fit the arrays"),
        ({"action_space": {"kind": "Discrete", "n": 5}}, "4 numbers, .* 5 actions"),
        ({"action_space": {"kind": "Discrete", "n": "4"}}, "description does not fit the arrays"),
        ({"action_space": {"kind": "Continuous", "size": 4}}, "log_std is missing in the arrays"),
        ({"action_space": [4]}, "description does not fit the arrays"),
        ({"observation_names": ["a", "b"]}, "names 2 observations"),
        ({"observation_names": 3}, "description does not fit the arrays"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(saved, changes, words):
    rewrite_json(saved, **changes)
    with pytest.raises(PolicyFileError, match=words):
        load_agent(saved)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"swarmctl-policy"', "{", "\xff"])
def test_a_description_that_is_no_object_is_refused(saved, text):
    (saved / JSON_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(PolicyFileError, match=JSON_FILE):
        load_agent(saved)


def _replace(name, make):
    def change(arrays):
        arrays[name] = make(arrays[name])

    return change


def _with(array, value):
    array = array.copy()
    array.flat[0] = value
    return array


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_replace("actor.weights.0", lambda a: _with(a, np.nan)), "not finite"),
        (_replace("critic.biases.1", lambda a: _with(a, np.inf)), "not finite"),
        (_replace("mean", lambda a: a[:-1]), "mean"),
        (_replace("deviation", lambda a: a[None]), "deviation"),
        (_replace("deviation", lambda a: _with(a, 0)), "deviation"),
        (_replace("deviation", lambda a: _with(a, -1)), "deviation"),
        (_replace("actor.biases.0", lambda a: np.zeros(1, a.dtype)), "biases"),
        (_replace("actor.weights.1", lambda a: a.T.copy()), "actor.weights.1"),
        (_replace("actor.weights.1", lambda a: a.astype(np.int32)), "int32"),
        (lambda arrays: arrays.pop("mean"), "mean"),
        (lambda arrays: arrays.update(extra=np.zeros(3, np.float32)), "extra"),
        (lambda arrays: arrays.update(log_std=np.zeros(4, np.float32)), "log_std"),
    ],
)
def test_arrays_that_make_no_policy_are_refused_even_if_vouched_for(saved, change, words):
    rewrite_arrays(saved, change)
    with pytest.raises(PolicyFileError, match=words):
        load_agent(saved)


def test_classical_agents_are_not_saved(tmp_path):
    agent = make_agent("gradient-climber", SPECS["Chemotaxis-v0"])
    with pytest.raises(PolicyFileError, match=r"GradientClimber .*by its name and keys"):
        save_agent(agent, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_an_unwritable_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match=r"file.*cannot be written"):
        save_agent(fresh(), tmp_path / "file" / "policy")


CHILD = """
import pickle, sys
from swarmctl.agents.saving import load_agent
from swarmctl.core.errors import PolicyFileError

try:
    load_agent(sys.argv[1] + "-none")  # what is imported late is imported before the trap is set
except PolicyFileError:
    pass

def forbidden(*_, **__):
    raise SystemExit("a pickle was read")

pickle.load = pickle.loads = pickle.Unpickler = forbidden
policy = load_agent(sys.argv[1])
print(float(abs(policy.actor.weights[0]).sum()))
try:
    load_agent(sys.argv[2])
except PolicyFileError:
    print("refused")
"""


class _Bomb:
    def __reduce__(self):
        return (print, ("BOOM",))


def test_loading_runs_no_code(saved, tmp_path):
    evil = shutil.copytree(saved, tmp_path / "evil")
    (evil / ARRAYS_FILE).write_bytes(pickle.dumps(_Bomb()))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, str(saved), str(evil)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "BOOM" not in done.stdout
    total, refused = done.stdout.split()
    assert refused == "refused"
    expected = float(jnp.abs(fresh().actor.weights[0]).sum())
    assert float(total) == pytest.approx(expected, rel=1e-6)
