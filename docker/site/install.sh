#!/bin/sh
# Check a bundle and install it for this user: ./install.sh FINGERPRINT
#
# FINGERPRINT is that of the release key, heard by another way than the bundle came. Nothing is loaded before the
# key, the signature and every file were compared. Called with a newer bundle it upgrades, with an older one it goes back.
set -eu
cd "$(dirname "$0")"
say() { echo "install.sh: $*" >&2; }
heard=$(printf %s "${1:-}" | tr -d ' :-' | tr A-F a-f)
found=$(openssl pkey -pubin -in release.pub -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1)
if [ "$heard" != "$found" ]; then
    say "this bundle's release key has the fingerprint"
    say "  $(echo "$found" | sed 's/..../& /g')"
    say "which is not the one given; compare it by telephone, then: ./install.sh FINGERPRINT"
    exit 4
fi
openssl dgst -sha256 -verify release.pub -signature SHA256SUMS.sig SHA256SUMS >/dev/null 2>&1 \
    || { say "SHA256SUMS was not signed by the release key: nothing is installed"; exit 5; }
sha256sum --quiet --strict --check SHA256SUMS >&2 || { say "a file was changed: nothing is installed"; exit 5; }

engine=${FEDRAD_ENGINE:-podman}
image=$(cat image-id)
"$engine" load --quiet --input image.tar >/dev/null
loaded=$("$engine" image inspect --format '{{.Id}}' "$image") || { say "image $image was not loaded"; exit 5; }
[ "${loaded#sha256:}" = "$image" ] || { say "the image loaded is $loaded, not $image"; exit 5; }

settings=${XDG_CONFIG_HOME:-$HOME/.config}
mkdir -p "$settings/fedrad" "$settings/systemd/user" "$HOME/.local/bin"
[ -e "$settings/fedrad/site.env" ] || cp site.env "$settings/fedrad/site.env"
sed -i "s/^FEDRAD_IMAGE=.*/FEDRAD_IMAGE=$image/" "$settings/fedrad/site.env"
install -m 755 fedrad-site "$HOME/.local/bin/fedrad-site"
install -m 644 fedrad-site.service "$settings/systemd/user/fedrad-site.service"
echo "installed: image $image"
echo "settings: $settings/fedrad/site.env"
