"""Packs a wheel, with the same bytes for the same inputs: sorted names, the commit's date, no owners.

    pack.py STAGE VERSION OUT    (scripts/wheel.sh calls it; prints the wheel's path)
"""

import base64
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TAG = "py3-none-manylinux_2_28_x86_64"
TORCH = re.search(r'const Version = "(.*)"', (ROOT / "internal/torch/cuda_load.go").read_text())[1]

METADATA = """\
Metadata-Version: 2.4
Name: gsmeval
Version: {version}
Summary: Measure how a noisy language model reasons: GSM8K accuracy under injected noise
License-Expression: MIT
{licences}Requires-Python: >=3.10
Requires-Dist: torch=={torch}
Requires-Dist: pandas>=2.2
Requires-Dist: pyarrow>=16
Classifier: Programming Language :: Python :: 3
Classifier: Operating System :: POSIX :: Linux
Classifier: Typing :: Typed
Description-Content-Type: text/markdown

{readme}"""

WHEEL = f"""\
Wheel-Version: 1.0
Generator: gsmeval
Root-Is-Purelib: false
Tag: {TAG}
"""


def tracked(*paths: str) -> list[str]:
    out = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *paths], cwd=ROOT, check=True, capture_output=True)
    return [name for name in out.stdout.decode().split("\0") if name]


def main() -> None:
    stage, version, out = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    info, data = f"gsmeval-{version}.dist-info", f"gsmeval-{version}.data/data/share"
    files: dict[str, bytes] = {}
    for name in tracked("python/gsmeval"):
        if not name.endswith(".ipynb"):
            files[name.removeprefix("python/")] = (ROOT / name).read_bytes()
    for name in tracked("models/gsm-tiny", "data/gsm-synth", "configs"):
        files["gsmeval/" + name] = (ROOT / name).read_bytes()
    for folder, to in (("bin", "gsmeval/bin"), ("lib", "gsmeval/lib"), ("share", data), ("licences", info + "/licenses/licences")):
        for path in sorted((stage / folder).rglob("*")):
            if path.is_file():
                files[f"{to}/{path.relative_to(stage / folder)}"] = path.read_bytes()
    files[info + "/licenses/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    licences = sorted(name.removeprefix(info + "/licenses/") for name in files if name.startswith(info + "/licenses/"))
    files[info + "/METADATA"] = METADATA.format(
        version=version, torch=TORCH, licences="".join(f"License-File: {name}\n" for name in licences), readme=(ROOT / "python/README.md").read_text()
    ).encode()
    files[info + "/WHEEL"] = WHEEL.encode()
    files[info + "/entry_points.txt"] = b"[console_scripts]\ngsmeval = gsmeval._program:main\n"
    record = info + "/RECORD"
    lines = []
    for name in sorted(files):
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(files[name])}\n")
    files[record] = "".join([*lines, f"{record},,\n"]).encode()

    date = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]
    path = out / f"gsmeval-{version}-{TAG}.whl"
    with zipfile.ZipFile(path.with_suffix(".part"), "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        for name in [*sorted(set(files) - {record}), record]:
            entry = zipfile.ZipInfo(name, date)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (0o100755 if name == "gsmeval/bin/gsmeval" else 0o100644) << 16
            z.writestr(entry, files[name])
    path.with_suffix(".part").rename(path)
    print(path)


main()
