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
from openenv.protocol.messages import OBSERVATION_BEGINS, plain_observations, serialize_observation
from openenv.protocol.websocket import HEADS, text_frame
from openenv.schema import jsonable

__all__ = ["observation_frame", "plain_step"]

# For each length of a reply's `data`, the frame's head and what stands before the `data`.
_N_WRAPPING = len(OBSERVATION_BEGINS) + 1
_BEGINNINGS = [head + OBSERVATION_BEGINS for head in HEADS[_N_WRAPPING:]]

# How encoders begin a step, without and with spaces: only the action is decoded then, and not the wrapping.
_COMPACT = b'{"type":"step","data":'
_SPACED = b'{"type": "step", "data": '
_N_COMPACT = len(_COMPACT)
_N_SPACED = len(_SPACED)
_CLOSING_BRACE = 0x7D


def plain_step(data: bytes) -> dict[str, Any] | None:
    """The action in `data`, if that is one whole masked text frame of ``{"type":"step","data":{...}}``.

    Call it between two messages only, see `WebSocketServer.is_between`. Text that is not UTF-8 is not
    JSON either, and so takes the long way.
    """
    length = len(data)
    if not (6 < length < 132 and data[0] == 0x81 and data[1] == length + 122):
        return None
    payload = apply_mask(data[6:], data[2:6])
    if payload.startswith(_COMPACT):
        text = payload[_N_COMPACT:-1]
    elif payload.startswith(_SPACED):
        text = payload[_N_SPACED:-1]
    else:
        return None
    try:
        # The whole is a JSON text if and only if this is one: then nothing stands behind the action.
        action = decode_strictly(text)
    except ValueError:
        return None
    return action if action.__class__ is dict and payload[-1] == _CLOSING_BRACE else None


def observation_frame(observation: Any) -> bytes:
    """`serialize_observation` as a frame, with its errors."""
    make = plain_observations.get(observation.__class__)
    if make is not None and not observation.metadata:
        try:
            data = encode_strictly(make(observation), jsonable, OPTIONS)
            return _BEGINNINGS[len(data)] + data + b"}"
        except (TypeError, IndexError):
            pass
    return text_frame(serialize_observation(observation))
