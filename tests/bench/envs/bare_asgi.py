"""The least an ASGI server can be asked: /health and /step with orjson and no framework.

Served by uvicorn with httptools and uvloop, it shows how far that server would go under any framework.
"""

import orjson

_HEAD = [(b"content-type", b"application/json")]


async def app(scope, receive, send):
    """Answer GET /health and POST /step; nothing else is asked in the bench."""
    if scope["type"] != "http":
        return
    if scope["path"] == "/health":
        body = b'{"status":"healthy"}'
    else:
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        message = orjson.loads(body)["action"]["message"]
        length = len(message)
        observation = {"metadata": {}, "echoed_message": message, "message_length": length}
        body = orjson.dumps(
            {"observation": observation, "reward": min(length * 0.1, 1.0), "done": False, "metadata": None}
        )
    head = [*_HEAD, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})
