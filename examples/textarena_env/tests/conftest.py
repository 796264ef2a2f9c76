"""Has the tests import textarena_env from this folder, installed or not, and find words in NLTK_DATA."""

import json
import os
import tempfile
from pathlib import Path

from openenv import in_place

in_place("textarena_env", __file__)

BASIC = ("apple", "bread", "chair", "crane", "house", "light", "stone", "table")
NOUN, ADJECTIVE = "NN", "JJ"


def make_corpus(folder: Path) -> None:
    """Ten words and a tagger that knows them, as NLTK stores its own."""
    words = folder / "corpora" / "words"
    words.mkdir(parents=True)
    (words / "en-basic").write_text("\n".join([*BASIC, "green"]) + "\n")
    (words / "en").write_text("\n".join([*BASIC, "green", "quick"]) + "\n")
    name = "averaged_perceptron_tagger_eng"
    tagger = folder / "taggers" / name
    tagger.mkdir(parents=True)
    tags = dict.fromkeys(BASIC, NOUN) | dict.fromkeys(("green", "quick"), ADJECTIVE)
    for part, value in (("weights", {}), ("tagdict", tags), ("classes", [ADJECTIVE, NOUN])):
        (tagger / f"{name}.{part}.json").write_text(json.dumps(value))


# NLTK reads the variable when it is imported, which the environment does before any fixture runs.
_folder = tempfile.TemporaryDirectory(prefix="textarena-words-")
make_corpus(Path(_folder.name))
os.environ["NLTK_DATA"] = _folder.name
