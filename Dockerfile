# The image that environments build on: Python, this runtime, and what serves /app/env.
#   docker build -t openenv-base:latest .
#   docker run -p 8000:8000 openenv-base:latest        serves the echo environment
FROM python:3.12-slim

WORKDIR /app
COPY pyproject.toml README.md LICENSE CHANGELOG.md /app/openenv-runtime/
COPY openenv /app/openenv-runtime/openenv
RUN pip install --no-cache-dir /app/openenv-runtime
COPY examples/echo_env /app/env

# A container is there to serve, so it uses several processes; `openenv serve` by itself uses one.
ENV HOST=0.0.0.0 PORT=8000 WORKERS=4 PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s --retries=3 \
    CMD python -c "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health', timeout=2)"

# exec form: the server is process 1 and gets docker stop's SIGTERM, which drains it.
CMD ["openenv", "serve", "/app/env"]
