"""Has the tests import coding_env from this folder, installed or not."""

from openenv import in_place

in_place("coding_env", __file__)
