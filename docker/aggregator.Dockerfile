# The coordinator's image: fedrad and aggregator behind nginx, nothing that reads DICOM, no compiler, no pip, no shell.
#
#   docker build -t localhost/fedrad-aggregator -f docker/aggregator.Dockerfile .
#   podman build --format docker -t localhost/fedrad-aggregator -f docker/aggregator.Dockerfile .
#
# BASE and TORCH_INDEX as in site.Dockerfile.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY pyproject.toml constraints.txt docker/requirements.py docker/prune.py ./
RUN python3 -m venv /opt/build \
 && python3 -m venv --without-pip /opt/fedrad \
 && python3 requirements.py pyproject.toml > requirements.txt \
 && /opt/build/bin/python -m pip install --no-cache-dir -q pip==26.3 setuptools==84.2.1 \
 && /opt/build/bin/python -m pip --python /opt/fedrad/bin/python install --no-cache-dir -q --only-binary :all: \
    -c constraints.txt ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} -r requirements.txt \
 && python3 prune.py libraries /opt/fedrad
COPY README.md LICENSE ./
COPY fedrad fedrad
COPY site_client site_client
COPY aggregator aggregator
COPY simulations simulations
RUN /opt/build/bin/python -m pip wheel --no-cache-dir -q --no-deps --no-index --no-build-isolation -w /wheel . \
 && /opt/build/bin/python -m pip --python /opt/fedrad/bin/python install --no-cache-dir -q --no-deps --no-index /wheel/*

FROM ${BASE} AS root
COPY docker/prune.py /
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get upgrade -qq -y \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nginx-light \
 && rm -rf /var/lib/apt/lists/* \
 && echo 'fedrad:x:10001:10001:fedrad:/var/lib/fedrad:/nonexistent' >> /etc/passwd \
 && echo 'fedrad:x:10001:' >> /etc/group \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/fedrad && install -d -o 10001 -g 10001 /post \
 && python3 /prune.py root / nginx

FROM build AS aggregator-build
COPY docker/sbom.py ./
COPY --from=root /var/lib/dpkg/status dpkg-status
RUN python3 prune.py packages /opt/fedrad simulations site_client \
 && python3 prune.py programs /opt/fedrad fedrad-aggregator \
 && python3 sbom.py fedrad-aggregator /opt/fedrad dpkg-status /sbom.cdx.json

FROM scratch
COPY --from=root / /
COPY --from=aggregator-build /sbom.cdx.json /usr/share/fedrad/sbom.cdx.json
COPY --from=aggregator-build /opt/fedrad /opt/fedrad
ENV PATH=/opt/fedrad/bin:/usr/local/bin:/usr/bin:/usr/sbin LANG=C.UTF-8 HOME=/tmp FEDRAD_HOME=/var/lib/fedrad \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 FLWR_TELEMETRY_ENABLED=0 OMP_NUM_THREADS=1
USER 10001:10001
WORKDIR /var/lib/fedrad
EXPOSE 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 CMD ["fedrad-aggregator", "health"]
ENTRYPOINT ["fedrad-aggregator"]
CMD ["start"]
