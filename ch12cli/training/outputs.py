"""What a network's outputs say of a row: its class, and how probable each class is."""

import torch
from torch import Tensor


def decided(prediction: Tensor, *, output: str) -> Tensor:
    """The class of each row, (rows,) int64, decided as the accuracy decides it. prediction: (rows, outputs).

    output: the network's output activation; of two classes with one output it says where the threshold is.
    """
    if prediction.shape[-1] > 1:
        return prediction.argmax(-1)
    return (prediction[..., 0] >= (0.0 if output == "none" else 0.5)).long()


def probabilities(prediction: Tensor, *, output: str) -> Tensor:
    """The probability of each class, (rows, classes) float64, every row's sum 1. prediction: (rows, outputs).

    What the network gives as probabilities (softmax, one sigmoid) or their logarithms stays what it is; anything else
    is taken for logits, as the losses take it.
    """
    prediction = prediction.double()
    if prediction.shape[-1] == 1:
        second = prediction if output == "sigmoid" else torch.sigmoid(prediction)
        return torch.cat([1 - second, second], -1)
    if output == "softmax":
        return prediction
    return torch.softmax(prediction, -1)  # of log-probabilities too: it gives them back
