# The image of `aitbc api`, `aitbc worker` and `aitbc flower`: what constraints.txt pins, by hash, and the aitbc package.
# Another base: docker compose build --build-arg BASE=registry.internal/python:3.11-slim (Python 3.11 or later, with venv).
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
RUN python3 -m venv /opt/aitbc
ENV PATH=/opt/aitbc/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt constraints-dev.txt ./
# setuptools builds the package, and goes again. The bytecode is made here: the running container cannot write it.
RUN sed -n '/^setuptools==/,/[0-9a-f]$/p' constraints-dev.txt > constraints-build.txt \
 && pip install --quiet --require-hashes -r constraints.txt -r constraints-build.txt
COPY setup.cfg pyproject.toml README.md LICENSE celeryconfig.py ./
COPY aitbc aitbc
RUN pip install --quiet --no-deps --no-build-isolation . \
 && pip uninstall --quiet --yes setuptools pip

FROM ${BASE}
COPY --from=build /opt/aitbc /opt/aitbc
# Where docker-compose.yml keeps the passwords and the API key that it makes, and Flower its rows; a new volume takes over its owner.
RUN useradd --system --uid 10001 --no-create-home aitbc && install -d -o 10001 -g 10001 /keys /client \
 && install -d -o 10001 -g 10001 -m 700 /var/lib/aitbc
ENV PATH=/opt/aitbc/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
CMD ["aitbc", "api"]
