"""The shipped flowers are Fisher's."""

import numpy as np
import pytest

from ch12cli.data import iris

# Fisher 1936, table 2: means in cm of sepal length and width, petal length and width
FISHER_MEANS = {
    "setosa": [5.006, 3.428, 1.462, 0.246],
    "versicolor": [5.936, 2.770, 4.260, 1.326],
    "virginica": [6.588, 2.974, 5.552, 2.026],
}


@pytest.mark.parametrize("species", FISHER_MEANS)
def test_each_species_has_fifty_flowers_with_the_means_of_fishers_paper(species):
    flowers = iris()
    chosen = flowers.features[flowers.target == flowers.class_names.index(species)]
    assert chosen.shape == (50, 4)
    np.testing.assert_allclose(chosen.mean(axis=0), FISHER_MEANS[species], rtol=0, atol=1e-12)


def test_the_two_flowers_that_differ_in_uci_are_as_in_the_paper():
    flowers = iris()
    assert flowers.features[34].tolist() == [4.9, 3.1, 1.5, 0.2]
    assert flowers.features[37].tolist() == [4.9, 3.6, 1.4, 0.1]


def test_the_flowers_have_names_and_float64_features():
    flowers = iris()
    assert flowers.features.dtype == np.float64
    assert flowers.feature_names == ("sepal_length", "sepal_width", "petal_length", "petal_width")
    assert flowers.target_name == "species"
    assert flowers.class_names == ("setosa", "versicolor", "virginica")
    assert "Fisher 1936" in flowers.source
