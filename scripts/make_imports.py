#!/usr/bin/env python3
"""Lets lm-evaluation-harness, inspect_ai and lighteval evaluate a model that answers from a list, for what `gsmeval score` reads.

    pip install -r scripts/requirements-exports.txt
    python scripts/make_imports.py DATA.jsonl ANSWERS.jsonl OUT
    pip install -r scripts/requirements-lighteval.txt                     # in an environment of its own; it needs torch
    python scripts/make_imports.py DATA.jsonl ANSWERS.jsonl OUT lighteval

DATA.jsonl has question and answer, ANSWERS.jsonl an object a line with id, the row's number, and text; two lines of one id are two
tries. OUT gets lm-eval/samples_*.jsonl, inspect/*.json and lighteval/.../details_*.parquet as the tools themselves write them.
"""
import json
import pathlib
import sys


def read(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().split("\n") if line]


def lm_eval(questions, answers, out):
    from lm_eval import evaluator
    from lm_eval.api.model import LM
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.loggers import EvaluationTracker

    by_question = {q["question"]: answers[i] for i, q in enumerate(questions)}
    seen = {}

    class Listed(LM):
        def loglikelihood(self, requests):
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

        def generate_until(self, requests):
            texts = []
            for r in requests:
                tries = by_question[r.doc["question"]]
                n = seen.get(r.doc_id, 0)
                seen[r.doc_id] = n + 1
                texts.append(tries[n % len(tries)])
            return texts

    data = pathlib.Path(out) / "data.jsonl"
    data.write_text("".join(json.dumps(q) + "\n" for q in questions))
    # Two filters, as the harness's own gsm8k has: a sample stands in the file once for each.
    number = {"function": "regex", "regex_pattern": r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "group_select": -1}
    task = ConfigurableTask(config={
        "task": "listed_gsm8k", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}, "test_split": "test",
        "output_type": "generate_until", "doc_to_text": "Question: {{question}}\nAnswer:", "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["Question:"], "do_sample": True, "temperature": 1.0}, "repeats": max(map(len, answers)),
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [
            {"name": "strict-match", "filter": [{"function": "regex", "regex_pattern": r"#### (\-?[0-9\.\,]+)"}, {"function": "take_first"}]},
            {"name": "flexible-extract", "filter": [number, {"function": "take_first"}]},
        ],
    })
    results = evaluator.simple_evaluate(model=Listed(), tasks=[task], log_samples=True, bootstrap_iters=0)
    tracker = EvaluationTracker(output_path=str(pathlib.Path(out) / "lm-eval"))
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name in samples:
        tracker.save_results_samples(task_name=name, samples=samples[name])


def inspect(questions, answers, out):
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ModelOutput, get_model
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate, solver

    outputs = {(i, n): text for i, tries in enumerate(answers) for n, text in enumerate(tries)}
    epochs = max(map(len, answers))

    @solver
    def listed():
        async def solve(state, _generate):
            text = outputs[state.sample_id, (state.epoch - 1) % len(answers[state.sample_id])]
            state.output = ModelOutput.from_content("listed", text, stop_reason="max_tokens" if text.endswith(" and") else "stop")
            state.messages.append(state.output.message)
            return state
        return solve

    del generate  # nothing is generated
    samples = [Sample(id=i, input=q["question"], target=q["answer"].rsplit("####", 1)[1].strip()) for i, q in enumerate(questions)]
    eval(Task(name="listed_gsm8k", dataset=MemoryDataset(samples), solver=listed(), scorer=match(numeric=True)), epochs=epochs,
         model=get_model("mockllm/model"), log_dir=str(pathlib.Path(out) / "inspect"), log_format="json", display="none")


def lighteval(questions, answers, out):
    import os
    import types

    os.environ["HF_HOME"] = str(pathlib.Path(out).resolve() / "cache")  # of answers too: a second run would get those of the first
    from lighteval.logging.evaluation_tracker import EvaluationTracker
    from lighteval.metrics.metrics import Metrics
    from lighteval.models.abstract_model import LightevalModel, ModelConfig
    from lighteval.models.model_output import ModelResponse
    from lighteval.pipeline import ParallelismManager, Pipeline, PipelineParameters
    from lighteval.tasks.lighteval_task import LightevalTaskConfig
    from lighteval.tasks.registry import Registry
    from lighteval.tasks.requests import Doc
    from lighteval.utils.cache_management import SampleCache

    # The built-in tasks ask the hub for models and for files while they are loaded, and none of them is run here.
    Registry._load_from_files = Registry._load_from_subdirs = staticmethod(lambda *_: {})
    data = pathlib.Path(out) / "data"
    data.mkdir(exist_ok=True)
    (data / "test.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions))

    def prompt(line, task_name=None):  # as lighteval's own gsm8k
        return Doc(task_name=task_name, query=f"Question: {line['question']}\nAnswer:", choices=[f" {line['answer']}"], gold_index=0)

    tasks = types.ModuleType("listed_tasks")
    tasks.TASKS_TABLE = [LightevalTaskConfig(
        name="listed_gsm8k", prompt_function=prompt, hf_repo=str(data), hf_subset="default", hf_avail_splits=["test"],
        evaluation_splits=["test"], few_shots_split=None, few_shots_select=None, generation_size=256, stop_sequence=["Question:"],
        metrics=[Metrics.avg_at_n(sample_params={"n": max(map(len, answers))})])]

    class Listed(LightevalModel):
        tokenizer = property(lambda self: None)
        add_special_tokens = property(lambda self: False)
        max_length = property(lambda self: 2048)

        def __init__(self):
            self.config = ModelConfig(model_name="listed")
            self._cache = SampleCache(self.config)

        def greedy_until(self, docs):
            responses = []
            for doc in docs:
                tries = answers[int(doc.id)]
                texts = [tries[n % len(tries)] for n in range(doc.num_samples)]
                tokens = [[len(word) for word in t.split()] for t in texts]
                responses.append(ModelResponse(input=doc.query, text=texts, output_tokens=tokens))
            return responses

        def loglikelihood(self, docs):
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    pipeline = Pipeline(
        tasks="listed_gsm8k|0", evaluation_tracker=EvaluationTracker(output_dir=str(pathlib.Path(out) / "lighteval")), model=Listed(),
        pipeline_parameters=PipelineParameters(launcher_type=ParallelismManager.NONE, custom_tasks_directory=tasks, bootstrap_iters=0))
    pipeline.evaluate()
    pipeline.save_and_push_results()


def main():
    questions = read(sys.argv[1])
    answers = [[] for _ in questions]
    for a in read(sys.argv[2]):
        answers[a["id"]].append(a["text"])
    pathlib.Path(sys.argv[3]).mkdir(parents=True, exist_ok=True)
    for tool in sys.argv[4:] or ["lm_eval", "inspect"]:
        {"lm_eval": lm_eval, "inspect": inspect, "lighteval": lighteval}[tool](questions, answers, sys.argv[3])


if __name__ == "__main__":
    main()
