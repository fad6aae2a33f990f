#!/bin/sh
# Put one image and what a hospital needs with it into one signed archive: docker/bundle.sh IMAGE KEY FILE.tar.gz
#
# KEY is the release key, PEM (openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out KEY); its public half
# and signature go into the bundle, the key stays where it is. The same image and key give the same files but for the signature.
set -eu
[ $# = 3 ] || { sed -n 2p "$0" | cut -c3- >&2; exit 2; }
image=$1 key=$2 file=$3
[ -r "$key" ] || { echo "bundle.sh: there is no release key $key; make one once, keep it off this machine's backups:" >&2
    echo "  (umask 077; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out $key)" >&2; exit 2; }
engine=${ENGINE:-podman}
here=$(dirname "$0")
name=$(basename "$file" .tar.gz)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/bundle.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/$name"
id=$("$engine" image inspect --format '{{.Id}}' "$image")
echo "${id#sha256:}" > "$work/$name/image-id"
case $engine in *podman) format=--format=docker-archive ;; *) format= ;; esac
"$engine" save $format --output "$work/$name/image.tar" "$image"
container=$("$engine" create "$image")
"$engine" cp "$container:/usr/share/fedrad/sbom.cdx.json" "$work/$name/sbom.cdx.json"
"$engine" rm "$container" >/dev/null
for part in fedrad-site fedrad-site.service site.env install.sh; do cp -p "$here/site/$part" "$work/$name/$part"; done
openssl pkey -in "$key" -pubout -out "$work/$name/release.pub"
(cd "$work/$name" && sha256sum -- * > ../SHA256SUMS && mv ../SHA256SUMS .)
openssl dgst -sha256 -sign "$key" -out "$work/$name/SHA256SUMS.sig" "$work/$name/SHA256SUMS"
mkdir -p "$(dirname "$file")"
tar -C "$work" --owner=0 --group=0 -c "$name" | gzip -n > "$file"
cp "$work/$name/sbom.cdx.json" "${file%.tar.gz}.cdx.json"
echo "$file: $(du -k "$file" | cut -f1) KiB, image $(cat "$work/$name/image-id")"
echo "release key, to be read out: $(openssl pkey -pubin -in "$work/$name/release.pub" -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1 | sed 's/..../& /g')"
