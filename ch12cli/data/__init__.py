"""Data sets as plain numpy: reading, splitting, scaling. Nothing here imports torch.

A data set is a function that returns a Table, or a pair that as_table understands, and a YAML file that names it.
"""

from ch12cli.data.csv_file import csv_file
from ch12cli.data.flowers import iris
from ch12cli.data.own_datasets import datasets
from ch12cli.data.pictures.idx import idx
from ch12cli.data.pictures.image_folder import image_folder
from ch12cli.data.prepared import DataPart, Prepared, prepare
from ch12cli.data.synthetic import toy_regression, two_class
from ch12cli.data.table import Table, as_table

__all__ = [
    "DataPart",
    "Prepared",
    "Table",
    "as_table",
    "csv_file",
    "datasets",
    "idx",
    "image_folder",
    "iris",
    "prepare",
    "toy_regression",
    "two_class",
]
