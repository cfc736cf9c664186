"""Accuracy against rank: which lines there are, and what stands on them."""

import pandas as pd

from fltac.report.fronts import configurations
from fltac.report.ranks import LINES, accuracy_against_rank


def points(**more):
    """Two models, ranks 1 and 4, three seeds; the rate that was best is another at each rank."""
    found = []
    for layers in (2, 6):
        for rank in (4, 1):
            for seed in (0, 1, 2):
                row = {"sweep": "s", "point": len(found), "seed": seed, "method": "fltac", "adapter.rank": rank}
                row |= {"model.num_hidden_layers": layers, "training.learning_rate": 1e-3 * rank, "round": 1}
                accuracy = layers / 10 + rank / 100 + seed / 10
                row |= {"last": True, "bytes": rank, "accuracy": accuracy, "validation": accuracy}
                found.append(row | {"accuracy.mood": accuracy / 2} | more)
    return pd.DataFrame(found)


def figure_of(table):
    return accuracy_against_rank(configurations(table), table, ["training.learning_rate"])


def test_a_line_is_all_but_the_rank_and_what_was_chosen():
    figure = figure_of(points())
    lines = [trace for trace in figure.data if trace.name]
    assert [trace.name for trace in lines] == ["model.num_hidden_layers=2", "model.num_hidden_layers=6"] * 2
    small, _, small_mood, _ = lines
    assert list(small.x) == [1, 4]
    assert [round(value, 6) for value in small.y] == [0.31, 0.34]  # means over seeds
    assert [round(value, 6) for value in small_mood.y] == [0.155, 0.17]
    assert all(half > 0 for half in small.error_y.array)
    assert all(half > 0 for half in small.error_y.arrayminus)
    assert [text.text for text in figure.layout.annotations] == ["mean", "mood"]


def test_behind_each_mean_are_its_seeds_and_no_interval_of_two():
    table = points()
    seeds, line = figure_of(table).data[:2]
    assert (seeds.legendgroup, line.legendgroup) == ("model.num_hidden_layers=2",) * 2
    behind = sorted(zip(seeds.x, (round(value, 6) for value in seeds.y), strict=True))
    assert behind == [(1, 0.21), (1, 0.31), (1, 0.41), (4, 0.24), (4, 0.34), (4, 0.44)]
    two = figure_of(table[table["seed"] < 2]).data[1].error_y
    assert (set(two.array), set(two.arrayminus)) == ({0}, {0})


def test_there_is_no_figure_of_one_rank_nor_of_too_many_lines():
    assert figure_of(points(**{"adapter.rank": 2})) is None
    table = points()
    assert figure_of(pd.concat([table.assign(**{"training.steps": steps}) for steps in range(LINES)])) is None


def test_one_line_needs_no_name():
    table = points()
    figure = figure_of(table[table["model.num_hidden_layers"] == 2])
    assert [trace.name for trace in figure.data if trace.name] == ["all", "all"]
    assert not figure.layout.showlegend
