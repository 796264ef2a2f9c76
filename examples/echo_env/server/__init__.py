"""What runs on the server. The folder above is echo_env, however this was started."""

from openenv import in_place

in_place("echo_env", __file__)
