"""What tests download, downloaded before they ask for it: `python -m tests.support.early`.

Other people's programs and the wheels for images; what cannot be had is left to the test that needs it, which
says so. Node's packages are not among them: what installs those comes later on a new machine.
"""

from __future__ import annotations

import sys

import pytest

from tests.support.docker import CORE_EXTRA, dependency_wheels
from tests.support.example import dependency_wheels_of
from tests.support.peers import REQUIREMENTS, PeerMissingError, install

EXAMPLES = ("benchmark", "textarena_env")


def main() -> None:
    """Download everything."""
    for name in REQUIREMENTS:
        try:
            install(name)
        except PeerMissingError as error:
            print(error, file=sys.stderr)
    try:
        dependency_wheels()
        dependency_wheels(*CORE_EXTRA)
        for name in EXAMPLES:
            dependency_wheels_of(name)
    except (AssertionError, pytest.skip.Exception) as error:
        print(error, file=sys.stderr)


if __name__ == "__main__":
    main()
