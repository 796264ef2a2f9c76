"""What runs on the server. The folder above is benchmark, however this was started."""

from openenv import in_place

in_place("benchmark", __file__)
