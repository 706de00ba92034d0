"""Patch2Pix: regressors, training, checkpoints, matching, and the refinement of matches."""

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from textures import blobs
from torch.testing import assert_close
from torch.utils.data import DataLoader

import patchmatch
from patchmatch.cli import main
from patchmatch.core.checkpoints import load_trained, read_checkpoint
from patchmatch.core.errors import InputError
from patchmatch.pairs.patch2pix import net as net_module
from patchmatch.pairs.patch2pix import refinement
from patchmatch.pairs.patch2pix.data import EpipolarDataset
from patchmatch.pairs.patch2pix.matcher import Patch2PixMatcher
from patchmatch.pairs.patch2pix.panels import draw_stages
from patchmatch.pairs.patch2pix.regressor import Regressor
from patchmatch.pairs.results import Matches
from patchmatch.pairs.sift import SIFTMatcher
from patchmatch.synthetic.scene_sampling import SceneRange

SHIFT = 6.0  # pixels in x


@pytest.fixture(scope="module")
def matcher():
    torch.manual_seed(0)
    return Patch2PixMatcher().eval()


@pytest.fixture(scope="module")
def images():
    image = blobs(160, 200, 0, spacing=10)
    return image[:, :-6], image[:, 6:]


def grid(shift=0.0):
    y, x = torch.meshgrid(torch.arange(40.0, 120, 16), torch.arange(40.0, 150, 16), indexing="ij")
    points = torch.stack([x, y], dim=-1).flatten(0, 1)
    return points, points - torch.tensor([SHIFT + shift, shift])


def scenes(size=4, side=128):
    sources = [blobs(160, 190, seed, spacing=10) for seed in range(2)]
    return EpipolarDataset(sources, size, 0, side, side, SceneRange(disturbed=None))


def trainer(**settings):
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return Trainer(accelerator="cpu", **dict.fromkeys(quiet, False), **settings)


def test_an_untrained_regressor_does_not_move(matcher):
    pyramid = matcher.net.extract(torch.rand(2, 1, 64, 72))
    points = torch.tensor([[10.0, 20], [40, 30]])
    regressor = Regressor((24, 48, 96), 2.0).eval()
    maps = regressor.project(pyramid)
    refined = regressor(maps, maps, torch.tensor([0, 1]), points, points + 3)
    assert_close(refined.points0, points)
    assert_close(refined.points1, points + 3)


def test_displacements_stay_in_the_window_and_are_differentiable(matcher):
    regressor = Regressor((24, 48, 96), 2.0)
    torch.nn.init.normal_(regressor.layers[-1].weight, std=9.0)
    maps = regressor.project(matcher.net.extract(torch.rand(1, 1, 64, 72)))
    points = torch.rand(30, 2) * 60
    refined = regressor(maps, maps, torch.zeros(30).long(), points, points)
    moves = (refined.points0 - points).abs()
    assert regressor.reach == 8
    assert 4 < moves.max() <= 8.001
    refined.points1.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in regressor.parameters())


def test_matches_of_several_pairs_do_not_mix(matcher):
    pyramids = matcher.net.extract(torch.rand(2, 1, 64, 72))
    regressor = Regressor((24, 48, 96), 1.0).eval()
    torch.nn.init.normal_(regressor.layers[-1].weight)
    points, pair = torch.rand(8, 2) * 60, torch.tensor([1, 0, 1, 1, 0, 0, 1, 0])
    maps = regressor.project(pyramids)
    both = regressor(maps, maps, pair, points, points)
    for index in range(2):
        rows = pair == index
        one = regressor.project(pyramids[slice(index, index + 1)])
        alone = regressor(one, one, torch.zeros(4).long(), points[rows], points[rows])
        assert_close(both.points1[rows], alone.points1, rtol=1e-4, atol=1e-4)


def test_matches_are_refined_in_steps_and_in_chunks(monkeypatch):
    net = refinement.load_refiner(torch.device("cpu"))
    first, second = (net.extract(torch.rand(1, 1, 64, 72)) for _ in range(2))
    points0, points1 = torch.rand(2, 7, 2) * 60
    pair = torch.zeros(7, dtype=torch.long)
    with torch.no_grad():
        mid, *fine = net.refine(first, second, pair, points0, points1)
        assert len(fine) == net.fine_steps
        maps = net.fine.project(first), net.fine.project(second)
        again = net.fine(*maps, pair, fine[0].points0, fine[0].points1)
        monkeypatch.setattr(type(net), "chunk", 3)
        moved0, moved1, score = net.refine_pair(first, second, points0, points1)
    assert_close(again.points1, fine[1].points1)
    assert_close(moved0, fine[-1].points0, rtol=0, atol=1e-3)
    assert_close(moved1, fine[-1].points1, rtol=0, atol=1e-3)
    assert_close(score, torch.minimum(mid.logits, fine[-1].logits).sigmoid(), rtol=0, atol=1e-3)


def test_the_backbone_is_that_of_loftr_and_stays_frozen(matcher):
    weights = read_checkpoint(net_module.shipped_checkpoint("loftr.ckpt"))["state_dict"]
    for name, value in matcher.net.backbone.state_dict().items():
        assert_close(value, weights["net.backbone." + name])
    assert not any(p.requires_grad for p in matcher.net.backbone.parameters())
    assert not Patch2PixMatcher().train().net.backbone.training


def test_training_does_not_change_the_backbone():
    matcher = Patch2PixMatcher(ptmax=8)
    before = {k: v.clone() for k, v in matcher.net.backbone.state_dict().items()}
    trainer(max_steps=1, max_epochs=-1).fit(matcher, DataLoader(scenes(1, 64), batch_size=1))
    for name, value in matcher.net.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_missing_backbone_is_never_random(tmp_path, monkeypatch):
    monkeypatch.setattr(net_module, "shipped_checkpoint", lambda name: tmp_path / name)
    with pytest.raises(InputError, match=r"loftr\.ckpt: no such checkpoint"):
        Patch2PixMatcher()


def test_dataset_has_the_fundamental_matrix_of_its_flow():
    pair = scenes()[0]
    y, x = pair["valid"].nonzero().unbind(dim=1)
    ones = torch.ones_like(x).double()
    points0 = torch.stack([x.double(), y.double(), ones], dim=1)
    flow = pair["flow"][:, y, x].double()
    points1 = torch.stack([x + flow[0], y + flow[1], ones], dim=1)
    lines = points0 @ pair["fundamental"].mT
    distance = (points1 * lines).sum(dim=1).abs() / lines[:, :2].norm(dim=1)
    assert len(x) > 1000
    assert distance.max() < 1e-3


@pytest.mark.slow
def test_training_overfits_four_pairs():
    torch.manual_seed(0)
    matcher = Patch2PixMatcher(lr=3e-3, ptmax=64, jitter=1.0)
    loader = DataLoader(scenes(), batch_size=4)
    before = trainer().validate(matcher, loader, verbose=False)[0]
    trainer(max_steps=60, max_epochs=-1, gradient_clip_val=1.0).fit(matcher, loader)
    after = trainer().validate(matcher, loader, verbose=False)[0]
    assert after["val/sampson"] < 0.5 * before["val/sampson"]
    assert after["val/fine_1"] > 2.5 * before["val/coarse_1"]
    assert after["val/fine_3"] > before["val/coarse_3"]


def test_dense_supervision_is_the_distance_from_the_true_correspondence():
    batch = next(iter(DataLoader(scenes(1), batch_size=1)))
    y, x = batch["valid"][0].nonzero()[::97].unbind(dim=1)
    inner = (x > 0) & (y > 0) & (x < 127) & (y < 127)
    points0 = torch.stack([x, y], dim=1)[inner].float()
    points1 = points0 + batch["flow"][0][:, y[inner], x[inner]].mT + torch.tensor([3.0, 4.0])
    pair = torch.zeros(len(points0)).long()
    dense = Patch2PixMatcher(supervision="dense")
    distance = dense._distances(batch, pair, points0, points1)
    known = distance.isfinite()
    assert known.sum() > 20
    assert_close(distance[known], torch.full((int(known.sum()),), 12.5), rtol=1e-3, atol=0)
    assert dense._distances(batch, pair, points0 - 500, points1).isinf().all()
    loss = dense.train().training_step(batch, 0)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in dense.net.mid.parameters())
    batch["valid"][:] = False
    with pytest.raises(InputError, match="dense requires true correspondences"):
        dense.training_step(batch, 0)


def test_batches_without_proposals_are_left_out(matcher, monkeypatch):
    batch = next(iter(DataLoader(scenes(1, 64), batch_size=1)))
    nothing = torch.zeros(0, 2)
    monkeypatch.setattr(matcher.net, "propose", lambda *_: (nothing, nothing))
    assert matcher.training_step(batch, 0) is None


def test_matches_of_a_validation_pair_are_drawn_for_tensorboard(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="", version="")
    run = Trainer(
        accelerator="cpu", logger=logger, max_steps=1, max_epochs=-1, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    loader = DataLoader(scenes(1), batch_size=1)
    run.fit(Patch2PixMatcher(), loader, loader)
    (file,) = tmp_path.glob("events*")
    events = EventAccumulator(str(file)).Reload()
    assert {"val/fine_1", "val/fine_epipolar_1", "val/sampson"} <= set(events.Tags()["scalars"])
    (image,) = events.Images("val/matches")
    assert image.height > 3 * 128
    assert image.width >= 2 * 128


def test_panels_colour_matches_by_their_error():
    image = torch.zeros(3, 60, 80)
    points = torch.tensor([[20.0, 20.0], [60.0, 40.0]])
    panel = draw_stages(image, image, {"fine": (points, points, torch.tensor([0.0, 400.0]))})
    is_green = (panel == np.array([0, 190, 150])).all(axis=2)
    is_orange = (panel == np.array([240, 90, 20])).all(axis=2)
    assert is_green[:30].any()
    assert not is_green[30:60].any()
    assert is_orange[30:60].any()
    draw_stages(image, image, {"fine": (points[:0], points[:0], torch.zeros(0))})


def test_checkpoint_round_trip(tmp_path):
    torch.manual_seed(0)
    matcher = Patch2PixMatcher(ptmax=8, cls_dthres=(40.0, 4.0))
    run = trainer(max_steps=1, max_epochs=-1)
    run.fit(matcher, DataLoader(scenes(1, 64), batch_size=1))
    run.save_checkpoint(tmp_path / "mine.ckpt")
    loaded = load_trained(Patch2PixMatcher, tmp_path / "mine.ckpt", {"panc": 1})
    assert loaded.panc == 1
    assert loaded.cls_dthres == (40.0, 4.0)
    for name, value in matcher.state_dict().items():
        assert_close(loaded.state_dict()[name], value)


def test_shipped_weights_refine_matches(images):
    points0, points1 = grid(shift=2.5)
    found = patchmatch.refine_matches(*images, (points0, points1), coarse=True)
    offset = found.keypoints1 - found.keypoints0
    error = (offset - torch.tensor([-SHIFT, 0])).norm(dim=1)
    assert float(error.median()) < 1.0  # 3.5 before
    assert found.homography is not None
    assert len(found) == len(points0)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_few_matches_are_refined(images, count):
    points0, points1 = (p[:count] for p in grid())
    given = Matches(keypoints0=points0, keypoints1=points1, score=torch.arange(float(count)))
    found = patchmatch.refine_matches(*images, given)
    assert len(found) == count
    assert found.score is given.score
    assert ((found.keypoints1 - points1).abs() <= 8).all()


def test_matches_of_other_images_stay(matcher):
    torch.manual_seed(0)
    points = grid()
    noise = torch.rand(1, 1, 160, 194), torch.rand(1, 1, 160, 194)
    net = refinement.load_refiner(torch.device("cpu"))
    kept0, kept1, scores = refinement.refine_points(net, noise, *points, confidence=0.999)
    still = scores < 0.999
    assert still.any()
    assert torch.equal(kept0[still], points[0][still])
    assert torch.equal(kept1[still], points[1][still])


def test_invalid_points_are_an_error(images):
    for points, message in (
        (3, "matches must be Matches, or the points"),
        ((np.zeros((4, 3)), np.zeros((4, 2))), r"got \(4, 3\) and \(4, 2\)"),
        ((np.zeros((4, 2)), np.zeros((3, 2))), r"got \(4, 2\) and \(3, 2\)"),
        ((np.full((4, 2), np.nan), np.zeros((4, 2))), "NaN or infinite"),
    ):
        with pytest.raises(ValueError, match=message):
            patchmatch.refine_matches(*images, points)


def test_missing_weights_of_the_refiner_are_one_line(tmp_path, monkeypatch, images):
    monkeypatch.setattr(refinement, "shipped_checkpoint", lambda name: tmp_path / name)
    refinement.load_refiner.cache_clear()
    with pytest.raises(InputError, match=r"patch2pix\.ckpt: no such checkpoint"):
        patchmatch.refine_matches(*images, grid())


def test_refine_is_an_option_of_matchers(images):
    plain = patchmatch.match_images(*images, "sift", max_matches=50, align=False)
    refined = patchmatch.match_images(
        *images, "sift", max_matches=50, align=False, refine="patch2pix"
    )
    assert len(refined) == len(plain)
    for end in ("keypoints0", "keypoints1"):
        moves = (getattr(refined, end) - getattr(plain, end)).abs()
        assert 1e-3 < moves.max() <= 4 + 1e-3
    assert refined.homography is not None
    again = patchmatch.refine_matches(*images, plain)
    assert_close(refined.keypoints1, again.keypoints1, rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match="refine must be one of patch2pix, got other"):
        SIFTMatcher(refine="other")


def test_refine_is_an_error_where_it_has_no_effect(images, capsys):
    with pytest.raises(ValueError, match="refine has no effect on HomographyNetMatcher"):
        patchmatch.match_images(*images, "homography_net", refine="patch2pix")
    options = ["--data.pairs", "a.png,b.png", "--model.refine", "patch2pix"]
    with pytest.raises(SystemExit) as stop:
        main(["predict", "-c", "match_homography_net", *options])
    assert stop.value.code == 2
    assert "remove the option, or give another matcher" in capsys.readouterr().err
    patchmatch.match_images(*images, "auto", refine="patch2pix")  # its other matchers are refined


def test_matching_finds_a_shift_and_nothing_in_uniform_images(images):
    found = patchmatch.match_images(*images, "patch2pix", align=False)
    error = (found.keypoints1 - found.keypoints0 - torch.tensor([-SHIFT, 0])).norm(dim=1)
    assert len(found) >= 20
    assert float(error.median()) < 1.5
    mask = np.zeros(images[0].shape[:2], bool)
    assert len(patchmatch.match_images(*images, "patch2pix", mask0=mask)) == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"panc": 2}, "panc must be 1 or 8"),
        ({"proposals": 0}, "proposals must be at least 1"),
        ({"ptmax": 0}, "ptmax must be at least 1"),
        ({"confidence": 1.0}, "confidence must be"),
        ({"jitter": -1.0}, "jitter must be"),
        ({"cls_dthres": (5.0, 0.0)}, "cls_dthres must be two positive"),
        ({"backbone": "other"}, "backbone must be one of loftr, resnet34"),
        ({"weights": "x.pth"}, "weights are published for backbone resnet34 only"),
        ({"supervision": "full"}, "supervision must be one of epipolar, dense"),
    ],
)
def test_wrong_options_are_errors(option, message):
    with pytest.raises(ValueError, match=message):
        Patch2PixMatcher(**option)
