# One image for all of Rivermill's services; the command chooses which. Built by `make up`, or: docker build .
# The base is pinned by its tag; to pin its bytes as well: --build-arg PYTHON_DIGEST=@sha256:...
ARG PYTHON_TAG=3.11.17-slim-bookworm
ARG PYTHON_DIGEST=

# Everything is installed from hashed wheels, so that no compiler is needed and nothing is built but Rivermill itself.
FROM python:${PYTHON_TAG}${PYTHON_DIGEST} AS build
WORKDIR /src
COPY requirements/build.txt requirements/image.txt requirements/
RUN python -m venv --without-pip /opt/rivermill \
    && pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: --requirement requirements/build.txt \
    && pip --python /opt/rivermill/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes \
        --only-binary :all: --requirement requirements/image.txt
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY services services
COPY examples examples
# The packages' own tests stay out (49 MB). The root file system is read-only when it runs: what Python compiles must
# be there, and stay valid whatever a copy does to the times of files.
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/rivermill/bin/python install --no-cache-dir --no-compile --no-deps --no-index /wheels/*.whl \
    && find /opt/rivermill/lib -type d -name tests -prune -exec rm -rf {} + \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/rivermill/lib

FROM python:${PYTHON_TAG}${PYTHON_DIGEST} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Rivermill" \
      org.opencontainers.image.description="Event-driven streaming MLOps on Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 rivermill \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/rivermill --shell /usr/sbin/nologin \
        rivermill \
    && install --directory --mode 0755 /etc/rivermill \
    && install --directory --mode 0750 --owner 10001 --group 10001 /var/lib/rivermill
COPY --from=build /opt/rivermill /opt/rivermill
ENV PATH=/opt/rivermill/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OPENBLAS_NUM_THREADS=1 \
    RIVERMILL_DATA_DIR=/var/lib/rivermill
# OPENBLAS_NUM_THREADS: it would start a thread for each processor of the machine, whatever the container may use.
# The pipeline file is mounted here, and beside it the module of a candidate's factory: Python looks in this directory,
# so the services must not be able to write to it.
WORKDIR /etc/rivermill
USER 10001:10001
STOPSIGNAL SIGTERM
EXPOSE 8080 9101 9102 9103 9104
CMD ["rivermill", "--help"]

# The flights of the demo, for whoever wants to replay them: no service needs them.
FROM build AS flights
COPY requirements/flights.txt requirements/
RUN pip install --no-cache-dir --no-deps --no-build-isolation --require-hashes --target /opt/flights \
        --requirement requirements/flights.txt

FROM runtime AS replay
COPY --from=flights /opt/flights /opt/flights
ENV PYTHONPATH=/opt/flights

# Last, and so what a build without --target makes.
FROM runtime AS services
