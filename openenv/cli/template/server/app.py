"""The server: `uv run server`, `openenv serve` or `uvicorn server.app:app`."""

from openenv import create_app

from .environment import MyEnvironment

app = create_app(MyEnvironment, env_name="my_env")


def main() -> None:
    raise SystemExit(app.run())


if __name__ == "__main__":
    main()
