"""Making applications, under the path that existing environments import it from."""

from openenv.app.app import create_app
from openenv.app.registration import HTTPEnvServer, create_fastapi_app

__all__ = ["HTTPEnvServer", "create_app", "create_fastapi_app"]
