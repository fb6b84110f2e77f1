"""The engines that are compared: how each is started, and how it is asked."""

import dataclasses
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import time

from machine import load, others

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PATIENCE = 900  # seconds for one answer


@dataclasses.dataclass(frozen=True)
class Spec:
    """One engine as a column of the tables. Engines with the same command share a process."""

    name: str
    dtype: str
    mode: str = ""  # of peer_hf.py
    noisy: bool = True  # can it decode under activation noise
    batches: tuple = (1, 8, 32)
    binary: str = str(ROOT / "bin/bench-step")

    def command(self, model, work, threads):
        if self.name.startswith("gsmeval"):
            return [self.binary, "--model", str(model), "--dtype", self.dtype, "--threads", str(threads)]
        script, source = {
            "hf": ("peer_hf.py", model),
            "ctranslate2": ("peer_ct2.py", work / f"{model.name}.ct2"),
            "llama.cpp": ("peer_llama.py", work / f"{model.name}.{self.dtype}.gguf"),
        }[self.name.split()[0]]
        return [sys.executable, str(HERE / script), str(source), self.dtype, str(threads)]


def specs(dtype, earlier):
    """The engines of one dtype, ours first, then an earlier build of ours if there is one. In bf16 the fp32 peer is asked
    again, for the bar that compares the two."""
    out = [Spec("gsmeval", dtype)] + ([Spec("gsmeval earlier", dtype, binary=earlier)] if earlier else [])
    out += [
        Spec("hf generate", dtype, "generate"),
        Spec("hf loop", dtype, "loop"),
        Spec("ctranslate2", dtype, noisy=False),
        Spec("llama.cpp", dtype, noisy=False),
    ]
    if dtype == "float32":
        return out + [Spec("hf notebook", dtype, "notebook", batches=(1,))]
    return out + [Spec("hf generate", "float32", "generate"), Spec("hf loop", "float32", "loop")]


class Process:
    """A running engine."""

    def __init__(self, command, env):
        self.errors = []
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._complaints, daemon=True).start()
        self._answer()

    def _read(self):
        for line in self.p.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def _complaints(self):
        for line in self.p.stderr:
            self.errors = (self.errors + [line.strip()])[-5:]

    def _answer(self, patience=PATIENCE):
        try:
            line = self.lines.get(timeout=patience)
        except queue.Empty:
            self.close()
            raise RuntimeError(f"no answer in {patience} s") from None
        if line is None:
            self.p.wait()
            time.sleep(0.1)  # for the reader of its last words
            raise RuntimeError(self.errors[-1] if self.errors else f"ended with {self.p.returncode}")
        return json.loads(line)

    def ask(self, request, patience=PATIENCE):
        """Answers with the engine's timing, its memory, and what share of the machine other processes had meanwhile."""
        before = load(self._cpu())
        self.p.stdin.write(json.dumps(request) + "\n")
        self.p.stdin.flush()
        answer = self._answer(patience)
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(answer["error"])
        return answer, {"others": others(before, load(self._cpu())), "rss_peak_mb": self._status("VmHWM"), "rss_anon_mb": self._status("RssAnon")}

    def _cpu(self):
        fields = pathlib.Path(f"/proc/{self.p.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status(self, key):
        for line in pathlib.Path(f"/proc/{self.p.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return round(int(line.split()[1]) / 1000, 1)
        return None

    def close(self):
        self.p.stdin.close()
        try:
            self.p.wait(20)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()


def environment(threads):
    """The same for every engine: the same number of threads, and no network."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
