"""The folder of a run: its configuration, where it came from, whether it is finished."""

from __future__ import annotations

import json
import shutil
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from swarmctl.core.config import dump_toml
from swarmctl.core.errors import RecordError, RunFolderError
from swarmctl.core.files import TEMPORARY_SUFFIX
from swarmctl.records.files import FileLock, write_json_atomic, write_text_atomic
from swarmctl.records.image_repair import repair_images
from swarmctl.records.metrics import read_metrics
from swarmctl.records.provenance import describe_process, find_seeds, utc_now
from swarmctl.records.trajectory import find_journals, repair

CONFIG_FILE = "config.toml"
RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
LOCK_FILE = ".run.lock"


class RunFolder:
    """A folder that holds one run; made by `create` or `open`, used in a `with` statement.

    Within the statement the run is `running`; afterwards it is `finished`, or `failed` with the
    reason. A run that a kill ended stays `running` in its file, and `describe_run` tells that
    nobody is at work.

    Attributes:
        path: the folder.
        config: nested tables, as in config.toml.
        info: what run.json holds.
    """

    def __init__(self, path: Path, config: dict[str, Any], info: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.info = info
        self._lock = FileLock(path / LOCK_FILE)

    @classmethod
    def create(
        cls, path: str | Path, config: Mapping[str, Any], verb: str, overwrite: bool = False
    ) -> RunFolder:
        """Make the folder, write config.toml and run.json; the run is running in this process.

        Args:
            path: the folder, made if need be.
            config: nested tables; seeds are found in it by their name.
            verb: what is done, for example "train".
            overwrite: delete a run that is there, whole. Never deletes what is not a run.

        Raises RunFolderError if the folder cannot be written, is a file, or holds something.
        """
        path = Path(path)
        text = _toml_text(path, config)
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"{path}: is a file; a run needs a folder. Choose another name.")
        try:
            path.mkdir(parents=True, exist_ok=True)
            content = {item.name for item in path.iterdir()}
        except OSError as error:
            raise _unwritable(path, error) from error
        run = cls(path, tomllib.loads(text), {})
        try:
            run._acquire()
            run._make_room(content - {LOCK_FILE}, overwrite)
            # run.json comes last: without it the folder is known to be half-written.
            write_text_atomic(path / CONFIG_FILE, text)
            now = utc_now()
            run.info = {
                "verb": verb,
                "status": "running",
                "reason": "",
                "created": now,
                "updated": now,
                "seeds": find_seeds(config),
                **describe_process(),
                "resumed": [],
            }
            run._save()
        except RecordError as error:
            run._lock.release()
            raise RunFolderError(f"{path}: cannot be written. {error}") from error
        except BaseException:
            run._lock.release()
            raise
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open a run that is there, to read or (in a `with` statement) to go on with it.

        Raises RunFolderError if there is none, or config.toml or run.json is missing or damaged.
        """
        path = Path(path)
        if not path.is_dir():
            what = "is a file, not the folder of a run" if path.exists() else "no such folder"
            raise RunFolderError(f"{path}: {what}. Give the folder that the run was started with.")
        missing = [name for name in (CONFIG_FILE, RUN_FILE) if not (path / name).is_file()]
        if len(missing) == 2:
            raise RunFolderError(
                f"{path}: is not the folder of a run: {CONFIG_FILE} and {RUN_FILE} are missing. "
                "Give the folder that the run was started with."
            )
        if missing:
            raise _half_written(path, f"{missing[0]} is missing")
        return cls(path, _read_config(path), _read_info(path))

    @property
    def status(self) -> str:
        """What run.json says: running, finished or failed."""
        return str(self.info["status"])

    @property
    def metrics(self) -> Path:
        """The file of metrics."""
        return self.path / METRICS_FILE

    def mark(self, status: str, reason: str = "") -> None:
        """Write the status running, finished or failed, with a reason. Raises RunFolderError."""
        if status not in ("running", "finished", "failed"):
            raise RunFolderError(
                f"{self.path}: status {status!r}; allowed: running, finished, failed."
            )
        self.info.update(status=status, reason=reason, updated=utc_now())
        try:
            self._save()
        except RecordError as error:
            raise RunFolderError(str(error)) from error

    def close(self) -> None:
        """Let others use the folder; the status stays."""
        self._lock.release()

    def __enter__(self) -> RunFolder:
        if not self._lock.held:
            self._acquire()
            # Someone else may have finished it since it was opened.
            self.info = _read_info(self.path)
            self.info["resumed"] = [*self.info.get("resumed", []), utc_now()]
            self.info.update(describe_process())
            self.mark("running")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.mark("finished")
            else:
                self.mark("failed", f"{type(error).__name__}: {error}".rstrip(": "))
        finally:
            self.close()

    def _save(self) -> None:
        write_json_atomic(self.path / RUN_FILE, self.info)

    def _acquire(self) -> None:
        try:
            free = self._lock.acquire()
        except RecordError as error:
            raise RunFolderError(
                f"{self.path}: cannot be written ({error.__cause__ or error}). "
                "Choose a folder that you may write to."
            ) from error
        if not free:
            raise RunFolderError(
                f"{self.path}: {self._lock.owner()} is running here. "
                "Wait until it ends, or choose another folder."
            )

    def _make_room(self, content: set[str], overwrite: bool) -> None:
        # A kill may have left temporary files; they say nothing about whose folder it is.
        content = {name for name in content if not name.endswith(TEMPORARY_SUFFIX)}
        if not content:
            return
        if RUN_FILE not in content and content != {CONFIG_FILE}:
            raise RunFolderError(
                f"{self.path}: is not empty and not a run (it holds {_list(content)}). "
                "Choose another folder; overwrite does not delete what is not a run."
            )
        if not overwrite:
            raise RunFolderError(f"{self.path}: {self._occupied(content)}")
        try:
            # run.json last: until then the folder is known as a run, should a kill come.
            for name in sorted(content, key=lambda name: name == RUN_FILE):
                item = self.path / name
                if item.is_dir() and not item.is_symlink():
                    shutil.rmtree(item)
                else:
                    item.unlink()
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _occupied(self, content: set[str]) -> str:
        either = "Choose another folder"
        if RUN_FILE not in content:
            return f"holds a half-written run ({RUN_FILE} is missing). {either} or overwrite it."
        try:
            info = _read_info(self.path)
        except RunFolderError:
            return f"holds a run whose {RUN_FILE} is damaged. {either} or overwrite it."
        state = {"finished": "a finished", "failed": "a failed"}.get(
            info["status"], "an unfinished"
        )
        return f"holds {state} run of {info['verb']!r}. {either}, resume it, or overwrite it."


def _list(names: set[str]) -> str:
    shown = sorted(names)[:3]
    return ", ".join(shown) + (", …" if len(names) > len(shown) else "")


def _unwritable(path: Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        f"{path}: cannot be written ({error.strerror or error}). "
        "Choose a folder that you may write to."
    )


def _half_written(path: Path, problem: str) -> RunFolderError:
    return RunFolderError(
        f"{path}: half-written run: {problem}. Restore the file from a copy, "
        "or start the run anew in another folder or with overwrite."
    )


def _toml_text(path: Path, config: Mapping[str, Any]) -> str:
    text = dump_toml(config)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RunFolderError(
            f"{path}: the configuration cannot be written as "
            f"TOML ({error}). Use plain tables and names."
        ) from error
    return text


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((path / CONFIG_FILE).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _half_written(path, f"{CONFIG_FILE} cannot be read ({error})") from error


def _read_info(path: Path) -> dict[str, Any]:
    try:
        info = json.loads((path / RUN_FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _half_written(path, f"{RUN_FILE} cannot be read ({error})") from error
    if not isinstance(info, dict) or not {"verb", "status", "host", "pid"} <= set(info):
        raise _half_written(path, f"{RUN_FILE} lacks verb, status, host or pid")
    return info


@dataclass(frozen=True)
class RunSummary:
    """What `swarmctl info` shows of a run; `str` gives it as text.

    Attributes:
        path, verb, created: which run.
        status: running, finished, failed, killed, or unknown (it was started on another machine).
        reason: why it failed, or where it runs.
        files: name -> size in bytes (a folder: of all in it).
        rows: number of rows of metrics.
        last_metrics: the last row, empty if there is none.
        repairs: what was repaired just now, or could not be, in words.
    """

    path: Path
    verb: str
    created: str
    status: str
    reason: str
    files: Mapping[str, int]
    rows: int
    last_metrics: Mapping[str, Any]
    repairs: tuple[str, ...]

    def __str__(self) -> str:
        status = f"{self.status} ({self.reason})" if self.reason else self.status
        lines = [f"{self.path}: {self.verb}, {status}", f"created  {self.created}"]
        lines += [f"file     {name}  {_bytes(size)}" for name, size in self.files.items()]
        if self.last_metrics:
            values = "  ".join(f"{name} {_short(v)}" for name, v in self.last_metrics.items())
            lines.append(f"metrics  {self.rows} rows, last: {values}")
        lines += [f"repair   {action}" for action in self.repairs]
        return "\n".join(lines)


def _bytes(size: int) -> str:
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def describe_run(path: str | Path) -> RunSummary:
    """Say how a run stands; if nobody is at work in it, repair its trajectories and images.

    Raises RunFolderError as `RunFolder.open`, and RecordError for records that cannot be read.
    """
    run = RunFolder.open(path)
    status, reason = _standing(run)
    repairs = []
    if status not in ("running", "unknown"):
        for journal in find_journals(run.path):
            try:
                report = repair(journal)
            except RecordError as error:
                repairs.append(f"not possible: {error}")
                continue
            repairs += [
                f"{journal.parent / report.path.name}: {action}" for action in report.actions
            ]
        for images in sorted(run.path.glob("*.ome.tif")):
            try:
                repairs += [f"{images}: {action}" for action in repair_images(images)]
            except RecordError as error:
                repairs.append(f"not possible: {error}")
    rows = read_metrics(run.metrics) if run.metrics.exists() else []
    return RunSummary(
        path=run.path,
        verb=str(run.info["verb"]),
        created=str(run.info.get("created", "")),
        status=status,
        reason=reason,
        files=_sizes(run.path),
        rows=len(rows),
        last_metrics=rows[-1] if rows else {},
        repairs=tuple(repairs),
    )


def _standing(run: RunFolder) -> tuple[str, str]:
    reason = str(run.info.get("reason", ""))
    if run.status != "running":
        return run.status, reason
    host, pid = run.info["host"], run.info["pid"]
    probe = FileLock(run.path / LOCK_FILE)
    # A process number may be given to another process; a lock ends with its process.
    if probe.path.exists():
        try:
            if not probe.acquire():
                return "running", f"process {pid} on {host}"
        except RecordError:
            return "unknown", f"{probe.path} cannot be opened"
        probe.release()
    if host != socket.gethostname():
        return "unknown", f"started as process {pid} on {host}, look there"
    return "killed", f"process {pid} has ended"


def _sizes(folder: Path) -> dict[str, int]:
    sizes = {}
    for item in sorted(folder.iterdir()):
        if item.name.startswith("."):
            continue
        inner = item.rglob("*") if item.is_dir() else [item]
        sizes[item.name] = sum(part.stat().st_size for part in inner if part.is_file())
    return sizes
