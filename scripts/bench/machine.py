"""What the numbers were measured on, and the time and memory of whole processes."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ["torch", "transformers", "ctranslate2", "llama-cpp-python", "lm-eval"]


FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def processor():
    """Its name as it calls itself, and which of FEATURES it has."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return cpu, [f for f in FEATURES if f in flags]


def name():
    """A short name for a page: maker, family and the widest instructions, as in amd-epyc-avx2."""
    cpu, features = processor()
    words = re.sub(r"\(R\)|\(TM\)|Processor|CPU|@.*", "", cpu).lower().split()
    return "-".join([*words[:2], (features or ["x86-64"])[-1].split("_")[0]])


def about():
    cpu, features = processor()
    versions = {}
    for name in PEERS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"
    git = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    return {
        "cpu": cpu, "cores": os.cpu_count(), "features": features,
        "kernel": platform.release(), "python": platform.python_version(), "versions": versions, "commit": git,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "load": os.getloadavg()[1],
    }


def load(own):
    """Processor seconds of the whole machine so far, those of a process of interest, and the time."""
    user, nice, system, _, _, irq, soft = map(int, pathlib.Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK"), own, time.monotonic()


def others(before, after):
    """The share of the machine that all other processes had between two loads."""
    busy, own, wall = (b - a for a, b in zip(before, after))
    return round(max(0.0, busy - own) / (wall * os.cpu_count()), 3)


def whole(command, env, cwd):
    """Runs a program: seconds from start to end, processor seconds, peak resident memory, and what it printed."""
    with tempfile.TemporaryFile("w+") as out:
        before = load(0)
        p = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=cwd)
        _, status, usage = os.wait4(p.pid, 0)
        after = load(usage.ru_utime + usage.ru_stime)
        p.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    row = {"seconds": after[2] - before[2], "cpu_seconds": after[1], "others": others(before, after), "rss_peak_mb": round(usage.ru_maxrss / 1000, 1), "output": text}
    if p.returncode:
        row["error"] = f"exit code {p.returncode}: {text.strip().splitlines()[-1] if text.strip() else 'nothing was printed'}"
    return row
