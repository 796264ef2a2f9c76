"""The application: `openenv serve`, `uvicorn server.app:app`, or `server` once installed."""

from openenv import create_app

from .environment import EchoEnvironment

app = create_app(EchoEnvironment, env_name="echo_env")


def main() -> None:
    """Serve on HOST and PORT, 0.0.0.0:8000 by default."""
    raise SystemExit(app.run())


if __name__ == "__main__":
    main()
