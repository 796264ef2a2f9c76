"""`openenv_core`, the incumbent's old name: the wheel has this file at its top, under that name.

It becomes `openenv.core` when it is imported.
"""

import sys

import openenv.core

# What the import system gives to the importer is what stands here when this ends.
sys.modules["openenv_core"] = openenv.core
