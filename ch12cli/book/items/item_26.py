"""A layer of three units: net inputs, logistic outputs (which are no probabilities of classes), the class by argmax."""

import numpy as np

W = np.array([[1.1, 1.2, 0.8, 0.4], [0.2, 0.4, 1.0, 0.2], [0.6, 1.5, 1.2, 0.7]])
A = np.array([[1, 0.1, 0.4, 0.6]])
Z = np.dot(W, A[0])
y_probas = 1.0 / (1.0 + np.exp(-Z))
print("Net Input:", Z)
print("Output Units:", y_probas)
print("Predicted class label:", np.argmax(Z, axis=0))
