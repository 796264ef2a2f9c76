"""The limit with the author's part: picows and orjson as in ``limit_picows``, our models and the environment.

    python limit_models.py PORT

It loads the action, steps the environment and dumps the observation as the runtime does, with nothing
in between: no session, no capacity, no errors. The distance from ``limit_picows`` to here is what models and
the environment cost; the distance from here to the runtime is what the runtime costs.
"""

import sys

import orjson
import uvloop
from ours_loop import LoopEchoEnvironment
from ours_threaded import EchoAction
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from openenv.schema import dump_observation, schema_of

ACTION = schema_of(EchoAction)


class Echo(WSListener):
    """One connection and its environment."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Make the environment."""
        self.env = LoopEchoEnvironment()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer one whole text frame."""
        if frame.msg_type == WSMsgType.TEXT:
            request = orjson.loads(frame.get_payload_as_memoryview())
            if request["type"] == "step":
                made = self.env.step(ACTION.load(request["data"]))
            else:
                made = self.env.reset()
            observation, reward, done, _ = dump_observation(made)
            data = {"observation": observation, "reward": reward, "done": done}
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
