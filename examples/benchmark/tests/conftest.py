"""Has the tests import benchmark from this folder, installed or not."""

from openenv import in_place

in_place("benchmark", __file__)
