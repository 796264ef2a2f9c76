"""The short cut: what nearly every read of a busy session brings, taken apart and answered whole.

In: bytes of one read. Out: the action in them, if they are exactly one short text frame holding a
plain step; and an observation's reply as a frame. Each is one function where `websocket.py` and
`messages.py` have several, because at a hundred thousand steps a second every call counts; this is
the one place where that costs clarity. Whatever is not plain gives None and goes the long way, which
alone decides what is an error: nothing here is ever refused.

Reference: RFC 6455 section 5.2; wire.md section 2.
"""

from __future__ import annotations

from typing import Any

from websockets.speedups import apply_mask

from openenv.codec import OPTIONS, decode_strictly, encode_strictly
from openenv.protocol.messages import plain_replies, serialize_observation
from openenv.protocol.websocket import HEADS, text_frame
from openenv.schema import jsonable

__all__ = ["observation_frame", "plain_step"]

_N_HEADS = len(HEADS)


def plain_step(data: bytes) -> dict[str, Any] | None:
    """The action in `data`, if that is one whole masked text frame of ``{"type":"step","data":{...}}``.

    Call it between two messages only, see `WebSocketServer.is_between`. Text that is not UTF-8 is not
    JSON either, and so takes the long way.
    """
    length = len(data) - 6
    if not (0 < length < 126 and data[0] == 0x81 and data[1] == length + 128):
        return None
    try:
        message = decode_strictly(apply_mask(data[6:], data[2:6]))
    except ValueError:
        return None
    if type(message) is dict and len(message) == 2 and message.get("type") == "step":
        action = message.get("data")
        if type(action) is dict:
            return action
    return None


def observation_frame(observation: Any) -> bytes:
    """`serialize_observation` as a frame, with its errors."""
    make = plain_replies.get(observation.__class__)
    if make is None or observation.metadata:
        return text_frame(serialize_observation(observation))
    try:
        reply = encode_strictly(make(observation), jsonable, OPTIONS)
    except TypeError:
        return text_frame(serialize_observation(observation))
    length = len(reply)
    return HEADS[length] + reply if length < _N_HEADS else text_frame(reply)
