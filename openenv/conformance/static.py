"""Checks of a folder's files, without running any of them."""

from __future__ import annotations

import os
from pathlib import Path

from openenv.conformance.files import FILES
from openenv.conformance.finding import Report
from openenv.conformance.folder import Folder
from openenv.errors import ConfigurationError

__all__ = ["check_folder"]


def check_folder(folder: str | os.PathLike[str]) -> Report:
    """Look at an environment's files: manifest, sources, package, image and Space.

    Nothing in it is imported; `check_environment` is for the code.

    Raises:
        ConfigurationError: There is no such folder.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ConfigurationError(f"there is no folder {str(folder)!r}; name one with an environment")
    report = Report(path.resolve().name)
    FILES.run(Folder(path), report)
    return report
