from pathlib import Path

import pytest
import yaml

from patchmatch.core.configs import (
    config_folder,
    config_names,
    find_config,
    read_config,
    short_name,
)
from patchmatch.core.errors import InputError

ROOT = Path(__file__).parents[2]


def test_the_folder_of_a_checkout_is_beside_the_package():
    assert config_folder() == ROOT / "configs"


def test_every_configuration_has_one_short_name_and_is_found_by_it():
    found = [path for verb in ("predict", "fit") for path in config_names(verb).values()]
    assert sorted(found) == sorted((ROOT / "configs").glob("*.yaml"))


@pytest.mark.parametrize(
    ("value", "subcommand", "file"),
    [
        ("motion", "predict", "config_motion_predict.yaml"),
        ("motion", "fit", "config_motion_train.yaml"),
        ("motion", "validate", "config_motion_train.yaml"),
        ("motion", "test", "config_motion_train.yaml"),
        ("motion_predict", "predict", "config_motion_predict.yaml"),
        ("config_motion_predict.yaml", "predict", "config_motion_predict.yaml"),
        ("patch_match_cows", "predict", "config_patch_match_predict_cows.yaml"),
        ("match_sift", "predict", "config_match_sift.yaml"),
    ],
)
def test_names_are_found_from_any_folder(tmp_path, monkeypatch, value, subcommand, file):
    monkeypatch.chdir(tmp_path)
    assert find_config(value, subcommand) == ROOT / "configs" / file


def test_a_file_is_used_rather_than_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("motion").write_text("model: {}")
    assert find_config("motion", "predict") == Path("motion")
    assert find_config("./motion", "fit") == Path("motion")


@pytest.mark.parametrize(
    ("value", "subcommand", "message"),
    [
        ("moton", "predict", "-c moton: no such file or configuration; did you mean -c motion?"),
        ("a/config_motion_predict.yaml", "predict", "did you mean -c motion?"),
        ("sift", "predict", "did you mean -c match_sift or -c match_asift?"),
        ("match_sift", "fit", "-c match_sift: is a configuration of predict, not of fit; give one"),
        ("homography", "predict", "-c homography: is a configuration of fit, not of predict"),
        ("qqq", "test", "names of configurations are differentiable_patch_match, homography"),
        ("x" * 300, "test", "no such file or configuration"),
        (".", "test", "-c .: expected a file, got a folder"),
    ],
)
def test_an_unknown_name_raises_with_the_closest_ones(value, subcommand, message):
    with pytest.raises(InputError) as error:
        find_config(value, subcommand)
    assert message in str(error.value)


def test_short_names_leave_the_verb_out():
    assert short_name("config_patch_match_predict_cows.yaml") == "patch_match_cows"
    assert short_name("config_motion_train.yaml") == "motion"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: é".encode("utf-16"), "c.yaml: is UTF-16 text; save it as UTF-8"),
        ("a: é".encode("utf-32"), "c.yaml: is UTF-32 text; save it as UTF-8"),
        ("a: b".encode("utf-16-le"), "c.yaml: contains zero bytes, as UTF-16 text without"),
        ("# a\n# é\na: b".encode("latin-1"), "c.yaml line 2: is not UTF-8 text, but Latin-1"),
    ],
)
def test_another_encoding_is_named(tmp_path, content, message):
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(InputError) as error:
        read_config(tmp_path / "c.yaml")
    assert message in str(error.value)


def test_a_byte_order_mark_of_utf_8_is_skipped(tmp_path):
    (tmp_path / "c.yaml").write_bytes("é: 1".encode("utf-8-sig"))
    assert read_config(tmp_path / "c.yaml") == "é: 1"


def test_every_configuration_writes_to_a_folder_of_its_own():
    used = {}
    for name in config_names("predict"):
        text = find_config(name, "predict").read_text(encoding="utf-8")
        folder = yaml.safe_load(text)["writer"]["init_args"]["output_path"]
        assert folder not in used, f"{name} and {used[folder]} write to {folder}"
        used[folder] = name
