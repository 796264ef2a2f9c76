"""What runs on the server. The folder above is my_env, however this was started."""

from openenv import in_place

in_place("my_env", __file__)
