"""What the supervisor itself does wrong is a fault: outputs safe, then the end."""

import socket

import pytest

from swarmctl.bridge.orders import Report, Standing
from swarmctl.bridge.supervisor.client import SupervisorClient
from swarmctl.bridge.supervisor.loop_link import LoopLink
from swarmctl.bridge.supervisor.ownership import answer_address
from swarmctl.bridge.supervisor.process import FAILURES_MAX, Service
from swarmctl.core.errors import ArmingError, DeviceError


class Broken:
    """A state machine whose `tick` fails, for a while or for ever."""

    standing = Standing.ACTIVE
    finished = False

    def __init__(self, failures):
        self.failures = failures
        self.told = []

    def tick(self, now):
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError("a mistake")
        self.finished = True

    def fail(self, what, now):
        self.told.append(what)

    def report(self, now):
        return Report(self.standing, "", now, 0.0, 0.0, None, "")


def serve(machine, path):
    ours, theirs = socket.socketpair()
    woken, waker = socket.socketpair()
    with ours, theirs, woken, waker:
        Service(machine, LoopLink(ours), path).run(woken)


def test_a_second_supervisor_is_kept_out_even_without_locks(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:
        first.bind(answer_address(tmp_path / "rig.toml"))
        with pytest.raises(ArmingError, match="another supervisor answers"):
            serve(Broken(failures=0), tmp_path / "rig.toml")


def test_a_mistake_is_told_to_the_machine_which_goes_on_to_its_end(tmp_path):
    machine = Broken(failures=2)
    serve(machine, tmp_path / "a")
    assert len(machine.told) == 2


def test_a_mistake_that_comes_again_and_again_ends_the_process(tmp_path):
    machine = Broken(failures=10**6)
    with pytest.raises(ZeroDivisionError):
        serve(machine, tmp_path / "b")
    assert len(machine.told) == FAILURES_MAX
    assert "a mistake" in machine.told[0]


def test_another_system_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Windows")
    client = SupervisorClient(tmp_path / "rig.toml", tmp_path / "audit.jsonl")
    with pytest.raises(DeviceError, match=r"needs Linux, this is Windows.*lab link"):
        client.open()
