"""Has the tests import textarena_env from this folder, installed or not, and find words in NLTK_DATA."""

import os
import tempfile
from pathlib import Path

import pytest
from small_corpus import make_corpus

from openenv import in_place

in_place("textarena_env", __file__)


def pytest_configure(config: pytest.Config) -> None:
    """Make the words. NLTK reads the variable when it is imported, which is before any fixture runs."""
    folder = tempfile.TemporaryDirectory(prefix="textarena-words-")
    config.add_cleanup(folder.cleanup)
    make_corpus(Path(folder.name))
    os.environ["NLTK_DATA"] = folder.name
