#!/usr/bin/env bash
# Builds what a release is made of, the wheel, the archive and the bundle, twice, each time from a clean clone of HEAD in a folder of its
# own, and compares the bytes; the version has to have a section in CHANGELOG.md. What was built lies in dist/release. Run by
# `make release-check`; a tag, or anything that leaves this machine, is left to a person.
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "release-check: $*" >&2; exit 1; }
[ -z "$(git status --porcelain)" ] || echo "release-check: the work tree has changes that are in no commit and so in no release" >&2
commit=$(git rev-parse HEAD)
version=$(git grep -hE "^const Version = " -- harness | sed "s/.*\"\(.*\)\"/\1/")
[ -n "$version" ] || fail "harness tells no version"
grep -qE "^## $version( |\$)" CHANGELOG.md || fail "CHANGELOG.md has no section for $version"
[ "$(sed -n 's/^## \([0-9][^ ]*\).*/\1/p' CHANGELOG.md | head -n 1)" = "$version" ] || fail "the first section of CHANGELOG.md is not $version"
! grep -qE "^## $version - unreleased" CHANGELOG.md || echo "release-check: CHANGELOG.md calls $version unreleased" >&2

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for n in one two; do
  git clone --quiet --no-hardlinks . "$tmp/$n/gsmeval"
  (cd "$tmp/$n/gsmeval" && git checkout --quiet "$commit" && make --no-print-directory wheel dist bundle)
done
rm -rf dist/release && mkdir -p dist/release
for file in "$tmp"/one/gsmeval/dist/*.whl "$tmp"/one/gsmeval/dist/*.tar.gz; do
  name=$(basename "$file")
  cmp "$file" "$tmp/two/gsmeval/dist/$name" || fail "two builds of $name differ"
  cp "$file" dist/release/
done
[ -e "dist/release/gsmeval-$version-linux-x86_64.tar.gz" ] || fail "the archive is of another version than $version"
ls dist/release/gsmeval-"$version"-py3-*.whl > /dev/null || fail "the wheel is of another version than $version"
(cd dist/release && sha256sum -- * | tee SHA256SUMS)
echo "release-check: $version, $commit: two builds from clean clones have the same bytes; they are in dist/release" >&2
