"""A pytest plugin that makes pydantic impossible to import: ``-p tests.support.without_pydantic``."""

import sys

sys.modules["pydantic"] = None  # type: ignore[assignment]
