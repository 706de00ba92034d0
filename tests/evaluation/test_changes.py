def label_row(*parts):
    """Return labels (10, 20 per part): ``(label, columns)`` pairs fill each part from the left."""
    labels = np.zeros((10, 20 * len(parts)), np.uint8)
    for i, (label, columns) in enumerate(parts):
        labels[:, 20 * i : 20 * i + columns] = label
    return labels


def boxes_of(count):
    return [(20 * i, 0, 20 * i + 20, 10) for i in range(count)]


def test_blocks_of_one_motion_have_its_kind():
    labels = label_row((0, 20), (1, 20), (2, 20), (3, 20), (4, 20), (5, 20))
    kinds = block_truth(labels, labels, VELOCITY, boxes_of(6))
    assert kinds.tolist() == [0, 1, 2, 0, 1, 2]
    assert np.issubdtype(kinds.dtype, np.integer)


def test_four_fifths_of_a_block_decide_and_less_do_not():
    labels = label_row((1, 16), (1, 15), (2, 16), (2, 4), (2, 5))
    kinds = block_truth(labels, labels, VELOCITY, boxes_of(5))
    assert kinds.tolist() == [1, -1, 2, 0, -1]


def test_still_share_makes_blocks_ambiguous_into_which_a_cow_reaches():
    labels = label_row((2, 4), (2, 1), (2, 16), (3, 4))
    kinds = block_truth(labels, labels, VELOCITY, boxes_of(4), still_share=0.95)
    assert kinds.tolist() == [-1, 0, 2, 0]


def test_both_frames_must_agree_on_a_block():
    labels0, labels1 = label_row((1, 20), (0, 20)), label_row((1, 10), (2, 6))
    kinds = block_truth(labels0, labels1, VELOCITY, boxes_of(2))
    assert kinds.tolist() == [-1, -1]


def test_two_cows_of_one_velocity_are_one_motion():
    labels = label_row((3, 10))  # a cow that stands, on ground that stands
    assert block_truth(labels, labels, VELOCITY, boxes_of(1)).tolist() == [0]
    velocity = np.array([[0, 0], [1, 0], [1, 0]])
    labels = label_row((1, 10))
    labels[:, 10:] = 2
    assert block_truth(labels, labels, velocity, boxes_of(1)).tolist() == [1]


def test_a_shadow_leaves_the_ground_still_but_a_cow_undecided():
    shadow = UNDECIDED
    labels = label_row((shadow, 12), (shadow, 12))
    labels[:, 32:] = 1  # 8 of 20 columns: a cow beside its shadow
    kinds = block_truth(labels, labels, VELOCITY, boxes_of(2))
    assert kinds.tolist() == [0, -1]


def test_block_truth_agrees_with_counting_pixel_by_pixel(clean):
    labels0, labels1, velocity = clean.labels[0], clean.labels[1], clean.velocity
    boxes = [(x, y, x + 26, y + 18) for y in range(3, 300, 23) for x in range(1, 570, 31)]
    expected = []
    for x0, y0, x1, y1 in boxes:
        shares = {}
        for i, labels in enumerate((labels0, labels1)):
            for label in labels[y0:y1, x0:x1].ravel().tolist():
                key = "none" if label == UNDECIDED else tuple(velocity[label])
                shares.setdefault(key, [0, 0])[i] += 1 / (26 * 18)
        moving = [v for key, v in shares.items() if key != "none" and any(key)]
        kind = 0 if np.sum(moving, axis=0).max(initial=0) < 0.05 else -1
        for key, share in shares.items():
            if key != "none" and min(share) >= 0.8:
                kind = min(max(abs(key[0]), abs(key[1])), 2)
        expected.append(int(kind))
    assert set(expected) == {-1, 0, 1, 2}
    assert block_truth(labels0, labels1, velocity, boxes).tolist() == expected


def test_no_boxes_give_no_kinds():
    labels = label_row((1, 20))
    kinds = block_truth(labels, labels, VELOCITY, np.zeros((0, 4), int))
    assert kinds.shape == (0,)


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 21, 5), (0, 0, 5, 11), (5, 0, 5, 5)])
def test_box_outside_of_the_image_is_refused(box):
    labels = label_row((1, 20))
    with pytest.raises(ValueError, match=r"inside the 10x20 image, got \[.*clip them"):
        block_truth(labels, labels, VELOCITY, [(0, 0, 5, 5), box])


def test_labels_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="must have one shape"):
        block_truth(label_row((1, 2)), label_row((1, 2), (1, 2)), VELOCITY, [])
