"""Optuna calls the plain loop, a trial at a time: seconds for each trial, without the first.

optuna_plain.py IRIS.CSV TRIALS EPOCHS
"""

import sys
import time

import optuna
import torch
from plain import Plain, read_rows

torch.set_num_threads(1)
optuna.logging.set_verbosity(optuna.logging.ERROR)
x, y = read_rows(sys.argv[1])
trials, epochs = int(sys.argv[2]), int(sys.argv[3])


def objective(trial: optuna.Trial) -> float:
    plain = Plain(x, y)
    for group in plain.optimizer.param_groups:
        group["lr"] = trial.suggest_float("lr", 1e-4, 1, log=True)
        group["weight_decay"] = trial.suggest_float("weight_decay", 1e-6, 0.1, log=True)
        group["eps"] = trial.suggest_float("eps", 1e-10, 1e-3, log=True)
    for _ in range(epochs):
        plain.epoch()
    with torch.no_grad():
        return float(torch.nn.functional.cross_entropy(plain.model(x), y))


study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
study.optimize(objective, n_trials=1)
start = time.perf_counter()
study.optimize(objective, n_trials=trials)
print((time.perf_counter() - start) / trials)
