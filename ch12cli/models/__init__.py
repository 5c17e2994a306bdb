"""Builders of the networks that ch12 ships."""

from ch12cli.models.convolutional import cnn
from ch12cli.models.feedforward import linear, mlp

__all__ = ["cnn", "linear", "mlp"]
