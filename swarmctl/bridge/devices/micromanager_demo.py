"""Micro-Manager's demonstration devices as a cfg file: a microscope without a microscope.

The adapter DemoCamera comes with Micro-Manager, and with the package mm-test-adapters.
"""

from __future__ import annotations

from pathlib import Path

DEMO_CFG = """\
# Demonstration devices: camera, xy stage, focus, shutter, two analogue outputs, galvo.
Property,Core,Initialize,0
Device,Hub,DemoCamera,DHub
Device,Camera,DemoCamera,DCam
Device,XY,DemoCamera,DXYStage
Device,Focus,DemoCamera,DStage
Device,Shutter,DemoCamera,DShutter
Device,DA1,DemoCamera,D-DA
Device,DA2,DemoCamera,D-DA2
Device,Galvo,DemoCamera,DGalvo
Parent,Camera,Hub
Parent,XY,Hub
Parent,Focus,Hub
Parent,Shutter,Hub
Parent,DA1,Hub
Parent,DA2,Hub
Parent,Galvo,Hub
Property,Core,Initialize,1
"""


def write_demo_cfg(path: Path) -> Path:
    """Write the cfg file of the demonstration devices, and return its path."""
    path.write_text(DEMO_CFG, encoding="utf-8")
    return path
