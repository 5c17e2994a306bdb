"""Builders of the built-in networks."""

from ch12cli.models.averaging import ensemble
from ch12cli.models.convolutional import cnn
from ch12cli.models.feedforward import linear, mlp

__all__ = ["cnn", "ensemble", "linear", "mlp"]
