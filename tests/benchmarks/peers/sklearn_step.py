"""scikit-learn's MLPClassifier on the same rows: an epoch at a time through partial_fit."""

import sys
import time
import warnings

from plain import read_rows
from sklearn.neural_network import MLPClassifier

warnings.simplefilter("ignore")
x, y = (part.numpy() for part in read_rows(sys.argv[1]))
model = MLPClassifier(
    (16,), activation="logistic", batch_size=2, learning_rate_init=0.001, shuffle=True, random_state=1
)
model.partial_fit(x, y, classes=[0, 1, 2])
for _line in sys.stdin:
    start = time.process_time()
    for _ in range(int(sys.argv[2])):
        model.partial_fit(x, y)
    print(time.process_time() - start, flush=True)
