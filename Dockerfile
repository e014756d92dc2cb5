# The app of compose.yaml. The servers (Redpanda, Debezium, MySQL, MongoDB) have their own images.
ARG PYTHON=python:3.12.12-slim-bookworm

# ── the locked packages; none of them is built here, each has a wheel ────────────────────────────
FROM ${PYTHON} AS packages
WORKDIR /build
COPY requirements.lock .
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes \
        --only-binary=:all: --requirement requirements.lock \
    && /venv/bin/pip uninstall --yes pip

# ── the app ──────────────────────────────────────────────────────────────────────────────────────
FROM ${PYTHON}
RUN useradd --system --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin snacks
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    SNACKS_STATE=/tmp/snacks
WORKDIR /app
COPY --from=packages /venv /venv
COPY src/snacks snacks
# As in the wheel (pyproject.toml): topics and connector travel inside the package.
COPY redpanda snacks/redpanda
RUN python -m compileall -q snacks \
    && printf '#!/bin/sh\nexec python -m snacks "$@"\n' > /usr/local/bin/snacks \
    && chmod 755 /usr/local/bin/snacks
ENV PYTHONDONTWRITEBYTECODE=1
# Volumes that begin here are the user's (the service `jars`).
RUN install -d -o snacks -g snacks /jars/flink /jars/mongo-sink

USER snacks
EXPOSE 8800 8801 8802 3000
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:8802/health/ready', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["python", "-m", "snacks", "serve"]
