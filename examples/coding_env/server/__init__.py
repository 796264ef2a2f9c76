"""What runs on the server. The folder above is coding_env, however this was started."""

from openenv import in_place

in_place("coding_env", __file__)
