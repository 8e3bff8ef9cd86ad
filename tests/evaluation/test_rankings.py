import math

from prefloop.evaluation.rankings import rank_pairs


def test_by_hand():
    true = [[1, 2], [5, 3], [4, 4], [1, 9], [7, 8]]
    predicted = [[0, 1], [0, 2], [3, 9], [5, 0], [2, 2]]
    ranking = rank_pairs(true, predicted)
    assert (ranking.num_pairs, ranking.num_ties) == (4, 1)
    assert ranking.accuracy == 0.375  # one of four, and half of one
    assert ranking.wrong.tolist() == [3, 1, 4]


def test_nothing_but_ties():
    ranking = rank_pairs([[1, 1]], [[0, 1]])
    assert math.isnan(ranking.accuracy)
    assert len(ranking.wrong) == 0
