"""Which way a metric is better."""

HIGHER_IS_BETTER = ("accuracy", "r2")

SEVERAL = "objective"  # what it is called where jobs have different metrics as theirs, which nobody can compare


def minimised(column: str) -> bool:
    """True for a metric, or a column of metrics.csv, of which less is better."""
    return not column.endswith(HIGHER_IS_BETTER)
