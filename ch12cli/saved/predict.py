"""`ch12 predict`: predictions of a saved run's network for new rows."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from ch12cli.config.combinations import IDX, IMAGE_FOLDER
from ch12cli.config.run_settings import RunSettings
from ch12cli.config.targets import call
from ch12cli.config.untrusted_settings import NO_USE
from ch12cli.data.columns import Column, columns_from_plain
from ch12cli.data.new_rows import NewRows, names_of_frame, read_rows, rows_of_frame
from ch12cli.data.own_datasets import as_numbers
from ch12cli.data.pictures.idx import is_idx, read_new_idx
from ch12cli.data.pictures.image_folder import read_new_images
from ch12cli.data.scaling import scaling_from_plain, target_scaling_from_plain
from ch12cli.data.text_file import Layout
from ch12cli.errors import InputError, first_line
from ch12cli.run.predictions.of_rows import predictions
from ch12cli.run.torch_settings import torch_settings
from ch12cli.saved.load import Saved, read_saved
from ch12cli.saved.network import ends_of, on_this_machine, trained_network
from ch12cli.training.metrics import predicted_classes, probabilities

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for rows.

    values: (rows,), the predicted values or class numbers; class_names: None for regression; probabilities: (rows,
    classes), or None for regression.
    """

    rows: NewRows
    target: str
    values: Values
    class_names: tuple[str, ...] | None
    probabilities: Values | None
    messages: list[str]


def predict(
    directory: Path,
    content: bytes | None,
    *,
    source: str,
    best: bool = False,
    trust: bool = False,
    allow_unseen: bool = False,
) -> Predictions:
    """Returns predictions for images or for the rows of a CSV file, whose columns are matched by name.

    The data set is not read; the scaling is the one saved with the run. source: the file's name for messages, or a
    folder, with content None. allow_unseen: a text that did not occur in training is none of those of its column.
    Raises InputError for rows that the network cannot process.
    """
    saved = read_saved(directory, best=best, trust=trust, uses=NO_USE)
    rows = new_rows(saved, content, source=source, allow_unseen=allow_unseen)
    del content  # which may be large
    return _predict(saved, rows)


def predict_features(
    directory: Path, features: ArrayLike, *, best: bool = False, trust: bool = False, allow_unseen: bool = False
) -> Predictions:
    """Returns predictions for a data frame, whose columns are matched by name, or for an array of unscaled features.

    The columns of an array, (rows, features), are those of the training. allow_unseen: as in predict.
    """
    saved = read_saved(directory, best=best, trust=trust, uses=NO_USE)
    if names_of_frame(features) is not None:
        return _predict(
            saved,
            rows_of_frame(features, training_columns(saved), allow_missing=has_fill(saved), allow_unseen=allow_unseen),
        )
    columns = len(saved.state["feature_names"])
    try:
        given = as_numbers(features)
        if given.dtype.kind not in "biufOUS":
            raise TypeError(f"it holds {given.dtype}")
        array = given.astype(np.float64)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"rows: cannot be converted to an array of numbers ({first_line(str(error))})") from None
    if array.ndim != 2 or array.shape[1] != columns or not len(array):
        raise InputError(f"rows: have shape {array.shape}; must be (rows, {columns}), as in training")
    if np.isnan(array).any() and not has_fill(saved):
        raise InputError("rows: have missing values (NaN), and the training data had none; fill them in")
    return _predict(saved, NewRows("rows", array, range(1, len(array) + 1), [], []))


def load_network(directory: Path, *, best: bool = False, trust: bool = False) -> nn.Module:
    """Returns a saved run's network with its weights, in evaluation mode.

    The network is on the run's device if this machine has it, else on the default device.
    """
    saved = read_saved(directory, best=best, trust=trust, uses=NO_USE)
    settings, _ = on_this_machine(saved.settings)
    with torch_settings(settings.machine) as device:
        return trained_network(settings, saved.state, device, where=str(directory)).module.eval()


def _predict(saved: Saved, rows: NewRows) -> Predictions:
    """Returns the predictions for rows. Raises InputError if an input or output is not finite."""
    directory = saved.directory
    settings, messages = on_this_machine(saved.settings)
    ends = ends_of(settings, saved.state, where=str(directory))
    with torch_settings(settings.machine) as device:
        network = trained_network(settings, saved.state, device, where=str(directory))
        x = torch.from_numpy(scaled(saved, rows)).to(network.dtype)
        require_finite(torch.isfinite(x), rows, saved.state["feature_names"], why="is too large for the network")
        prediction = call("model", predictions, {}, network, x.to(device))
        if not isinstance(prediction, torch.Tensor) or tuple(prediction.shape) != (len(x), ends.outputs):
            raise InputError(f"{directory}: its network does not give {ends.outputs} values for a row")
    finite = torch.isfinite(prediction).all(1, keepdim=True).cpu()
    require_finite(
        finite, rows, None, why="the network gives no finite answer; its values are far from those trained on"
    )
    classes = ends.classes
    found = predicted_classes(prediction, output=ends.output) if classes else prediction[:, 0]
    shares = probabilities(prediction, output=ends.output).cpu().numpy() if classes else None
    warnings = [f"skipped: {message}" for message in saved.skipped]
    values = found.cpu().double().numpy()
    scaling = target_scaling_from_plain(saved.state.get("target_scaling"), str(directory))
    if scaling is not None and not classes:
        values = scaling.restore(values)
    return Predictions(rows, saved.state["target_name"], values, classes, shares, [*warnings, *messages, *rows.notes])


def new_rows(saved: Saved, content: bytes | None, *, source: str, allow_unseen: bool) -> NewRows:
    """Returns the rows to predict: images if the run was trained on images, else the rows of a CSV file."""
    if saved.settings.data.source.path in (IDX, IMAGE_FOLDER):
        shape = saved.state["shape"]
        if shape is None or shape[0] not in (1, 3):
            raise InputError(f"{saved.directory}: its checkpoint does not say how large its images are")
        if content is not None and is_idx(content):
            return read_new_idx(content, tuple(shape), source=source)
        return read_new_images(content, tuple(shape), source=source)
    if content is None:
        raise InputError(f"{source}: is a directory; give a CSV file")
    return read_rows(
        content,
        training_columns(saved),
        source=source,
        layout=layout_of(saved.settings),
        allow_missing=has_fill(saved),
        allow_unseen=allow_unseen,
    )


def training_columns(saved: Saved) -> list[Column]:
    """Returns the columns that the run was trained on."""
    return columns_from_plain(saved.state["encoding"], saved.state["feature_names"], str(saved.directory))


def layout_of(settings: RunSettings) -> Layout:
    """Returns the layout of the CSV file that the run was trained on; the default layout for other data sets."""
    given = settings.data.source.arguments
    return Layout(**{field.name: given[field.name] for field in fields(Layout) if field.name in given})


def has_fill(saved: Saved) -> bool:
    """Returns whether the saved scaling has a fill value for missing values."""
    return saved.state["scaling"].get("fill") is not None


def scaled(saved: Saved, rows: NewRows) -> NDArray[Any]:
    """Returns the features converted to the training data's type and scaled with the saved scaling."""
    with np.errstate(over="ignore", invalid="ignore"):  # require_finite checks later and names the row
        features = rows.features.astype(saved.state["feature_type"], copy=False)
        return np.ascontiguousarray(scaling_from_plain(saved.state["scaling"], str(saved.directory)).apply(features))


def require_finite(finite: torch.Tensor, rows: NewRows, names: list[str] | None, *, why: str) -> None:
    """Raises InputError that names the first value, or row, that is not finite. finite: (rows, columns)."""
    wrong = (~finite).nonzero()
    if len(wrong):
        row, column = wrong[0].tolist()
        where = rows.location(row)
        where += f", column {names[column]}: {rows.features[row, column]:g}" if names else ":"
        more = f" ({len(wrong)} such values)" if len(wrong) > 1 else ""
        raise InputError(f"{where} {why}{more}")
