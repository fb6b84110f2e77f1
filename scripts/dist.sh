#!/usr/bin/env bash
# Makes dist/gsmeval-VERSION-linux-x86_64.tar.gz: the program, the bundled model and data, configs, docs, licences, and `setup`, which
# fetches libtorch. The version is the program's own (`gsmeval version`). Run by `make dist`.
set -euo pipefail
cd "$(dirname "$0")/.."
source .deps/env
source scripts/reproducible.sh

version=$(bin/gsmeval version --json | sed -n 's/.*"gsmeval":"\([^"]*\)".*/\1/p')
[ -n "$version" ] || { echo "dist: bin/gsmeval does not tell its version" >&2; exit 1; }
name=gsmeval-$version-linux-x86_64
stage=dist/$name
rm -rf "$stage" "$stage.tar.gz"
mkdir -p "$stage/bin" "$stage/lib"

go build "${reproducible[@]}" -ldflags='-s -w' -o "$stage/bin/gsmeval" ./cmd/gsmeval
# Beside itself, and nowhere else: not in the cache of the machine that built it.
go run ./scripts/rpath "$stage/bin/gsmeval" "\$ORIGIN/../lib"

git ls-files -z models data configs docs README.md LICENSE CHANGELOG.md | xargs -0 cp --parents -t "$stage"
cp scripts/requirements-libtorch.txt "$stage/"
[ ! -e .deps/lib/libgsmeval_cuda.so ] || cp -L .deps/lib/libgsmeval_cuda.so "$stage/lib/"
install -m 755 scripts/dist/setup "$stage/setup"
scripts/licences.sh "$stage/licences"
cat > "$stage/INSTALL.md" <<END
# gsmeval $version

For Linux on x86-64 with glibc 2.34 or later: Debian 12, Ubuntu 22.04, and what is newer.

    ./setup                                      # once: fetches libtorch into lib/ (530 MB; needs python3 with pip)
    bin/gsmeval doctor models/gsm-tiny           # is everything there?
    bin/gsmeval run configs/first_light.yaml     # the first run, about two minutes on two cores

\`./setup --torch DIR\` takes an unpacked libtorch 2.11.0 instead. docs/README.md leads on; licences/README.md lists what is linked.
END

# Equal inputs give equal archives: sorted, without owners, dated by the commit.
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" -C dist -cf - "$name" | gzip -9 -n > "dist/$name.tar.gz.part"
mv "dist/$name.tar.gz.part" "dist/$name.tar.gz"
(cd dist && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
echo "dist: $(du -h "dist/$name.tar.gz" | cut -f1) dist/$name.tar.gz" >&2
