"""Has the tests import my_env from this folder, installed or not."""

from openenv import in_place

in_place("my_env", __file__)
