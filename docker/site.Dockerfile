# The hospital's image: fedrad and site_client, no compiler, no pip, no shell; uid 10001.
#
#   docker build -t localhost/fedrad-site -f docker/site.Dockerfile .
#   podman build --format docker -t localhost/fedrad-site -f docker/site.Dockerfile .
#
# Where no registry of images is reached, BASE may be any Debian or Ubuntu with Python 3.11 or newer, venv and pip
# (docs/containers.md). TORCH_INDEX is where torch without CUDA comes from; empty: whatever pip finds first.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=site,pacs
WORKDIR /src
COPY pyproject.toml constraints.txt docker/requirements.py docker/prune.py ./
RUN python3 -m venv /opt/build \
 && python3 -m venv --without-pip /opt/fedrad \
 && python3 requirements.py pyproject.toml "${EXTRAS}" > requirements.txt \
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

# The base brought up to date, with the user and without what installs, compiles or starts a shell.
FROM ${BASE} AS root
COPY docker/prune.py /
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get upgrade -qq -y && rm -rf /var/lib/apt/lists/* \
 && echo 'fedrad:x:10001:10001:fedrad:/var/lib/fedrad:/nonexistent' >> /etc/passwd \
 && echo 'fedrad:x:10001:' >> /etc/group \
 && install -d /data /demo && install -d -o 10001 -g 10001 -m 0700 /var/lib/fedrad \
 && install -d -o 10001 -g 10001 /post /demo/east /demo/north /demo/south \
 && python3 /prune.py root /

FROM build AS site-build
COPY docker/sbom.py ./
COPY --from=root /var/lib/dpkg/status dpkg-status
RUN python3 prune.py packages /opt/fedrad simulations aggregator && python3 prune.py programs /opt/fedrad fedrad-site \
 && python3 sbom.py fedrad-site /opt/fedrad dpkg-status /sbom.cdx.json

FROM scratch AS site
COPY --from=root / /
COPY --from=site-build /sbom.cdx.json /usr/share/fedrad/sbom.cdx.json
COPY --from=site-build /opt/fedrad /opt/fedrad
ENV PATH=/opt/fedrad/bin:/usr/local/bin:/usr/bin:/usr/sbin LANG=C.UTF-8 HOME=/tmp FEDRAD_HOME=/var/lib/fedrad \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 FLWR_TELEMETRY_ENABLED=0 OMP_NUM_THREADS=1
USER 10001:10001
WORKDIR /var/lib/fedrad
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 CMD ["fedrad-site", "health"]
ENTRYPOINT ["fedrad-site"]
CMD ["start"]

# Phantom hospitals for docker/compose.yaml: all of fedrad. Never the last stage: a plain build makes `site`.
FROM scratch AS demo
COPY --from=root / /
COPY --from=build /opt/fedrad /opt/fedrad
COPY docker/demo/archives.py /opt/demo/archives.py
ENV PATH=/opt/fedrad/bin:/usr/local/bin:/usr/bin LANG=C.UTF-8 HOME=/tmp PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 FLWR_TELEMETRY_ENABLED=0 OMP_NUM_THREADS=1
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["python3", "/opt/demo/archives.py"]

FROM site
