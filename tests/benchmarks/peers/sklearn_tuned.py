"""scikit-learn's network under a random search that may spend so much processor time, and its score on the test rows.

sklearn_tuned.py TABLE.CSV KIND TEST_ROWS SECONDS

As RandomizedSearchCV: settings drawn at random, each scored by a five-fold cross-validation, the best fitted to all
rows that are not for the test. It goes on until the time is spent, in place of a number of settings.
"""

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd
from scipy.stats import loguniform
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import ParameterSampler, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

warnings.simplefilter("ignore")
file, kind, test_rows, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
table = pd.read_csv(file)
x, y = table.drop(columns="target").to_numpy(), table["target"].to_numpy()
x_train, x_test, y_train, y_test = x[:-test_rows], x[-test_rows:], y[:-test_rows], y[-test_rows:]
SPACE = {
    "hidden_layer_sizes": [(8,), (32,), (128,), (8, 8), (32, 32), (128, 128)],
    "activation": ["relu", "tanh"],
    "solver": ["adam", "sgd"],
    "learning_rate_init": loguniform(1e-4, 0.1),
    "alpha": loguniform(1e-6, 1.0),
    "batch_size": [8, 32, 128],
    "early_stopping": [False, True],
}


def model(parameters: dict[str, object]) -> object:
    if kind == "classes":
        return make_pipeline(StandardScaler(), MLPClassifier(random_state=1, **parameters))
    network = make_pipeline(StandardScaler(), MLPRegressor(random_state=1, **parameters))
    return TransformedTargetRegressor(network, transformer=StandardScaler())


best, tried, start = (-np.inf, {}), 0, time.process_time()
for parameters in ParameterSampler(SPACE, 10**6, random_state=1):
    score = float(np.nan_to_num(cross_val_score(model(parameters), x_train, y_train, cv=5).mean(), nan=-np.inf))
    tried += 1
    if score > best[0]:
        best = score, parameters
    if time.process_time() - start > seconds:
        break
fitted = model(best[1]).fit(x_train, y_train)
print(json.dumps({"tried": tried, "test": fitted.score(x_test, y_test), "seconds": time.process_time() - start}))
