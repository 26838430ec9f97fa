"""Names of what finds colloids in frames and of what links them, for files and third parties.

Every name leads to a configuration whose `build()` returns a `Detector` or a `Linker`. Those of
other libraries are for recordings: they are slower, and need the extra `tracking`.
"""

from __future__ import annotations

from swarmctl.core.registry import Registry

detectors = Registry("detector")
linkers = Registry("linker")

detectors.register(
    "spots", "swarmctl.bridge.vision.spots:SpotDetectorConfig", "bright spots, as in fluorescence"
)
detectors.register(
    "janus",
    "swarmctl.bridge.vision.janus:JanusDetectorConfig",
    "Janus discs in bright field, with orientation",
)
detectors.register(
    "rods",
    "swarmctl.bridge.vision.rods:RodDetectorConfig",
    "bright rods, with axis and length",
)
detectors.register(
    "dimers",
    "swarmctl.bridge.vision.dimers:DimerDetectorConfig",
    "pairs of bright spots as one body, with axis",
)
detectors.register(
    "trackpy",
    "swarmctl.bridge.vision.offline:TrackpyDetectorConfig",
    "bright spots by trackpy.locate, for recordings",
)
linkers.register(
    "tracker",
    "swarmctl.bridge.vision.offline:TrackerLinkerConfig",
    "the tracker of the loop, run over a recording",
)
linkers.register(
    "trackpy",
    "swarmctl.bridge.vision.offline:TrackpyLinkerConfig",
    "trackpy.link with adaptive search, for recordings",
)
linkers.register(
    "laptrack",
    "swarmctl.bridge.vision.offline:LaptrackLinkerConfig",
    "LapTrack: linear assignment with gap closing, for recordings",
)
