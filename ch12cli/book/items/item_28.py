"""tanh, the logistic function and ReLU from -5 to 5, by formula, by NumPy and by torch: first and last values."""

import numpy as np
import torch

z = np.arange(-5, 5, 0.005)


def ends(values: np.ndarray) -> None:
    print(np.array([values[0], values[-1]]))


ends((np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)))
ends(np.tanh(z))
ends(torch.tanh(torch.from_numpy(z)).numpy())
ends(1 / (1 + np.exp(-z)))
ends(torch.sigmoid(torch.from_numpy(z)).numpy())
relu = torch.relu(torch.from_numpy(z))
print(f"{relu[0].item():.0f} {relu[-1].item():.4f}")
