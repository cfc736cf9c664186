"""Fronts, intervals, costs and the recommendation, by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fltac.errors import InputError
from fltac.report.fronts import bytes_to_reach, chosen, configurations, interval, on_front
from fltac.report.recommend import recommend


def sweep(rows: dict[tuple[str, int], list[list[tuple[float, float]]]], validation: bool = True) -> pd.DataFrame:
    """(method, rank) -> a list a seed of (bytes, accuracy) a round."""
    found = []
    for (method, rank), seeds in rows.items():
        for seed, rounds in enumerate(seeds):
            for number, (size, accuracy) in enumerate(rounds, 1):
                row = {"sweep": "s", "point": len(found), "seed": seed, "method": method, "adapter.rank": rank}
                row |= {"round": number, "last": number == len(rounds), "bytes": size, "accuracy": accuracy}
                found.append(row | {"validation": accuracy if validation else None, "accuracy.mood": accuracy})
    return pd.DataFrame(found)


def seeds(size: float, *accuracies: float) -> list[list[tuple[float, float]]]:
    return [[(size, accuracy)] for accuracy in accuracies]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=8, unique=True))
def test_the_front_is_what_nothing_else_beats(points):
    size, accuracy = np.array(points, dtype=float).T
    front = on_front(size, accuracy)
    for mine, kept in zip(points, front, strict=True):
        beaten = any(o[0] <= mine[0] and o[1] >= mine[1] and o != mine for o in points)
        assert kept == (not beaten)


def test_of_equals_one_is_on_the_front():
    assert on_front(np.array([2.0, 2.0, 1.0]), np.array([0.5, 0.5, 0.4])).sum() == 2


def test_an_interval_by_hand():
    mean, half = interval(np.array([0.4, 0.6]))
    assert (mean, half) == (0.5, pytest.approx(1.2706, abs=1e-4))  # 12.706 * .1414 / sqrt(2)
    assert np.isnan(interval(np.array([0.4]))[1])


def test_a_configuration_is_its_seeds_together():
    table = sweep({("fltac", 1): [[(10, 0.3), (20, 0.58)], [(12, 0.4), (22, 0.62)]], ("fedit", 1): seeds(5, 0.4)})
    rows = configurations(table)
    assert rows[["method", "adapter.rank", "seeds", "bytes", "accuracy"]].to_numpy().tolist() == [
        ["fltac", 1, 2, 21.0, 0.6],
        ["fedit", 1, 1, 5.0, 0.4],
    ]
    assert rows["accuracy.low"][0] == pytest.approx(0.6 - 0.2541, abs=1e-4)
    assert np.isnan(rows["accuracy.low"][1])
    far = configurations(sweep({("fltac", 1): [[(20, 0.3)], [(22, 0.9)]]}))
    assert far[["accuracy.low", "accuracy.high"]].to_numpy().tolist() == [[0, 1]]  # no accuracy is outside


def test_an_accuracy_costs_the_fewest_bytes_of_any_configuration_and_round():
    table = sweep(
        {
            ("fltac", 1): [[(10, 0.3), (20, 0.5)]],
            ("fltac", 4): [[(40, 0.5), (80, 0.8)]],
            ("fedit", 4): [[(15, 0.5), (30, 0.6)]],
        }
    )
    found = bytes_to_reach(table, [0.5, 0.8]).set_index(["method", "target"])
    assert found.loc[("fltac", 0.5), ["adapter.rank", "round", "bytes"]].tolist() == [1, 2, 20]
    assert found.loc[("fltac", 0.8), ["adapter.rank", "round", "bytes"]].tolist() == [4, 2, 80]
    assert found.loc[("fedit", 0.5), "bytes"] == 15
    assert pd.isna(found.loc[("fedit", 0.8), "bytes"])


def test_the_smallest_that_is_surely_good_enough_is_recommended():
    table = sweep(
        {
            ("fltac", 1): seeds(10, 0.50, 0.60, 0.70),  # 10 points below in each seed
            ("fltac", 2): seeds(20, 0.597, 0.696, 0.797),  # .3, .4, .3 points below
            ("fltac", 4): seeds(40, 0.60, 0.70, 0.80),
        }
    )
    choice = recommend(table, tolerance=1.0)
    assert choice.chosen["adapter.rank"] == 2
    assert choice.loss == pytest.approx(1 / 3, abs=1e-6)
    assert choice.most == pytest.approx(1 / 3 + 4.303 * 0.0577 / np.sqrt(3), abs=1e-3)  # t(.975, 2) s / sqrt(3)
    assert choice.warnings == []
    assert recommend(table, tolerance=0.4).chosen["adapter.rank"] == 4  # its upper end is .48
    assert recommend(table, tolerance=10.5).chosen["adapter.rank"] == 1


def test_of_many_that_are_worse_one_that_passes_by_chance_is_rare():
    """Eight cheaper configurations, all two points worse, tolerance one: each choice of one of them is wrong."""
    draw, wrong = np.random.default_rng(0), 0
    for _ in range(100):
        rows = {("fltac", rank): seeds(rank, *(0.78 + 0.02 * draw.normal(size=3))) for rank in range(1, 9)}
        table = sweep({**rows, ("fltac", 99): seeds(99, 0.8, 0.8, 0.8)})
        choice = recommend(table, tolerance=1.0)
        wrong += choice.best["adapter.rank"] == 99 and choice.chosen["adapter.rank"] != 99
    assert wrong <= 10


def test_a_lucky_seed_alone_is_not_chosen_before_a_mean_of_three():
    table = sweep({("fltac", 1): seeds(10, 0.9), ("fltac", 4): seeds(40, 0.8, 0.8, 0.8), ("fltac", 8): seeds(80, 0.7)})
    assert chosen(table, ["adapter.rank"])["adapter.rank"].unique().tolist() == [4]
    assert chosen(table[table["seed"] == 0], ["adapter.rank"])["adapter.rank"].unique().tolist() == [1]


def test_a_seed_that_ran_twice_is_one():
    table = sweep({("fltac", 1): seeds(10, 0.5, 0.6)})
    once, twice = configurations(table), configurations(pd.concat([table, table]))
    assert once["accuracy.high"].tolist() == twice["accuracy.high"].tolist()


def test_points_that_were_not_finished_are_no_results():
    table = sweep({("fltac", 1): [[(10, 0.5), (20, 0.8)], [(10, 0.5), (20, 0.8)], [(10, 0.5)]]})
    table.loc[table["seed"] == 2, "last"] = False
    (row,) = configurations(table).to_dict("records")
    assert (row["seeds"], row["bytes"], row["accuracy"]) == (2, 20, 0.8)
    assert bytes_to_reach(table, [0.8])["bytes"].isna().all()  # the third seed did not come to round 2


def test_what_varies_too_much_is_not_sure():
    table = sweep({("fltac", 1): seeds(10, 0.50, 0.75, 0.84), ("fltac", 4): seeds(40, 0.60, 0.70, 0.80)})
    choice = recommend(table, tolerance=1.0)  # 0.3 points better in the mean
    assert choice.chosen["adapter.rank"] == 4
    assert any("nothing smaller is surely within" in warning for warning in choice.warnings)
    assert "give more seeds to method=fltac, adapter.rank=1: in the mean 0.33 points less" in choice.warnings[-1]


def test_too_few_seeds_are_said():
    table = sweep({("fltac", 1): seeds(10, 0.795), ("fltac", 4): seeds(40, 0.80)})
    choice = recommend(table, tolerance=1.0)
    assert choice.chosen["adapter.rank"] == 1
    assert np.isnan(choice.most)
    assert "1 seeds are too few" in choice.warnings[0]


def test_one_seed_is_no_candidate_where_others_have_more():
    table = sweep({("fltac", 1): seeds(10, 0.9), ("fltac", 4): seeds(40, 0.79, 0.80, 0.81)})
    choice = recommend(table, tolerance=1.0)
    assert choice.chosen["adapter.rank"] == choice.best["adapter.rank"] == 4
    assert any("one seed were left out" in warning for warning in choice.warnings)


def test_a_tie_of_one_seed_is_no_certainty():
    choice = recommend(sweep({("fltac", 1): seeds(10, 0.8), ("fltac", 4): seeds(40, 0.8)}), tolerance=1.0)
    assert choice.chosen["adapter.rank"] == 1


def test_without_validation_data_nothing_is_recommended():
    with pytest.raises(InputError, match="without validation data"):
        recommend(sweep({("fltac", 1): seeds(10, 0.5)}, validation=False), 1.0)


def test_a_rate_is_chosen_by_validation_for_each_method_and_rank():
    table = sweep({("fltac", 1): seeds(10, 0.5, 0.6), ("fltac", 4): seeds(40, 0.7, 0.8), ("fedit", 4): seeds(9, 0.3)})
    fast = table.assign(rate=1e-2, validation=[0.9, 0.9, 0.1, 0.1, 0.2], accuracy=0.0)
    both = pd.concat([table.assign(rate=1e-3), fast])
    kept = chosen(both, ["rate"])
    assert {tuple(row) for row in kept[["method", "adapter.rank", "rate"]].to_numpy().tolist()} == {
        ("fltac", 1, 1e-2),  # the better by validation, though not on test
        ("fltac", 4, 1e-3),
        ("fedit", 4, 1e-3),
    }
    assert len(kept) == 5
    assert chosen(both, []).equals(both)
    (best,) = configurations(chosen(both, ["method", "adapter.rank", "rate"])).to_dict(
        "records"
    )  # of all that there is
    assert best["rate"] == 1e-2
    with pytest.raises(InputError, match="is not swept; choose among method, "):
        chosen(both, ["ratio"])
