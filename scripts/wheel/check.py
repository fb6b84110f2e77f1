"""Checks a wheel by auditwheel's policies: the symbols that it asks the system for are those of its tag, and no younger, and every
library that is not the system's comes with the torch that it depends on.

    check.py WHEEL    (a Python with auditwheel; scripts/wheel.sh calls it)
"""

import io
import json
import pathlib
import subprocess
import sys
import zipfile

from elftools.elf.elffile import ELFFile

FROM_TORCH = {"libc10.so", "libtorch_cpu.so", "libc10_cuda.so", "libtorch_cuda.so", "libcudart.so.13"}


def main() -> None:
    wheel = pathlib.Path(sys.argv[1])
    tag = wheel.stem.split("-")[-1]
    show = [sys.executable, "-m", "auditwheel", "show", "--json", "--disable-isa-ext-check", str(wheel)]
    out = subprocess.run(show, capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(f"wheel: auditwheel: {out.stderr.strip() or out.stdout.strip()}")
    found = json.loads(out.stdout)
    if found["sym_tag"] != tag:
        sys.exit(f"wheel: by its symbols it is {found['sym_tag']}, not {tag}; what is too young: {found['versioned_symbols']}")
    if strange := set(found["external_libs"]) - FROM_TORCH:
        sys.exit(f"wheel: it needs libraries that neither the system nor torch brings: {', '.join(sorted(strange))}")
    # Before glibc 2.32 the dynamic loader has a malloc of its own, for itself: the C library's has to be found first.
    program = ELFFile(io.BytesIO(zipfile.ZipFile(wheel).read("gsmeval/bin/gsmeval")))
    needed = [tag.needed for tag in program.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")]
    loader = [i for i, name in enumerate(needed) if name.startswith("ld-linux")]
    if loader and min(loader) < needed.index("libc.so.6"):
        sys.exit(f"wheel: the program looks for symbols in the loader before libc: {', '.join(needed)}")
    print(f"wheel: auditwheel finds {found['sym_tag']}; beyond that it needs {', '.join(sorted(found['external_libs']))}, which torch brings", file=sys.stderr)


main()
