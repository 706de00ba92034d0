import itertools

import pytest
import torch

from patchmatch.templates.places import (
    PlaceBatchSampler,
    PlaceDataset,
    require_batch_size,
    split_keys,
)


def batches(count=7, places=3, views=2, in_epoch=4, seed=0, epoch=0, rank=0, processes=1):
    sampler = PlaceBatchSampler(count, places, views, in_epoch, seed, rank, processes)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_convention_views_of_a_place_share_its_number_and_follow_each_other():
    found = batches(epoch=5)
    assert len(found) == 4
    for batch in found:
        epochs, places, views = zip(*batch, strict=True)
        assert set(epochs) == {5}
        assert views == (0, 1) * 3
        assert places[::2] == places[1::2]
        assert len(set(places)) == 3


def test_rounds_draw_places_without_replacement_and_differ():
    found = [{place for _, place, _ in batch} for batch in batches(in_epoch=40)]
    assert all(not found[i] & found[i + 1] for i in range(0, 40, 2))  # two batches make a round
    assert set().union(*found) == set(range(7))  # each place is drawn in some round
    assert batches(seed=0) == batches(seed=0)
    assert batches(seed=0) != batches(seed=1)
    assert [[p for _, p, _ in b] for b in batches()] != [
        [p for _, p, _ in b] for b in batches(epoch=1)
    ]


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_divide_the_batches_equally(processes):
    shares = [batches(in_epoch=6, rank=rank, processes=processes) for rank in range(processes)]
    assert {len(share) for share in shares} == {6 // processes}
    merged = list(itertools.chain.from_iterable(zip(*shares, strict=True)))
    assert merged == batches(in_epoch=6)


def test_every_process_has_at_least_one_batch():
    assert len(PlaceBatchSampler(9, 3, 2, 1, 0, rank=1, processes=4)) == 1
    assert len(batches(count=9, in_epoch=1, rank=1, processes=4)) == 1


class NumberedViews(PlaceDataset):
    def view(self, key):
        return {"image": torch.full((3, 2, 2), float(key)), "place": key // 2, "query": key % 2 > 0}


def test_item_is_a_whole_batch():
    batch = NumberedViews()[[4, 5, 7]]
    assert batch["image"][:, 0, 0, 0].tolist() == [4, 5, 7]
    assert batch["place"].tolist() == [2, 2, 3]
    assert batch["query"].tolist() == [False, True, True]


def test_split_keys_keeps_the_order_and_the_remainder():
    assert split_keys(range(5), 2) == [[0, 1], [2, 3], [4]]
    assert split_keys([], 2) == []


@pytest.mark.parametrize(("places", "views"), [(1, 2), (2, 1)])
def test_batches_without_triplets_raise(places, views):
    with pytest.raises(ValueError, match=f"at least 2, to form triplets, got {places} and {views}"):
        require_batch_size(places, views)
