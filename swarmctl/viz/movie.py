"""Films from frames: GIF with one palette for all frames, and MP4 that every player shows."""

from __future__ import annotations

import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from PIL import GifImagePlugin, Image

from swarmctl.core.errors import ConfigError
from swarmctl.core.files import replacing
from swarmctl.viz import check

FORMATS = ("gif", "mp4")
_COLOURS = 255
_TRANSPARENT = 255
_PALETTE_FRAMES = 12
# Colours that fill more than this share of the frames count as areas.
_AREA = 1.5e-4
_AREA_COLOURS = 175
_EXACT = 12
# Most browsers play frames shorter than 20 ms at 100 ms.
_GIF_FASTEST = 50.0


@dataclass(frozen=True)
class MovieFiles:
    """What was written, and why a format was not (format -> reason)."""

    paths: list[Path] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def write_movie(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: float,
    formats: Sequence[str] = FORMATS,
) -> MovieFiles:
    """Write a film.

    Frames are taken one by one. For the GIF they are kept compressed in a temporary file, as its
    palette is chosen when all are known. Above 50 frames/s, which GIF players cannot show, the
    GIF leaves frames out. H.264 needs an even size: the last row or column is repeated where it
    is odd.

    Args:
        path: without a suffix; formats add theirs.
        frames: pictures uint8 [H,W,3], all of one size.
        fps: frames per second.
        formats: any of "gif", "mp4". Without ffmpeg the MP4 is skipped, and the result says so.

    Raises:
        ConfigError: no frames, a frame of another size or type, a bad fps or format.
    """
    path = Path(path)
    if not (np.isfinite(fps) and fps > 0):
        raise ConfigError(f"movie: fps must be positive, got {fps}.")
    for kind in formats:
        if kind not in FORMATS:
            raise ConfigError(f"movie: format {kind!r}; allowed: {', '.join(FORMATS)}.")
    source = iter(frames)
    try:
        first = check.image("movie: frame 0", next(source))
    except StopIteration:
        raise ConfigError("movie: there are no frames.") from None
    files = MovieFiles()
    with ExitStack() as stack:
        spool = stack.enter_context(tempfile.TemporaryFile()) if "gif" in formats else None
        encoder = None
        if "mp4" in formats:
            try:
                encoder = stack.enter_context(
                    _mp4(path.with_name(path.name + ".mp4"), first.shape, fps)
                )
            except _NoEncoderError as error:
                files.skipped["mp4"] = str(error)
        sizes = []
        for index, frame in enumerate(_all(first, source)):
            picture = check.image(f"movie: frame {index}", frame)
            if picture.shape != first.shape:
                raise ConfigError(
                    f"movie: frame {index} has shape {list(picture.shape)}, "
                    f"frame 0 {list(first.shape)}."
                )
            if spool is not None:
                sizes.append(spool.write(zlib.compress(picture.tobytes(), 1)))
            if encoder is not None:
                encoder.send(_even(picture))
        if spool is not None:
            target = path.with_name(path.name + ".gif")
            _write_gif(target, _Spool(spool, sizes, first.shape), fps)
            files.paths.append(target)
    if encoder is not None:
        files.paths.append(path.with_name(path.name + ".mp4"))
    return files


def _all(first: np.ndarray, rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    yield from rest


def _even(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(picture)


class _NoEncoderError(Exception):
    """There is no ffmpeg to be run."""


class _Encoder:
    """An ffmpeg that reads raw frames from a pipe."""

    def __init__(self, command: list[str]) -> None:
        # No preexec_fn: with one, Python forks, which JAX's threads do not survive.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the encoder
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors
            )
        except OSError:
            self._errors.close()
            raise

    def send(self, picture: np.ndarray) -> None:
        """Give one frame. Raises OSError with ffmpeg's words if it has died."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(picture.tobytes())
        except OSError:
            self.finish()
            raise

    def finish(self) -> None:
        """Wait for the film to be whole. Raises OSError with ffmpeg's words if it failed."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        status = self._process.wait()
        if status:
            self._errors.seek(0)
            words = self._errors.read().decode(errors="replace").strip()
            raise OSError(f"ffmpeg failed ({status}): {words}")

    def close(self) -> None:
        """End ffmpeg, whether it is done or not."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        self._errors.close()


@contextmanager
def _mp4(path: Path, shape: tuple[int, ...], fps: float) -> Iterator[_Encoder]:
    """Give a running ffmpeg; the film is in place when the block is left without an error."""
    try:
        import imageio_ffmpeg  # type: ignore[import-untyped]

        program = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError, OSError) as error:
        raise _NoEncoderError(f"ffmpeg is not available: {error}") from error
    height, width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
    with replacing(path, path.suffix) as temporary:
        # Players assume BT.709 for large pictures; ffmpeg would convert by BT.601: a shift in hue.
        command = [
            *(program, "-y", "-loglevel", "error"),
            *("-f", "rawvideo", "-pix_fmt", "rgb24"),
            *("-s", f"{width}x{height}", "-r", str(fps), "-i", "-"),
            *("-an", "-c:v", "libx264", "-pix_fmt", "yuv420p"),
            *("-vf", "scale=out_color_matrix=bt709:out_range=tv"),
            *("-crf", "17", "-preset", "medium", "-tune", "animation"),
            *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
            *("-movflags", "+faststart", str(temporary)),
        ]
        with closing(_Encoder(command)) as encoder:
            yield encoder
            encoder.finish()


class _Spool:
    """Compressed frames in a file, to be read in any order."""

    def __init__(self, file: IO[bytes], sizes: list[int], shape: tuple[int, ...]) -> None:
        self._file, self._sizes, self._shape = file, sizes, shape
        self._starts = np.concatenate([[0], np.cumsum(sizes)])

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: int) -> np.ndarray:
        self._file.seek(int(self._starts[index]))
        data = zlib.decompress(self._file.read(self._sizes[index]))
        return np.frombuffer(data, np.uint8).reshape(self._shape)


def _palette(spool: _Spool, indices: np.ndarray) -> np.ndarray:
    """One palette uint8 [M,3], M up to 255, for all frames.

    Left to itself, a quantizer gives either all entries to the large background or too few to
    keep it smooth: colours that fill areas and the rare ones (colloids, trails, edges of letters)
    have a share each.
    """
    chosen = np.unique(np.linspace(0, len(indices) - 1, _PALETTE_FRAMES).astype(int))
    packed = []
    for index in indices[chosen]:
        packed.append(_pack(spool[int(index)]).ravel())
    codes, counts = np.unique(np.concatenate(packed), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    codes, share = codes[order], counts[order] / counts.sum()
    exact, areas = min(_EXACT, len(codes)), max(int((share > _AREA).sum()), _EXACT)
    parts = [_unpack(codes[:exact])]
    parts.append(_reduce(codes[exact:areas], share[exact:areas], _AREA_COLOURS - exact))
    parts.append(_reduce(codes[areas:], np.sqrt(share[areas:]), _COLOURS - sum(map(len, parts))))
    return np.concatenate(parts)


def _pack(picture: np.ndarray) -> np.ndarray:
    wide = picture.astype(np.uint32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def _unpack(codes: np.ndarray) -> np.ndarray:
    return np.stack([codes >> 16 & 255, codes >> 8 & 255, codes & 255], axis=-1).astype(np.uint8)


def _reduce(codes: np.ndarray, weights: np.ndarray, most: int) -> np.ndarray:
    """At most `most` colours [M,3] that stand for packed colours with weights."""
    if len(codes) <= most:
        return _unpack(codes)
    repeats = np.ceil(weights / weights.sum() * 100_000).astype(int)
    sample = np.repeat(codes, repeats)
    pixels = _unpack(np.resize(sample, (-(-len(sample) // 256), 256)))
    image = Image.fromarray(pixels).quantize(most, method=Image.Quantize.MEDIANCUT, kmeans=2)
    return np.array(image.getpalette(), np.uint8).reshape(-1, 3)[:most]


class _Nearest:
    """Finds the nearest palette entry, exactly; Pillow rounds first, which tints white paper."""

    def __init__(self, colours: np.ndarray) -> None:
        self._colours = colours.astype(np.int32)
        self._known = np.full(1 << 24, _TRANSPARENT, np.uint8)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        packed = _pack(picture)
        codes = self._known[packed]
        fresh = np.unique(packed[codes == _TRANSPARENT])
        for start in range(0, len(fresh), 4096):
            part = fresh[start : start + 4096]
            difference = _unpack(part).astype(np.int32)[:, None] - self._colours
            self._known[part] = (difference**2).sum(axis=-1).argmin(axis=1)
        return self._known[packed] if len(fresh) else codes


def _write_gif(path: Path, spool: _Spool, fps: float) -> None:
    """Write frame after frame; what did not change is transparent, which compresses well."""
    every = int(np.ceil(fps / _GIF_FASTEST - 1e-9))
    indices = np.arange(0, len(spool), every)
    colours = _palette(spool, indices)
    nearest = _Nearest(colours)
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    # Times are hundredths of a second in a GIF: rounding the sum, not each, keeps the speed.
    ends = np.rint((np.arange(len(indices)) + 1) * every * 100 / fps).astype(int)
    durations = np.diff(ends, prepend=0) * 10
    last: np.ndarray | None = None
    with replacing(path) as temporary, temporary.open("wb") as file:
        for index, duration in zip(indices, durations, strict=True):
            codes = nearest(spool[int(index)])
            corner, shown = (0, 0), codes
            if last is not None:
                shown = np.where(codes == last, _TRANSPARENT, codes)
                (top, bottom), (left, right) = _changed(shown)
                corner, shown = (left, top), shown[top:bottom, left:right]
            part = Image.fromarray(np.ascontiguousarray(shown.astype(np.uint8)))
            part.putpalette(table.tobytes())
            if last is None:
                for block in GifImagePlugin.getheader(part, info={"loop": 0})[0]:
                    file.write(block)
            options = {} if last is None else {"transparency": _TRANSPARENT}
            for block in GifImagePlugin.getdata(
                part, corner, duration=int(duration), disposal=1, interlace=0, **options
            ):
                file.write(block)
            last = codes
        file.write(b";")


def _changed(shown: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns (start, stop) that hold all changes; one pixel if there are none."""
    changed = shown != _TRANSPARENT
    spans = []
    for axis in (1, 0):
        where = np.flatnonzero(changed.any(axis=axis))
        spans.append((int(where[0]), int(where[-1]) + 1) if len(where) else (0, 1))
    return spans[0], spans[1]
