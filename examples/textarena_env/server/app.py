"""The server: `uv run server`, `openenv serve` or `uvicorn server.app:app`."""

from openenv import create_app

from .environment import TextArenaEnvironment

# A game that cannot be played here is to be heard of when the server starts, not in every session. What it
# loads for that (word lists, a tagger) is there for all sessions, and shared by all workers.
TextArenaEnvironment.check()

app = create_app(TextArenaEnvironment, env_name="textarena_env")


def main() -> None:
    raise SystemExit(app.run())


if __name__ == "__main__":
    main()
