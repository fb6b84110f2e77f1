#!/usr/bin/env bash
# licences.sh OUT: collects the licence texts of everything that is linked into bin/gsmeval: Go and its modules, the Rust crates of
# libtokenizers, libtorch's headers. A Go module without a licence file is an error; a crate without one is named with what its
# manifest declares. OUT/README.md lists them all.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1
source .deps/env
rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)

# texts FROM TO: copies licence files, fails if there are none.
texts() {
  local found=1 f
  for f in "$1"/*; do
    case ${f##*/} in
      [Ll][Ii][Cc][Ee][Nn][CcSs][Ee]* | COPYING* | NOTICE* | PATENTS* | UNLICENSE*) [ -f "$f" ] || continue
        mkdir -p "$2" && cp "$f" "$2/" && chmod u+w "$2/${f##*/}" && found=0 ;;
    esac
  done
  return $found
}

{
  echo "# What is linked into bin/gsmeval"
  echo
  echo "gsmeval itself is under the MIT licence (LICENSE). The texts of what it is built from are in these folders."
  echo
  echo "## Go"
  echo
} > "$out/README.md"
texts "$(go env GOROOT)" "$out/go/go" || { echo "licences: Go has no licence in $(go env GOROOT)" >&2; exit 1; }
echo "- go ($(go env GOVERSION)), the standard library" >> "$out/README.md"
go list -deps -f '{{with .Module}}{{if .Version}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/gsmeval | sort -u | while read -r path version dir; do
  texts "$dir" "$out/go/$path@$version" || { echo "licences: the module $path $version has no licence file in $dir" >&2; exit 1; }
  echo "- $path $version" >> "$out/README.md"
done

printf '\n## Rust, in libtokenizers\n\n' >> "$out/README.md"
tok=$(go list -m -f '{{.Dir}}' github.com/daulet/tokenizers)
tree() { (cd "$tok" && cargo tree --quiet --locked "$@" -e normal --target x86_64-unknown-linux-gnu --prefix none -f '{p}|{l}'); }
crates=$(tree --offline 2>/dev/null || tree)
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
sed 's/ (\*)$//; s/ (proc-macro)|/|/' <<< "$crates" | sort -u | while IFS='|' read -r package declared; do
  read -r name version rest <<< "$package"
  [ -z "$rest" ] || continue # the module itself is among the Go modules
  note=
  for dir in "$registry"/*/"$name-${version#v}"; do
    texts "$dir" "$out/rust/$name-${version#v}" || note=" (its package holds no text)"
  done
  echo "- $name $version, $declared$note" >> "$out/README.md"
done

mkdir -p "$out/libtorch"
cp scripts/dist/libtorch-LICENSE "$out/libtorch/LICENSE"
cat >> "$out/README.md" <<'END'

## libtorch and CUDA

libtorch 2.11.0 (BSD 3-clause; libtorch/LICENSE) and NVIDIA's cudart and cupti, which libtorch loads also on machines without a GPU
(NVIDIA's CUDA end user licence agreement), are no part of this. `setup` of the archive fetches them, pip installs them beside the
wheel, and their licences come with them.
END
echo "licences: $(grep -c '^- ' "$out/README.md") parts, in $out" >&2
