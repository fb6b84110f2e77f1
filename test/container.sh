#!/usr/bin/env bash
# Builds the Containerfile to its end and runs what it makes, as the user that it sets: a run that is interrupted and resumed. Run by
# `make test-container`; needs root, buildah and debootstrap (Debian packages) and the wheel of `make wheel`.
#
# The image that it starts FROM is made here from Debian's packages, with their Python 3.13, so that no registry of images is asked, and
# given the name of the one that it stands in for. torch comes from PyPI, with CUDA: 2 GB to fetch, 6 GB of disk while it runs.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { echo "container: $*" >&2; }
tmp=$(mktemp -d)
export CONTAINERS_STORAGE_CONF=$tmp/storage.conf
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n' "$tmp/graph" "$tmp/run" > "$CONTAINERS_STORAGE_CONF"
cleanup() { buildah rm --all > /dev/null 2>&1; rm -rf "$tmp" || { umount -R "$tmp/graph/overlay"; rm -rf "$tmp"; }; } 2> /dev/null
trap cleanup EXIT
grep -qw overlay /proc/filesystems || sed -i s/overlay/vfs/ "$CONTAINERS_STORAGE_CONF"

say "a base image of Debian's packages"
base=$(sed -n 's/^FROM //p' Containerfile)
debootstrap --variant=minbase --include=python3,python3-pip,ca-certificates trixie "$tmp/root" > "$tmp/debootstrap.log" || { tail "$tmp/debootstrap.log" >&2; exit 1; }
rm -rf "$tmp"/root/usr/lib/python3*/EXTERNALLY-MANAGED "$tmp"/root/var/cache/apt/archives/*.deb
ln -s python3 "$tmp/root/usr/bin/python"
from=$(buildah from scratch)
buildah copy --quiet "$from" "$tmp/root" / > /dev/null
buildah commit --quiet --rm "$from" "localhost/$base" > /dev/null
rm -rf "$tmp/root"

say "the Containerfile"
# The certificates of this machine: with those of the image alone pip may not get through what stands between it and PyPI.
buildah build --isolation chroot --layers=false --pull-never --network host --volume /etc/ssl/certs:/etc/ssl/certs:ro \
  --tag localhost/gsmeval-test --file Containerfile . > "$tmp/build.log" 2>&1 || { tail -n 40 "$tmp/build.log" >&2; exit 1; }
buildah images --format '{{.Name}}: {{.Size}}' | grep gsmeval-test >&2

say "a run in it, interrupted and resumed"
box=$(buildah from --pull-never localhost/gsmeval-test)
inside() { buildah run --isolation chroot "$box" -- "$@"; }
[ "$(inside id -u)" = 1000 ] || { say "it does not run as user 1000"; exit 1; }
inside gsmeval run configs/dyn_tstar.yaml --set dataset.limit=20 --set output=runs/whole > /dev/null
buildah copy --quiet "$box" scripts/wheel/interrupt.py /tmp/ > /dev/null
inside python /tmp/interrupt.py configs/dyn_tstar.yaml --set dataset.limit=20 --set output=runs/cut
inside gsmeval resume runs/cut --quiet > /dev/null
inside cmp runs/whole/samples.jsonl runs/cut/samples.jsonl
inside gsmeval explain runs/cut
say "ok: the resumed run is the whole one, byte for byte"
