"""Softmax: outputs that add up to one, by its formula and by torch."""

import numpy as np
import torch

W = np.array([[1.1, 1.2, 0.8, 0.4], [0.2, 0.4, 1.0, 0.2], [0.6, 1.5, 1.2, 0.7]])
A = np.array([[1, 0.1, 0.4, 0.6]])
Z = np.dot(W, A[0])
y_probas = np.exp(Z) / np.sum(np.exp(Z))
print("Probabilities:", y_probas)
print(round(float(np.sum(y_probas)), 12))
print(torch.softmax(torch.from_numpy(Z), dim=0).numpy())
