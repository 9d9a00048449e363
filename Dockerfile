# The image: docs/image.md. Whatever the base, it brings Python from 3.11 on with venv, and certificates.
ARG BASE=docker.io/library/python:3.13.11-slim-trixie

FROM ${BASE} AS build
WORKDIR /src
COPY locks/build.txt locks/runtime.txt locks/
# The secrets are for hosts that reach their packages in a way of their own; no layer has them.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt \
    python3 -m venv /build \
    && python3 -m venv --without-pip /opt/otel-shell-detector \
    && rm /opt/otel-shell-detector/bin/[Aa]ctivate* \
    && /build/bin/python -m pip install --no-cache-dir --only-binary :all: --require-hashes -r locks/build.txt \
    && /build/bin/python -m pip --python /opt/otel-shell-detector/bin/python install \
        --no-cache-dir --no-compile --only-binary :all: --require-hashes -r locks/runtime.txt
COPY . .
# Nothing can be compiled later, for the root is read-only; and no time of this build decides what is up to date.
RUN /build/bin/python -m pip wheel --no-cache-dir --no-build-isolation --no-deps --no-index -w /dist . \
    && /build/bin/python -m pip --python /opt/otel-shell-detector/bin/python install \
        --no-cache-dir --no-compile --no-deps --no-index /dist/*.whl \
    && /opt/otel-shell-detector/bin/python -m compileall -q --invalidation-mode unchecked-hash \
        /opt/otel-shell-detector/lib \
    && python3 tools/sbom.py >/opt/otel-shell-detector/sbom.cdx.json

FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="otel-shell-detector" \
      org.opencontainers.image.description="Finds shells that run on Kubernetes worker nodes in OpenTelemetry process metrics and reports them to Splunk within seconds" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
# The group 0 may write the state: a platform that gives the process a uid of its choice gives it that group.
# What installs packages goes: the Python of the base has pip, and what brings pip back.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3.*/site-packages/pip* /usr/local/lib/python3.*/ensurepip \
        /usr/lib/python3.*/ensurepip /usr/share/python-wheels \
    && install -d -m 0770 -o 10001 -g 0 /var/lib/otel-shell-detector
COPY --from=build /opt/otel-shell-detector /opt/otel-shell-detector
# The default of state.path is otel-shell-detector in it; the configuration still has the last word.
ENV PATH=/opt/otel-shell-detector/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_STATE_HOME=/var/lib
WORKDIR /
EXPOSE 4317 9464
STOPSIGNAL SIGTERM
USER 10001:0
ENTRYPOINT ["otel-shell-detector"]
CMD ["serve"]
