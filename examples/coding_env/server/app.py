"""The server: `uv run server`, `openenv serve` or `uvicorn server.app:app`."""

from openenv import create_app

from .choice import choose
from .environment import CodingEnvironment
from .settings import read_settings

# Here and not in the first session: a server without a sandbox must not start.
choose(read_settings())

app = create_app(CodingEnvironment, env_name="coding_env")


def main() -> None:
    """Serve on HOST and PORT, 0.0.0.0:8000 by default."""
    raise SystemExit(app.run())


if __name__ == "__main__":
    main()
