"""The server: `uv run server`, `openenv serve` or `uvicorn server.app:app`."""

from openenv import create_app

from .environment import BenchmarkEnvironment

# A server that is there to be measured must not refuse sessions before the machine does.
app = create_app(BenchmarkEnvironment, env_name="benchmark", max_concurrent_envs=100_000)


def main() -> None:
    raise SystemExit(app.run())


if __name__ == "__main__":
    main()
