import pytest
import torch
from torch.nn import functional as F

from patchmatch.templates.retrieval import Retrieval, retrieval_sums


def measured(query, query_place, gallery, gallery_place, **options):
    query_place, gallery_place = query.new_tensor(query_place), query.new_tensor(gallery_place)
    hits, precision, count = retrieval_sums(
        query, query_place.long(), gallery, gallery_place.long(), **options
    )
    return (hits / count).tolist(), (precision / count).item(), count.item()


def unit_vectors(*degrees):
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float32))
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def test_recall_and_precision_of_one_query():
    # by rank: wrong, right, wrong, right: the average precision is (1/2 + 2/4) / 2
    recall, precision, count = measured(
        unit_vectors(0), [7], unit_vectors(30, 5, 10, 20), [7, 1, 7, 2], ranks=(1, 2, 3)
    )
    assert recall == [0, 1, 1]
    assert precision == pytest.approx(0.5)
    assert count == 1


def test_perfect_embeddings_score_one():
    place = torch.tensor([0, 3, 3, 5, 0, 9])
    embedding = torch.eye(10)[place]
    metric = Retrieval()
    query = torch.tensor([True, False, True, True, False, False])
    # the query of place 5 is ignored: its place is not in the gallery
    metric.update(embedding, place, query)
    assert {name: value.item() for name, value in metric.compute().items()} == {
        "recall_1": 1.0, "recall_5": 1.0, "recall_10": 1.0, "ap": 1.0,
    }  # fmt: skip


def test_constant_embeddings_have_zero_recall():
    same = torch.ones(1, 3) / 3**0.5
    recall, precision, _ = measured(same, [1], same.expand(12, -1), [*range(12)], ranks=(1, 11, 12))
    assert recall == [0, 0, 1]
    assert precision == pytest.approx(1 / 12)


def by_loops(query, query_place, gallery, gallery_place, rank):
    hits, precisions = [], []
    for vector, place in zip(query, query_place, strict=True):
        order = sorted(range(len(gallery)), key=lambda i: -float(vector @ gallery[i]))
        right = [gallery_place[i] == place for i in order]
        if any(right):
            hits.append(any(right[:rank]))
            at_right = [sum(right[: i + 1]) / (i + 1) for i, yes in enumerate(right) if yes]
            precisions.append(sum(at_right) / len(at_right))
    return sum(hits) / len(hits), sum(precisions) / len(precisions)


@pytest.mark.parametrize("limit", [2**22, 30, 1])
def test_retrieval_sums_agree_with_loops_for_any_chunk_size(limit, monkeypatch, device, dtype):
    monkeypatch.setattr("patchmatch.templates.retrieval._MAX_SIMILARITIES", limit)
    generator = torch.Generator().manual_seed(0)
    query, gallery = (
        F.normalize(torch.randn(count, 4, generator=generator), dim=1).to(device, dtype)
        for count in (17, 11)
    )
    query_place = [i % 7 for i in range(17)]
    gallery_place = [i % 5 for i in range(11)]  # without places 5 and 6
    recall, precision, count = measured(query, query_place, gallery, gallery_place, ranks=(2,))
    expected = by_loops(query, query_place, gallery, gallery_place, 2)
    assert (recall[0], precision) == pytest.approx(expected, abs=1e-6)
    assert count == sum(place < 5 for place in query_place)


def test_convention_a_view_is_a_query_or_in_the_gallery_never_both():
    # two equal views of place 4 are queries; the gallery contains another place
    metric = Retrieval()
    metric.update(
        torch.eye(3)[[0, 0, 1]], torch.tensor([4, 4, 6]), torch.tensor([True, True, False])
    )
    assert metric.compute()["recall_1"].isnan()  # queries are not in the gallery
    metric.update(torch.eye(3)[[2]], torch.tensor([4]), torch.tensor([False]))
    assert metric.compute()["recall_1"] == 0
    assert metric.compute()["recall_5"] == 1


def test_batches_are_accumulated_into_one_gallery():
    generator = torch.Generator().manual_seed(0)
    embedding = F.normalize(torch.randn(20, 4, generator=generator), dim=1)
    place, query = torch.arange(20) // 4, torch.arange(20) % 4 > 0
    whole, parts = Retrieval(), Retrieval()
    whole.update(embedding, place, query)
    for part in (slice(0, 3), slice(3, 14), slice(14, 20)):
        parts.update(embedding[part], place[part], query[part])
    assert whole.compute() == parts.compute()
    assert 0 < whole.compute()["recall_1"] < 1


def test_recall_without_a_gallery_is_nan():
    metric = Retrieval()
    metric.update(torch.eye(3), torch.arange(3), torch.ones(3, dtype=torch.bool))
    assert metric.compute()["recall_1"].isnan()
