#!/usr/bin/env python3
"""Reads what `gsmeval export` wrote with the tools that it was written for, and compares it with the run itself.

    pip install -r scripts/requirements-exports.txt
    python scripts/check_exports.py RUN DATA.jsonl EXPORT

RUN is the run directory, DATA.jsonl its data set, EXPORT a folder with samples.csv, samples.parquet, lm-eval/ and inspect/.
The run is read here on its own (samples.jsonl, table.json), not through gsmeval. The first difference ends it with a message.
"""
import hashlib
import json
import math
import pathlib
import sys
import tempfile

PINNED = {"inspect_ai": "0.3.285", "lm_eval": "0.4.13", "pandas": "3.1.1", "pyarrow": "26.0.1"}


def same(what, got, want):
    if isinstance(want, float) and isinstance(got, (int, float)):
        ok = math.isclose(got, want, rel_tol=1e-12, abs_tol=1e-15)
    else:
        ok = got == want
    if not ok:
        sys.exit(f"{what}: {got!r}, want {want!r}")


class Run:
    def __init__(self, folder, data):
        self.info = json.loads((folder / "run.json").read_text())
        self.table = json.loads((folder / "table.json").read_text())
        self.records = [json.loads(line) for line in (folder / "samples.jsonl").read_text().split("\n") if line]
        self.questions = [json.loads(line) for line in data.read_text().split("\n") if line]
        self.ladder = self.info["config"]["scoring"]["ladder"]

    def gold(self, i):
        return self.questions[i]["answer"].rsplit("####", 1)[1].strip()

    def arms(self):
        """The rows of the table with their records: a row that shares samples has those of the other."""
        shared = {(c["noise_index"], c["temp_index"]): c.get("samples_of") for c in self.info["meta"]["conditions"]}
        for row in self.table["rows"]:
            at = row["noise_index"], row["temp_index"]
            temp = at[1] if shared[at] is None else shared[at]
            yield row, [r for r in self.records if (r["noise_index"], r["temp_index"]) == (at[0], temp)]


COUNTED = ("ok", "no_answer", "truncated")


def check_flat(run, folder):
    import pandas as pd
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "samples.parquet")
    same("fingerprint in the parquet file", table.schema.metadata[b"gsmeval.fingerprint"].decode(), run.info["fingerprint"])
    frame = table.to_pandas()
    # Texts stay texts: an answer "NA" or "" is no missing number.
    texts = ["question", "gold", "text", "answer", "rung", "error", "samples_of", "t_sha"]
    from_csv = pd.read_csv(folder / "samples.csv", dtype={c: str for c in texts}, keep_default_na=False,
                           na_values={c: [""] for c in ("t_min", "t_max", "t_mean", "mean_alpha", "noise_sites", "noise_elements", "noise_rms_ratio")})
    same("columns of CSV and parquet", list(from_csv.columns), list(frame.columns))
    for column in frame.columns:
        for i, (a, b) in enumerate(zip(frame[column], from_csv[column], strict=True)):
            a = "" if column in texts and pd.isna(a) else a
            if not (a == b or (pd.isna(a) and pd.isna(b))):
                sys.exit(f"row {i}, {column}: {a!r} in parquet, {b!r} in CSV")
    same("rows", len(frame), sum(len(records) for _, records in run.arms()))
    rows = iter(frame.to_dict("records"))
    for row, records in run.arms():
        for r in sorted(records, key=lambda r: (r["replicate"], r["order"])):
            got = next(rows)
            for key in ("run", "noise", "noise_index", "replicate", "id", "order", "text", "tokens", "finish", "status", "correct"):
                same(f"{key} of {got['noise']} {got['id']}", got[key], r[key])
            same("temperature", got["temperature"], row["temperature"])
            same("question", got["question"], run.questions[r["id"]]["question"])
            same("gold", got["gold"], run.gold(r["id"]))
            if r["t_mean"] is None:
                same("no t_mean", bool(pd.isna(got["t_mean"])), True)
            else:
                same("t_mean", got["t_mean"], float(r["t_mean"]))
    # What a user would do: the table's accuracies by a group-by.
    counted = frame[frame["counted"]]
    accuracy = counted.groupby(["noise", "temperature"], sort=False)["correct"].mean()
    for row in run.table["rows"]:
        if row["n"]:
            same(f"accuracy of {row['noise']}, {row['temperature']}", float(accuracy[row["noise"], row["temperature"]]), row["accuracy"])


def check_inspect(run, folder):
    from inspect_ai.analysis import evals_df, samples_df
    from inspect_ai.log import list_eval_logs, read_eval_log, write_eval_log

    logs = {}
    for info in list_eval_logs(str(folder)):
        log = read_eval_log(info)
        logs[log.eval.task_args["noise"], log.eval.task_args["temperature"]] = log
    same("logs", len(logs), len(run.table["rows"]))
    scored = 0
    for row, records in run.arms():
        log = logs[row["noise"], row["temperature"]]
        same("status", log.status, {"complete": "success", "interrupted": "cancelled", "failed": "error", "running": "started"}[run.info["status"]])
        [score] = log.results.scores
        if row["n"]:
            same("accuracy", score.metrics["accuracy"].value, row["accuracy"])
            values = [s.scores[run.ladder].as_str() for s in log.samples if s.scores]
            same("accuracy of the samples", values.count("C") / len(values), row["accuracy"])
        if row["se"] is not None:
            same("stderr", score.metrics["stderr"].value, row["se"])
        by_key = {(s.id, s.epoch): s for s in log.samples}
        same("samples", len(by_key), len(records))
        for r in records:
            s = by_key[r["id"], r["replicate"] + 1]
            same("input", s.input, run.questions[r["id"]]["question"])
            same("target", s.target, run.gold(r["id"]))
            same("completion", s.output.completion, r["text"])
            same("message", s.messages[-1].text, r["text"])
            same("t_mean", s.metadata["t_mean"], r["t_mean"])
            if r["status"] in COUNTED:
                scored += 1
                same("value", s.scores[run.ladder].as_str(), "C" if r["correct"] else "I")
                same("answer", s.scores[run.ladder].answer, r["answer"] if r["rung"] else None)
                same("stop reason", s.output.stop_reason, {"stop": "stop", "length": "max_tokens"}[r["finish"]])
            else:
                same("error", s.error.message, r["error"])
        with tempfile.TemporaryDirectory() as tmp:  # and inspect's own binary format takes it
            write_eval_log(log, tmp + "/log.eval")
            again = read_eval_log(tmp + "/log.eval")
            same("samples in .eval", len(again.samples), len(log.samples))
    same("rows of evals_df", len(evals_df(str(folder), quiet=True)), len(run.table["rows"]))
    same("rows of samples_df", len(samples_df(str(folder), quiet=True)), sum(len(records) for _, records in run.arms()))
    return scored


def check_lm_eval(run, folder):
    import datasets
    datasets.disable_progress_bars()
    from lm_eval.result_schema import EvalResults
    from lm_eval.utils import (get_file_datetime, get_file_task_name, get_latest_filename, get_results_filenames,
                               get_sample_results_filenames, hash_string, make_table, sanitize_model_name)

    names = [str(p) for p in folder.rglob("*")]
    [results_file] = get_results_filenames(names)
    sample_files = get_sample_results_filenames(names)
    same("latest", get_latest_filename([results_file]), results_file)
    same("model folder", pathlib.Path(results_file).parent.name, sanitize_model_name(run.info["config"]["model"]["path"]))
    results = json.loads(pathlib.Path(results_file).read_text())
    unknown = {k for k in results if k not in EvalResults.__annotations__ and not k.startswith("gsmeval_")} - {"start_time", "end_time"}
    same("keys that lm-eval's schema lacks", sorted(unknown), [])
    for key in ("results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "config", "date", "task_hashes"):
        same(f"{key} is there", key in results, True)
    table = make_table(results)  # lm-eval's own printer
    files = {get_file_task_name(pathlib.Path(f).name): f for f in sample_files}
    same("tasks", sorted(files), sorted(results["results"]))
    same("date", {get_file_datetime(pathlib.Path(f).name) for f in sample_files}, {get_file_datetime(pathlib.Path(results_file).name).replace(".json", "")})
    tasks = {(c["metadata"]["noise"], c["metadata"]["temperature"]): t for t, c in results["configs"].items()}
    for row, records in run.arms():
        task = tasks[row["noise"], row["temperature"]]
        metric = results["results"][task]
        records = [r for r in records if r["status"] in COUNTED]
        if not records:
            continue
        same("accuracy", metric[f"exact_match,{run.ladder}"], row["accuracy"])
        same("stderr", metric[f"exact_match_stderr,{run.ladder}"], "N/A" if row["se"] is None else row["se"])
        same("value in the table", f"{row['accuracy']:.4f}" in table or f"|{row['accuracy']:g}" in table.replace(" ", ""), True)
        # As lm-eval's own card does, and line by line.
        with tempfile.TemporaryDirectory() as cache:
            loaded = datasets.load_dataset("json", data_files=files[task], split="train", cache_dir=cache)
            same("samples", len(loaded), len(records))
            same("mean of exact_match", sum(loaded["exact_match"]) / len(loaded), row["accuracy"])
        lines = [json.loads(line) for line in pathlib.Path(files[task]).read_text().split("\n") if line]
        hashes = ""
        for s, r in zip(lines, sorted(records, key=lambda r: (r["replicate"], r["order"])), strict=True):
            same("doc_id", s["doc_id"], r["id"])
            same("doc", s["doc"], {k: run.questions[r["id"]][k] for k in ("question", "answer")})
            same("target", s["target"], run.gold(r["id"]))
            same("resps", s["resps"], [[r["text"]]])
            same("filtered_resps", s["filtered_resps"], [r["answer"]])
            same("exact_match", s["exact_match"], 1.0 if r["correct"] else 0.0)
            same("doc_hash", s["doc_hash"], hash_string(json.dumps(s["doc"], indent=2, ensure_ascii=False)))
            same("prompt_hash", s["prompt_hash"], hash_string(s["arguments"]["gen_args_0"]["arg_0"]))
            same("target_hash", s["target_hash"], hash_string(s["target"]))
            hashes += s["doc_hash"] + s["prompt_hash"] + s["target_hash"]
        same("task_hash", results["task_hashes"][task], hashlib.sha256(hashes.encode()).hexdigest())
    return table


def main():
    import importlib.metadata

    for name, version in PINNED.items():
        same(f"version of {name}", importlib.metadata.version(name), version)
    run = Run(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    folder = pathlib.Path(sys.argv[3])
    check_flat(run, folder)
    scored = check_inspect(run, folder / "inspect")
    check_lm_eval(run, folder / "lm-eval")
    print(f"checked {len(run.table['rows'])} conditions, {scored} scored samples: pandas, pyarrow, inspect_ai and lm_eval agree with the run")


if __name__ == "__main__":
    main()
