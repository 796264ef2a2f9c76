"""What runs on the server. The folder above is textarena_env, however this was started."""

from openenv import in_place

in_place("textarena_env", __file__)
