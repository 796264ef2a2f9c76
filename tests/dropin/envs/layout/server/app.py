"""The layout of the incumbent's template: models beside the server, imported both ways."""

try:
    from openenv.core.env_server.http_server import create_app
except Exception as error:
    raise ImportError("openenv is required") from error

try:
    from ..models import CounterAction, CounterObservation
    from .counter_environment import CounterEnvironment
except ImportError:
    from models import CounterAction, CounterObservation
    from server.counter_environment import CounterEnvironment

app = create_app(
    CounterEnvironment, CounterAction, CounterObservation, env_name="layout", max_concurrent_envs=4
)


def main(host: str = "0.0.0.0", port: int = 8000):
    import uvicorn

    uvicorn.run(app, host=host, port=port)


if __name__ == "__main__":
    main()
