"""The limit: picows (a WebSocket server in C), orjson and the same JSON work, and nothing else.

    python limit_picows.py PORT

No models, no validation, no session, no errors: whoever does those things in Python as well cannot
hope to be much faster than this on the same core.
"""

import sys

import orjson
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class Echo(WSListener):
    """One connection: parse the frame, do the step, send the observation."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport and the bound methods of the hot path."""
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer one whole text frame."""
        if frame.msg_type == WSMsgType.TEXT:
            request = orjson.loads(frame.get_payload_as_memoryview())
            message = request["data"]["message"] if request["type"] == "step" else "Echo is ready!"
            length = len(message)
            observation = {"metadata": {}, "echoed_message": message, "message_length": length}
            data = {"observation": observation, "reward": min(length * 0.1, 1.0), "done": False}
            transport.send(WSMsgType.TEXT, orjson.dumps({"type": "observation", "data": data}))
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


def accept(request: WSUpgradeRequest) -> WSListener:
    """One listener per connection, whatever the path."""
    return Echo()


async def main(port: int) -> None:
    """Serve until killed."""
    server = await ws_create_server(accept, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
