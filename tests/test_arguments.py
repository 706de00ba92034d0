import subprocess
import sys
from pathlib import Path

import pytest

from patchmatch.arguments import OPTIONS, prepare_arguments
from patchmatch.core.configs import config_names
from patchmatch.core.errors import InputError
from patchmatch.help import help_text

ROOT = Path(__file__).parents[1]
MOTION = str(ROOT / "configs" / "config_motion_predict.yaml")


def test_configurations_come_first_then_classes_then_their_options():
    words = ["predict", "--data.predict_dir", "F", "--writer.top_k=3", "-c", "motion"]
    words += ["--model.block", "16", "--data=RenderedCows", "--print_config"]
    prepared = ["predict", "--config", MOTION, "--data=RenderedCows", "--data.predict_dir", "F"]
    prepared += ["--writer.top_k=3", "--model.block", "16", "--print_config"]
    assert prepare_arguments(words) == prepared
    assert prepare_arguments(prepared) == prepared


@pytest.mark.parametrize("option", [["-c", "motion"], ["-c=motion"], ["--config", "motion"]])
def test_every_spelling_of_the_option_takes_a_name(option):
    assert prepare_arguments(["predict", *option]) == ["predict", "--config", MOTION]


def test_a_matcher_and_data_do_without_a_configuration(tmp_path):
    words = ["predict", "--model=ShiftMatcher", "--data", "Frames"]
    assert prepare_arguments(words) == words
    (tmp_path / "a.yaml").write_text("model: {class_path: ShiftMatcher}")
    prepare_arguments(["predict", "-c", str(tmp_path / "a.yaml"), "--data", "Frames"])
    with pytest.raises(InputError, match="--data: no class given; add it to the configuration"):
        prepare_arguments(["predict", "-c", str(tmp_path / "a.yaml")])


def test_help_is_passed_on():
    assert prepare_arguments(["fit", "-c", "nothing", "--help", "all"]) == ["fit", "--help"]
    words = ["fit", "--data.help", "ShiftedDigits"]
    assert prepare_arguments(words) == words


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "no subcommand given; use one of fit, validate, test, predict"),
        ("predcit", "predcit: no such subcommand; did you mean predict?"),
        ("train -c motion", "train: no such subcommand; did you mean fit?"),
        ("xyz", "xyz: no such subcommand; use one of fit, validate, test, predict"),
        ("-c motion fit", "-c: options follow the subcommand; use patchmatch fit -c ..."),
        ("predict", "no configuration given, nor --model and --data; give -c FILE or -c NAME"),
        ("predict --model=A", "--data: no class given; give it, or a configuration"),
        ("predict -c", "-c: no value given"),
        ("predict -c=", "-c=: no configuration given"),
        ("predict -c motion --data.predict_dir", "--data.predict_dir: no value given"),
        ("predict -c caf\udce9.yaml", r"caf\udce9.yaml: is not UTF-8 text, as this option must be"),
        ("predict -c motion --ckpt_path no.ckpt", "no.ckpt: no such checkpoint; look under data/"),
        ("predict FOLDER", "FOLDER: has no option; give its name, for example --data.predict"),
        ("predict -c motion --dta.x 1", "--dta.x: predict has no such option; did you mean --d"),
        ("fit -c motion --writer.top_k 1", "--writer.top_k: fit has no such option"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(command, message):
    with pytest.raises(InputError) as error:
        prepare_arguments(command.split())
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "c.yaml: is empty; give a configuration"),
        ("model: [a\ndata: b", "c.yaml line 2: is not valid YAML (expected ',' or ']'"),
        ("- a", "c.yaml: expected options such as model: and data:"),
        ("model: a\ndtaa: b", "c.yaml line 2: dtaa: predict has no such option; did you mean"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_is_named_with_the_line(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError) as error:
        prepare_arguments(["predict", "-c", str(tmp_path / "c.yaml")])
    assert message in str(error.value)


@pytest.mark.parametrize("subcommand", OPTIONS)
def test_the_options_are_those_of_the_parser(subcommand):
    from pytorch_lightning.cli import LightningCLI

    import patchmatch.cli as cli

    class ParserOnly(cli._cli_of(subcommand)):
        def parse_arguments(self, parser, args):
            known = self._subcommand_parsers[subcommand]._option_string_actions
            roots = {name[2:].partition(".")[0] for name in known if name.startswith("--")}
            assert roots - {"help"} == set(OPTIONS[subcommand])
            raise InputError("enough")

    assert subcommand in LightningCLI.subcommands()
    with pytest.raises(InputError, match="enough"):
        ParserOnly(
            cli.Matcher,
            cli.MatchingData,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            parser_kwargs={subcommand: {"usage": cli.USAGE.format(subcommand)}},
            args=[subcommand],
        )


def test_help_is_one_screen_and_lists_the_configurations():
    pages = {verb: help_text([verb, "--help"]) for verb in OPTIONS}
    overview = help_text(["--help"])
    assert help_text([]) == help_text(["-h", "x"]) == overview
    for page in (overview, *pages.values()):
        assert len(page.splitlines()) <= 36
        assert max(map(len, page.splitlines())) <= 100
        assert "{" not in page.replace("{fit,validate,test,predict}", "")
    for verb, page in pages.items():
        assert f"usage: patchmatch {verb}" in page
        names = set(config_names(verb))
        assert names <= set(page.replace(",", " ").split())
        assert names <= set(overview.replace(",", " ").split())
    assert help_text(["predict", "-c", "motion", "-h"]) == pages["predict"]
    assert help_text(["predict", "--help", "all"]) is None
    assert help_text(["predict", "--data.help", "Frames"]) is None


def test_every_command_of_the_help_pages_is_accepted(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").touch()
    pages = [help_text(words) for words in ([], *([verb, "--help"] for verb in OPTIONS))]
    lines = {line.strip() for page in pages for line in page.splitlines()}
    commands = [line.partition("   ")[0] for line in lines if line.startswith("patchmatch ")]
    assert len(commands) > 15
    for command in commands:
        words = command.replace("[", "").replace("]", "").split()[1:]
        words = words[: words.index("all") + 1] if "all" in words else words
        assert help_text(words) or prepare_arguments(words)


@pytest.mark.parametrize(
    "arguments", [["predcit"], ["predict", "-c", "nowhere.yaml"], ["predict"], ["fit", "--help"]]
)
def test_torch_is_not_imported_for_a_mistake_or_help(tmp_path, arguments):
    for name in ("torch", "pytorch_lightning", "jsonargparse"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} was imported')\n")
    done = subprocess.run(
        [sys.executable, "-m", "patchmatch", *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "was imported" not in done.stderr
    if "--help" in arguments:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 2
        assert done.stderr.startswith("patchmatch: error: ")
        assert done.stderr.count("\n") == 1
