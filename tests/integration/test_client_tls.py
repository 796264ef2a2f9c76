"""Clients over TLS: the same conversation, and certificates that are not trusted."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openenv.client import aio, blocking
from openenv.errors import ConnectError, ReplyTimeoutError
from tests.integration.client_peers.servers import EchoAction, EchoEnv
from tests.support import server as support
from tests.support.server import Server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def secure(certificate: tuple[Path, Path]) -> Iterator[Server]:
    flags = ["--ssl-certfile", str(certificate[0]), "--ssl-keyfile", str(certificate[1])]
    with pytest.MonkeyPatch.context() as patch:
        # `/health` is asked in plain text by the helper.
        patch.setattr(support, "answers", lambda host, port: True)
        with support.serve("tests.integration.client_peers.echo:app", *flags) as running:
            yield running


@pytest.fixture
def trusted(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    monkeypatch.setattr(aio, "tls_context", lambda: context)
    monkeypatch.setattr(blocking, "tls_context", lambda: context)


@pytest.mark.usefixtures("trusted")
def test_a_synchronous_conversation_over_tls(secure: Server) -> None:
    """Steps, a late reply, a large one, the keeper, HTTP."""
    url = f"https://{secure.host}:{secure.port}"
    with EchoEnv(base_url=url, websocket_ping_interval_s=0.1).sync() as client:
        client.reset(episode_id="tls")
        client.async_client._message_timeout = 0.25
        with pytest.raises(ReplyTimeoutError):
            client.step(EchoAction(message="late", delay_s=1.5))
        client.async_client._message_timeout = 30
        assert client.step(EchoAction(message="big", size=3_000_000)).observation.echoed == "big"
        channel: Any = client.async_client._channel
        channel.keep(time.monotonic())
        channel.keep(time.monotonic() + 1)
        assert client.state().step_count == 2
        assert client.metadata()["name"] == "Echo"


@pytest.mark.usefixtures("trusted")
def test_an_asynchronous_conversation_over_tls(secure: Server) -> None:
    """With wss as with https."""

    async def main() -> None:
        async with EchoEnv(base_url=f"wss://{secure.host}:{secure.port}/") as client:
            await client.reset()
            assert (await client.step(EchoAction(message="big", size=3_000_000))).observation.echoed == "big"
            assert (await client.schema())["action"]["properties"]["message"]["type"] == "string"

    asyncio.run(main())


def test_a_certificate_that_is_not_trusted_is_refused(secure: Server) -> None:
    """With the verifier's reason."""
    url = f"https://{secure.host}:{secure.port}"
    with pytest.raises(ConnectError, match=r"TLS: self.signed certificate"):
        EchoEnv(base_url=url).sync().connect()

    async def main() -> None:
        with pytest.raises(ConnectError, match=r"TLS: self.signed certificate"):
            await EchoEnv(base_url=url).connect()

    asyncio.run(main())
