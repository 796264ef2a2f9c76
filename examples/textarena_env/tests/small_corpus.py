"""A handful of words, and a tagger that knows them, in NLTK's own format."""

import json
from pathlib import Path

BASIC = ("apple", "bread", "chair", "crane", "house", "light", "stone", "table")
NOUN, ADJECTIVE = "NN", "JJ"


def make_corpus(folder: Path) -> None:
    """Fill a folder for NLTK_DATA."""
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
