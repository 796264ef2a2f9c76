"""`python -m openenv`: the command line without an installed script."""

import sys

from openenv.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
