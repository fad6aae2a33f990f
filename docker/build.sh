#!/bin/sh
# Build both images, copy their SBOMs to dist/ and print sizes: docker/build.sh ENGINE [OPTION...]
#
# Options go to the engine's build. The images are localhost/fedrad-site and localhost/fedrad-aggregator.
set -eu
engine=${1:-podman}
[ $# = 0 ] || shift
cd "$(dirname "$0")/.."
case $engine in *podman) format="--format=docker" ;; *) format= ;; esac  # OCI's format has no health check
mkdir -p dist
for name in site aggregator; do
    "$engine" build $format "$@" -t "localhost/fedrad-$name" -f "docker/$name.Dockerfile" .
    container=$("$engine" create "localhost/fedrad-$name")
    "$engine" cp "$container:/usr/share/fedrad/sbom.cdx.json" "dist/fedrad-$name.cdx.json"
    "$engine" rm "$container" >/dev/null
done
for name in site aggregator; do
    "$engine" image inspect --format '{{.Size}} {{.Id}}' "localhost/fedrad-$name" | while read -r bytes id; do
        echo "fedrad-$name: $((bytes / 1000000)) MB, ${id#sha256:}, dist/fedrad-$name.cdx.json"
    done
done
