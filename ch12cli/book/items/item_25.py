"""The logistic function of a net input: the probability of the positive class."""

import numpy as np

X = np.array([1, 1.4, 2.5])  # the first value must be 1: it goes with the bias
w = np.array([0.4, 0.3, 0.5])


def net_input(x: np.ndarray, weights: np.ndarray) -> float:
    return float(np.dot(x, weights))


def logistic(z: float) -> float:
    return float(1.0 / (1.0 + np.exp(-z)))


print(f"P(y=1|x) = {logistic(net_input(X, w)):.3f}")
