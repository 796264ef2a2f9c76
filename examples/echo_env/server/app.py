"""The server: `uv run server`, `openenv serve` or `uvicorn server.app:app`."""

from openenv import create_app

from .environment import EchoEnvironment

app = create_app(EchoEnvironment, env_name="echo_env")


def main() -> None:
    raise SystemExit(app.run())


if __name__ == "__main__":
    main()
