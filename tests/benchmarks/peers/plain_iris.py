"""The chapter's Iris script, whole: the split by scikit-learn, 100 epochs, the test accuracy.

plain_iris.py: the rows from scikit-learn. plain_iris.py IRIS.CSV: without it, the rows from a file.
"""

import sys

import torch
from plain import Plain, read_rows

if len(sys.argv) > 1:
    x, y = read_rows(sys.argv[1])
    x_test, y_test = x, y
else:
    import numpy as np
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split

    iris = load_iris()
    X_train, X_test, y_train, y_test = train_test_split(iris["data"], iris["target"], test_size=1.0 / 3, random_state=1)
    mean, std = np.mean(X_train), np.std(X_train)
    x, y = torch.from_numpy((X_train - mean) / std).float(), torch.from_numpy(y_train)
    x_test, y_test = torch.from_numpy((X_test - mean) / std).float(), torch.from_numpy(y_test)

plain = Plain(x, y)
for _ in range(100):
    plain.epoch()
prediction = plain.model(x_test)
correct = (torch.argmax(prediction, dim=1) == y_test).float()
print(f"Test Acc.: {correct.mean():.4f}")
