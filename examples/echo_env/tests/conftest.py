"""Has the tests import echo_env from this folder, installed or not."""

from openenv import in_place

in_place("echo_env", __file__)
