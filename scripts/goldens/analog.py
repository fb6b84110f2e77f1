#!/usr/bin/env python3
"""Means and standard deviations of analog weights, from aihwkit's and the analog foundation models' own code.

    pip install torch==2.11.0 numpy==2.4.6
    git clone https://github.com/IBM/aihwkit && git -C aihwkit checkout 4545f11b5214c5e3c6b9d293053bbf8baf74e110
    git clone https://github.com/IBM/analog-foundation-models afm && git -C afm checkout 4f4c505b9d9af43af289788b3a29eeecaeb4e1ab
    python scripts/goldens/analog.py aihwkit afm      # writes noise/operation/testdata/analog.json

Ten weights, 0.05, 0.15, ... 0.95 of the absmax, a million draws of each: what they are read as. aihwkit's package wants its compiled
simulator; the noise models are plain torch, and are imported without it.
"""

import importlib
import json
import pathlib
import sys
import types

import torch

OUT = pathlib.Path(__file__).resolve().parents[2] / "noise" / "operation" / "testdata" / "analog.json"
WEIGHTS = [0.05 + 0.1 * i for i in range(10)]
TIMES = [0.0, 1.0, 3600.0, 365.25 * 86400]
RERAM_TIMES = [1.0, 86400.0, 172800.0]  # all that there is data for
DRAWS = 1_000_000


def noise_models(root):
    for name in ("aihwkit", "aihwkit.inference", "aihwkit.inference.noise", "aihwkit.inference.converter"):
        package = types.ModuleType(name)
        package.__path__ = [str(pathlib.Path(root, "src", *name.split(".")))]
        sys.modules[name] = package
    pcm_model = importlib.import_module("aihwkit.inference.noise.pcm").PCMLikeNoiseModel()
    # The polynomials are of a largest conductance of 40 uS; the converter's default is 25.
    return pcm_model, importlib.import_module("aihwkit.inference.noise.reram").ReRamWan2022NoiseModel(g_max=40.0)


def moments(weights):
    return {"mean": weights.mean(0).tolist(), "sd": weights.std(0).tolist()}


def read(model, time):
    """A matrix of draws by weights; its absmax is 1, of one element that is left out."""
    sums = torch.zeros(2, len(WEIGHTS), dtype=torch.float64)
    for _ in range(10):
        w = torch.tensor(WEIGHTS).repeat(DRAWS // 10, 1)
        w = torch.cat([w, torch.ones(len(w), 1)], 1)
        targets, how = model.g_converter.convert_to_conductances(w)
        found = []
        for g in targets:
            programmed = model.apply_programming_noise_to_conductance(g.clone())
            found.append(model.apply_drift_noise_to_conductance(programmed, model.generate_drift_coefficients(g), time))
        y = model.g_converter.convert_back_to_weights(found, how)[:, :-1].double()
        sums += torch.stack([y.sum(0), (y * y).sum(0)])
    mean, square = sums / DRAWS
    return {"time": time, "mean": mean.tolist(), "sd": (square - mean * mean).sqrt().tolist()}


def afm(root, noise_type, size):
    sys.path.insert(0, root)
    module = importlib.import_module("apply_noise_model")
    w = torch.tensor(WEIGHTS + [1.0]).repeat(DRAWS, 1)
    config = module.NoiseConfig(noise_type=noise_type, max_inp_size=size)
    f = module.add_PCM_noise if noise_type == "pcm" else module.add_additive_noise
    return moments(f(w, config)[:, :-1].double())


def main():
    torch.manual_seed(3)
    sys.modules["transformers"] = types.SimpleNamespace(AutoModelForCausalLM=None)
    pcm, reram = noise_models(sys.argv[1])
    golden = {
        "weights": WEIGHTS, "pcm": [read(pcm, t) for t in TIMES], "afm_pcm": afm(sys.argv[2], "pcm", -1),
        "additive_row": afm(sys.argv[2], "additive", -1), "additive_tile_5": afm(sys.argv[2], "additive", 5),
        "reram": [read(reram, t) for t in RERAM_TIMES],
    }
    OUT.write_text(json.dumps(golden, indent=1) + "\n")


main()
