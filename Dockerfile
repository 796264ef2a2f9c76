# Images of this checkout's runtime. Environments do not need them: their own Dockerfiles stand by themselves.
#   docker build --target base -t openenv-base:latest .   the runtime, which serves what is put into /app/env
#   docker build -t openenv-example:latest .              the same with the echo environment in it
# Any image with Python 3.11 or newer will do: --build-arg BASE=python:3.13-alpine
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
# Without an index: --build-arg PIP_NO_INDEX=1, and wheels of what the runtime needs in wheels/.
ARG PIP_NO_INDEX
WORKDIR /build
COPY pyproject.toml README.md LICENSE wheels* ./
COPY openenv openenv
# The runtime packs itself, so that no build tool has to be fetched.
RUN python -c "import pathlib, openenv.cli.vendor as v; v.vendor_wheel(pathlib.Path('.'))" \
    && python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --find-links . openenv-runtime

FROM ${BASE} AS base
# By hand, since slim and alpine have different programs for it. Spaces run as user 1000, too.
RUN echo "openenv:x:1000:1000::/home/openenv:/bin/sh" >> /etc/passwd \
    && mkdir /home/openenv && chown 1000:1000 /home/openenv
COPY --from=build /opt/venv /opt/venv
# A container is there to serve, so it has several workers; set any of these with `docker run -e`.
ENV HOST=0.0.0.0 PORT=8000 WORKERS=4 MAX_CONCURRENT_ENVS= \
    PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 HOME=/home/openenv
WORKDIR /app/env
USER 1000
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s --retries=3 \
    CMD python -c "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health', timeout=2)"
# In this form the server is process 1: `docker stop` reaches it, and running steps finish.
CMD ["openenv", "serve", "/app/env"]

FROM base AS example
COPY examples/echo_env /app/env
