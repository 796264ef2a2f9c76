"""What builds `vendor/openenv-runtime` of a Space: the wheel again, from the files it was unpacked into.

In: the folder that this file was copied to, with the wheel's files and their list, RECORD. Out: the wheel. It
uses nothing but the standard library, so that building needs no package index. It is a copy of its own there,
and imports nothing of this package.

Reference: PEP 517, and the binary distribution format.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["build_wheel"]


def build_wheel(
    wheel_directory: str,
    config_settings: Mapping[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Write the wheel.

    Args:
        wheel_directory: Where to.
        config_settings: Of no effect.
        metadata_directory: Of no effect.

    Returns:
        The wheel's file name.
    """
    here = Path(__file__).resolve().parent
    (info,) = here.glob("*.dist-info")
    name = f"{info.stem}-py3-none-any.whl"
    recorded = (info / "RECORD").read_text("utf-8").splitlines()
    with zipfile.ZipFile(Path(wheel_directory, name), "w", zipfile.ZIP_DEFLATED) as archive:
        for line in recorded:
            path = line.rsplit(",", 2)[0]
            archive.write(here / path, path)
    return name
