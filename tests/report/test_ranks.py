"""Accuracy against rank: which lines there are, and what stands on them."""

import pandas as pd

from fltac.report.fronts import configurations
from fltac.report.ranks import LINES, accuracy_against_rank


def rows(**more):
    """Two models, ranks 1 and 4, two seeds; the rate that was best is another at each rank."""
    found = []
    for layers in (2, 6):
        for rank in (4, 1):
            for seed in (0, 1):
                row = {"sweep": "s", "point": len(found), "seed": seed, "method": "fltac", "adapter.rank": rank}
                row |= {"model.num_hidden_layers": layers, "training.learning_rate": 1e-3 * rank, "round": 1}
                accuracy = layers / 10 + rank / 100 + seed / 10
                row |= {"last": True, "bytes": rank, "accuracy": accuracy, "validation": accuracy}
                found.append(row | {"accuracy.mood": accuracy / 2} | more)
    return configurations(pd.DataFrame(found))


def test_a_line_is_all_but_the_rank_and_what_was_chosen():
    figure = accuracy_against_rank(rows(), ["training.learning_rate"])
    assert [trace.name for trace in figure.data] == ["model.num_hidden_layers=2", "model.num_hidden_layers=6"] * 2
    small, _, small_mood, _ = figure.data
    assert list(small.x) == [1, 4]
    assert [round(value, 6) for value in small.y] == [0.26, 0.29]  # means over seeds
    assert [round(value, 6) for value in small_mood.y] == [0.13, 0.145]
    assert all(half > 0 for half in small.error_y.array)
    assert [text.text for text in figure.layout.annotations] == ["mean", "mood"]


def test_there_is_no_figure_of_one_rank_nor_of_too_many_lines():
    assert accuracy_against_rank(rows(**{"adapter.rank": 2})) is None
    table = rows()
    many = pd.concat([table.assign(**{"training.steps": steps}) for steps in range(LINES)])
    assert accuracy_against_rank(many, ["training.learning_rate"]) is None


def test_one_line_needs_no_name():
    table = rows()
    figure = accuracy_against_rank(table[table["model.num_hidden_layers"] == 2], ["training.learning_rate"])
    assert [trace.name for trace in figure.data] == ["all", "all"]
    assert not figure.layout.showlegend
