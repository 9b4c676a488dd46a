# One image for every part of Runlane, nats-server included: which part it is, the command says.
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
ARG PIP_INDEX_URL
ARG PIP_TRUSTED_HOST
WORKDIR /source
COPY pyproject.toml README.md ./
COPY libs libs
COPY services services
RUN python -m venv /opt/runlane \
 && /opt/runlane/bin/pip install --no-cache-dir '.[azure,otel,postgresql]'

FROM ${BASE}
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin runlane \
 && mkdir -p /data /etc/nats /workflows \
 && chown runlane:runlane /data
COPY --from=build /opt/runlane /opt/runlane
ENV PATH=/opt/runlane/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RUNLANE_DATA_DIR=/data \
    RUNLANE_WORKFLOWS=/workflows \
    RUNLANE_LOG_FORMAT=json
USER runlane
VOLUME /data
ENTRYPOINT []
CMD ["runlane", "--help"]
