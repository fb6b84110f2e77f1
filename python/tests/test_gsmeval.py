"""The module against the program that it came with. GSMEVAL_TEST_RUN names a finished run of configs/first_light.yaml."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap

import pandas as pd
import pytest

import gsmeval
from gsmeval import _program, _progress

CONFIG = {
    "name": "tiny",
    "model": {"path": "builtin:gsm-tiny"},
    "dataset": {"path": "builtin:gsm-synth", "limit": 3},
    "generation": {"max_new_tokens": 24},
    "noise": [{"kind": "none"}, {"kind": "activation", "scale": 0.1}],
    "temperature": [{"policy": "constant", "value": 1.0}, {"policy": "constant_tstar"}],
    "calibration": {"prompts": 2, "positions": 5, "draws": 2},
    "threads": 1,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> gsmeval.Run:
    os.chdir(tmp_path_factory.mktemp("work"))
    return gsmeval.run(CONFIG)


def test_run(tiny: gsmeval.Run) -> None:
    assert tiny.path == pathlib.Path("runs/tiny")
    assert tiny.complete and tiny.name == "tiny"
    again = gsmeval.run(CONFIG)  # complete: nothing to do, and the same place
    assert again.path == tiny.path
    assert tiny.resume().path == tiny.path


def test_table(tiny: gsmeval.Run) -> None:
    table = tiny.table
    assert list(table.noise) == ["none", "none", "activation 0.1", "activation 0.1"]
    rows = json.loads((tiny.path / "table.json").read_text())["rows"]
    assert [r["accuracy"] for r in rows] == list(table.accuracy)
    assert [r["ci"][0] for r in rows] == list(table.ci_lo)
    assert {"ci_hi", "ci_new_chips_lo", "diff_ci_lo", "diff_ci_new_chips_hi"} <= set(table)
    assert any(note.startswith("Warning: There are only 3 questions") for note in tiny.notes)


def test_samples(tiny: gsmeval.Run) -> None:
    samples = tiny.samples
    assert len(samples) == 12  # those that both temperatures without noise share stand under each
    assert samples.question.str.len().min() > 10
    right = samples[samples.noise == "none"].groupby("temperature").correct.mean()
    assert right.iloc[0] == tiny.table.accuracy.iloc[0]


def test_pairs(tiny: gsmeval.Run) -> None:
    pairs = tiny.pairs
    assert list(pairs.noise) == ["none", "activation 0.1"]
    assert pairs.ci_lo.le(pairs["diff"]).all() and pairs["diff"].le(pairs.ci_hi).all()
    with pytest.raises(gsmeval.ProgramError, match="called|same|twice|differ"):
        tiny.compare(tiny)


def test_alpha(tiny: gsmeval.Run) -> None:
    alpha = tiny.alpha
    assert set(alpha.noise) == {"activation 0.1"}
    assert list(alpha.t) == list(range(len(alpha))) and 0 < len(alpha) <= 5
    assert (alpha.alpha > 0).all()


def test_fidelity(tiny: gsmeval.Run) -> None:
    with pytest.raises(FileNotFoundError, match="gsmeval fidelity CONFIG"):
        tiny.fidelity  # noqa: B018
    pathlib.Path("tiny.json").write_text(json.dumps(CONFIG))  # which is YAML too
    gsmeval.command("fidelity", "tiny.json", "--temperatures", "0.9,1")
    fidelity = tiny.fidelity
    assert list(fidelity.t) == [0.9, 1] * 4 and set(fidelity.text) == {"sampled", "greedy"}
    clean = fidelity[(fidelity.noise == "none") & (fidelity.t == 1)]
    assert (clean.kld_max == 0).all() and (clean.same_top == 1).all()
    assert (fidelity[fidelity.noise == "activation 0.1"].marginal_kld_se > 0).all()


def test_explain(tiny: gsmeval.Run) -> None:
    sentences = tiny.explain()
    assert 3 <= len(sentences) <= 10
    assert any("activation 0.1" in s for s in sentences)


def test_html(tiny: gsmeval.Run) -> None:
    page = tiny._repr_html_()
    assert page.count("<tr>") == 5 and '>T*</td>' in page and "Warning" in page
    assert repr(tiny) == "gsmeval.load('runs/tiny')"


def test_finished_run_of_the_command_line() -> None:
    path = os.environ.get("GSMEVAL_TEST_RUN")
    if path is None:
        pytest.skip("GSMEVAL_TEST_RUN is not set")
    run = gsmeval.load(path)
    assert list(run.table.noise) == ["none", "activation 0.1", "activation 0.2"]
    assert run.alpha.empty
    assert list(run.alpha.columns) == ["noise", "t", "alpha"]


def test_not_complete(tiny: gsmeval.Run, tmp_path: pathlib.Path) -> None:
    shutil.copy(tiny.path / "run.json", tmp_path)
    half = gsmeval.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no table"):
        half.table  # noqa: B018
    assert "run.resume()" in half._repr_html_()
    with pytest.raises(FileNotFoundError, match="no run directory"):
        gsmeval.load(tmp_path / "nowhere")


def test_mistakes(tmp_path: pathlib.Path) -> None:
    with pytest.raises(gsmeval.ProgramError, match="no such file") as failed:
        gsmeval.run(tmp_path / "nowhere.yaml")
    assert failed.value.code == 2
    with pytest.raises(gsmeval.ProgramError, match="did you mean dataset.limit") as failed:
        gsmeval.run(CONFIG, set={"dataset.limt": 3})
    assert failed.value.code == 2
    with pytest.raises(ValueError, match="name"):
        gsmeval.run({"model": {"path": "builtin:gsm-tiny"}})


def test_values_of_set(tmp_path: pathlib.Path) -> None:
    run = gsmeval.run(CONFIG, set={"output": str(tmp_path / "out"), "dataset.limit": 2, "noise": [{"kind": "none"}], "name": "other"})
    assert run.path == tmp_path / "out" and run.name == "other"
    assert set(run.table.noise) == {"none"} and set(run.table.questions) == {2}


def test_interrupt(tmp_path: pathlib.Path) -> None:
    """Ctrl-C ends the program in good order, and the same call goes on."""
    code = f"""
        import json, gsmeval
        run = gsmeval.run({CONFIG!r}, set={{"output": {str(tmp_path / "run")!r}, "dataset.limit": 400, "generation.batch_size": 1}})
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if " of " in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert "goes on with" in rest and "KeyboardInterrupt" in rest
    assert not gsmeval.load(tmp_path / "run").complete


def test_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.10.1+cpu")
    with pytest.raises(gsmeval.ProgramError, match=r"^gsmeval needs torch 2.11.0, and .* has 2.10.1\+cpu: .*pip install torch==2.11.0$"):
        _program.environment()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.11.0+cpu")
    _program.environment()


def test_torch_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / "torch").mkdir()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.11.0")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: type("S", (), {"submodule_search_locations": [str(tmp_path / "torch")]}))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/others")
    assert _program.environment()["LD_LIBRARY_PATH"] == f"{tmp_path}/torch/lib:/others"


def test_reason() -> None:
    assert _program.reason("{}\nnoise\ngsmeval: a\n  b\n") == "a\n  b"
    assert _program.reason("killed\n") == "killed"
    assert "said nothing" in _program.reason("")


def test_progress_line() -> None:
    event = {"event": "progress", "run": "runs/x", "done": 8, "total": 72, "n": 8, "correct": 6, "tokens_per_s": 40.7, "eta_s": 171.6}
    assert _progress.line(event) == "runs/x: 8 of 72 samples, 75.0 % of the new ones right, 41 tokens/s, 2:52 left"
    start = event | {"done": 0, "n": 0, "correct": 0, "tokens_per_s": None, "eta_s": None}
    assert _progress.line(start) == "runs/x: 0 of 72 samples"


def test_progress_in_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    class Handle:
        shown: list[str] = []

        def update(self, data: dict[str, str], raw: bool) -> None:
            self.shown.append(data["text/plain"])

    with _progress.Progress() as progress:
        progress._handle = Handle()
        for level in ("debug", "info", "warn"):
            progress.show({"event": "message", "level": level, "text": level})
        progress.show({"event": "end", "run": "runs/x", "done": 8, "total": 8, "n": 0, "tokens_per_s": None, "eta_s": None})
    assert Handle.shown == ["info", "runs/x: 8 of 8 samples"]
    assert capsys.readouterr().err == "warn\n"


def test_frames_are_frames(tiny: gsmeval.Run) -> None:
    for frame in (tiny.table, tiny.samples, tiny.pairs, tiny.alpha):
        assert isinstance(frame, pd.DataFrame)
