"""Tokens stay secret: not one in what is printed, warned, logged, raised, saved or published, whatever goes wrong."""

from __future__ import annotations

import io
import logging
import random
import shutil
import string
import subprocess
import sys
import traceback

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.hub_client import COMMAND, Client
from tests.hub_faults import Fault, faulty, status
from tests.hub_server import serving
from vid2vid_hub import Vid2VidGenerator, Vid2VidPipeline
from vid2vid_hub.cli import main
from vid2vid_hub.data.toy import ToyShapes
from vid2vid_hub.errors import ConditionError, ModelError
from vid2vid_hub.nn.model import portable
from vid2vid_hub.secrets import find_secret, guarded, redacted, without_secrets


def token(prefix: str = "hf_", length: int = 34) -> str:
    """What looks like a token; none stands in this file, which would set off those who look for them."""
    return prefix + "".join(random.SystemRandom().choices(string.ascii_letters + string.digits, k=length))


LOOKS = {
    "hub": lambda: token(),
    "long": lambda: token(length=90),
    "organisation": lambda: token("api_" + "org_"),
    "github": lambda: token("gh" + "p_", 36),
    "github fine": lambda: token("github_" + "pat_", 60),
    "wandb": lambda: token("wandb_" + "v1_", 40),
    "oauth": lambda: token("hf_" + "oauth_", 50),
}


@pytest.mark.parametrize("kind", LOOKS)
@given(before=st.text(), after=st.sampled_from(["", " ", "\n", "'", '"', ")", "/x", ".", ",", "…", "%", "&a=b"]))
def test_a_token_in_any_text_is_blotted_out(kind, before, after):
    secret = LOOKS[kind]()
    left = redacted(before + " " + secret + after)
    assert secret not in left
    assert secret[-8:] not in left
    assert redacted(left) == left
    assert find_secret(before + " " + secret + after)


@given(st.text())
def test_other_text_is_left_alone(text):
    assert redacted(text) == text
    assert find_secret(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "hf_hub_download_to_cache_dir_of_a_very_long_name",
        "the bearer of transformations and basic characterization",
        "0123456789abcdef" * 4,
        "https://huggingface.co/org/name/resolve/main/config.json",
        "generator/diffusion_pytorch_model-00001-of-00002.safetensors",
        "sk-learn",
    ],
)
def test_what_is_no_secret_is_left_alone(text):
    assert redacted(text) == text


@pytest.mark.parametrize(
    "text", ["Authorization: Bearer {}", "authorization=Basic {}", "{{'Authorization': 'Bearer {}'}}", "bearer {}"]
)
def test_the_value_of_a_header_is_blotted_out(text):
    secret = token("", 40)
    assert secret not in redacted(text.format(secret))


def test_a_password_in_an_address_and_a_private_key():
    secret = token("", 12)
    assert redacted(f"https://me:{secret}@example.org/a") == "https://***@example.org/a"
    key = f"-----BEGIN RSA PRIVATE KEY-----\n{secret}\n{secret}\n-----END RSA PRIVATE KEY-----"
    assert secret not in redacted(f"a\n{key}\nb")


def test_a_token_of_another_look_is_known_from_the_environment(monkeypatch):
    secret = token("", 40)
    assert redacted(f"a {secret} b") == f"a {secret} b"
    monkeypatch.setenv("WANDB_API_KEY", secret)
    monkeypatch.setenv("HF_TOKEN_PATH", "/home/somebody/tokens")
    assert redacted(f"a {secret} b /home/somebody/tokens") == "a *** b /home/somebody/tokens"


def test_where_a_secret_was_found_is_told_without_it():
    secret = token()
    said = find_secret(f"a: 1\nb: {secret}\n")
    assert said == "hf_*** in line 2"


def test_settings_lose_what_names_or_holds_a_secret():
    secret = token()
    settings = {
        "hub_token": "x",
        "API_KEY": 1,
        "password": None,
        "nested": {"secret": 1, "kept": [1, secret]},
        "a": 2.5,
    }
    assert without_secrets(settings) == {"nested": {"kept": [1, "hf_***"]}, "a": 2.5}


def test_configs_are_saved_without_secrets():
    secret = token()
    saved = portable(f'{{"token": "{secret}", "task_config": {{"weights": "{secret}"}}, "height": 32}}')
    assert secret not in saved
    assert "token" not in saved
    assert '"height": 32' in saved


def test_our_errors_and_what_they_come_from_tell_no_secret():
    secret = token()

    def fail():
        try:
            try:
                raise OSError(f"the server said {secret}")
            except OSError as error:
                raise ValueError(f"again {secret}") from error
        except ValueError as error:
            raise ModelError(f"it cannot be loaded: {error}") from error

    with pytest.raises(ModelError) as caught:
        fail()
    told = "".join(traceback.format_exception(caught.value))
    assert secret not in told
    assert told.count("hf_***") >= 3
    assert secret not in ConditionError(f"no {secret}", 3).problem
    assert secret not in repr(caught.value)


def test_logs_and_prints_tell_no_secret_while_guarded():
    secret = token()
    out, err, log = io.StringIO(), io.StringIO(), io.StringIO()
    logger = logging.getLogger("somebody.elses")
    handler = logging.StreamHandler(log)
    logger.addHandler(handler)
    kept = sys.stdout, sys.stderr, logging.getLogRecordFactory()
    sys.stdout, sys.stderr = out, err
    try:
        with guarded():
            print("printed", secret)
            logger.error("told %s and %d", secret, 3)
            try:
                raise RuntimeError(secret)
            except RuntimeError:
                logger.exception("it broke")
                traceback.print_exc()
            sys.stdout.writelines([f"{secret}\n"])
        print("after")
        assert (sys.stdout, sys.stderr) == (out, err)
    finally:
        sys.stdout, sys.stderr = kept[:2]
        logger.removeHandler(handler)
    assert logging.getLogRecordFactory() is kept[2]
    for told, times in ((out, 2), (err, 1), (log, 2)):
        assert secret not in told.getvalue()
        assert told.getvalue().count("hf_***") == times
    assert "told hf_*** and 3" in log.getvalue()
    assert out.getvalue().endswith("after\n")


def test_no_command_takes_a_token(monkeypatch, capsys):
    for arguments in (["push", "a", "org/b", "--token", token()], ["generate", f"--hub={token()}"], [token()]):
        monkeypatch.setattr(sys, "argv", ["vid2vid-hub", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        said = capsys.readouterr()
        assert "HF_TOKEN" in said.err
        assert not any(argument in said.err + said.out for argument in arguments if len(argument) > 20)


def test_no_option_is_for_tokens():
    import typer

    from vid2vid_hub.cli import app

    def options(command):
        yield from command.params
        for one in getattr(command, "commands", {}).values():
            yield from options(one)

    names = [name for option in options(typer.main.get_command(app)) for name in [option.name, *option.opts]]
    assert len(names) > 30
    assert not [name for name in names if "token" in name or "secret" in name or "password" in name]


LIBRARY = """
from pathlib import Path
import sys
secret = __import__("os").environ["HF_TOKEN"]
def load(repo, **options):
    from vid2vid_hub import Vid2VidPipeline
    Vid2VidPipeline.from_pretrained(repo, **options)
def push(folder, repo, **options):
    from vid2vid_hub import Vid2VidPipeline
    Vid2VidPipeline.from_pretrained(folder).push_to_hub(repo, **options)
"""
BREAKABLE = """
import typer
from vid2vid_hub.cli import app
if "broken" not in [one.name for one in app.registered_commands]:
    @app.command("broken")
    def broken(how: str) -> None:
        import logging, os, sys, threading, warnings  # this text is run anew each time, the command stays
        secret = os.environ["HF_TOKEN"]
        if how == "raise":
            raise RuntimeError("the answer was " + secret)
        if how == "chain":
            from vid2vid_hub.errors import ModelError
            try:
                raise OSError({"Authorization": "Bearer " + secret})
            except OSError as error:
                raise ModelError("it broke: " + str(error)) from error
        if how == "warn":
            warnings.simplefilter("always")
            warnings.warn("mind " + secret)
        if how == "log":
            logging.getLogger("anybody").error("see %s", secret)
        if how == "thread":
            one = threading.Thread(target=lambda: print(secret, file=sys.stderr))
            one.start()
            one.join()
"""
ECHO = "who are you, {authorization}?"
ENDPOINTS = {
    "load revision": r"GET /api/models/org/toy(/revision/\w+)?(\?|$)",
    "load index": r"GET /org/toy/resolve/\w+/model_index",
    "load config": r"GET /org/toy/resolve/\w+/generator/config",
    "load heads": r"HEAD /org/toy/resolve/",
    "load weights": r"GET /org/toy/[0-9a-f]{64}",
    "push create": r"POST /api/repos/create",
    "push card": r"POST /api/validate-yaml",
    "push preupload": r"POST /api/models/org/\w+/preupload/",
    "push batch": r"POST /org/\w+\.git/info/lfs/objects/batch",
    "push upload": r"PUT /org/\w+/[0-9a-f]{64}",
    "push verify": r"POST /org/\w+\.git/info/lfs/objects/verify",
    "push commit": r"POST /api/models/org/\w+/commit/",
}


@pytest.mark.hub
def fresh(folder):
    """A pipeline folder with weights like no others."""
    generator = Vid2VidGenerator(ToyShapes().channels, base_channels=4, downsamples=1, blocks=2)
    Vid2VidPipeline(generator, ToyShapes(), size=(32, 48)).save_pretrained(folder / "toy")
    return folder / "toy"


class TestScenarios:
    """One login, whose token is in the environment of all that is done, and whatever then can be read anywhere."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        torch.manual_seed(0)
        generator = Vid2VidGenerator(ToyShapes().channels, base_channels=4, downsamples=1, blocks=2)
        folder = tmp_path_factory.mktemp("models") / "toy"
        Vid2VidPipeline(generator, ToyShapes(), size=(32, 48)).save_pretrained(folder)
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, folder, tmp_path_factory):
        """Hub, client, and where everything is that they write."""
        base = tmp_path_factory.mktemp("world")
        shutil.copytree(folder, base / "hub" / "org" / "toy")
        with serving(base / "hub") as hub:
            client = Client(hub, base / "home", hub.token)
            yield hub, client, base
            client.close()

    @pytest.fixture
    def silent(self, world):
        """Looks for the token in texts, and in every file and commit there is."""
        hub, _, base = world

        def check(*texts):
            for text in texts:
                assert hub.token not in text, "the token is told"
            for path in base.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    assert hub.token.encode() not in path.read_bytes(), f"the token is in {path.relative_to(base)}"
            for name, repo in hub.repos.items():
                for commit in repo.commits.values():
                    assert hub.token not in commit.title
                    assert not [p for p, blob in commit.files.items() if hub.token.encode() in blob.content], name
            assert not [line for line in hub.asked if hub.token in line], "the token is in an address"
            assert hub.leaked == []

        return check

    @pytest.mark.parametrize("code", [400, 401, 403, 500])
    @pytest.mark.parametrize("where", ENDPOINTS)
    def test_a_server_that_says_the_token_back(self, world, silent, tmp_path, where, code):
        hub, client, _ = world
        # A repo of its own and weights that the server has never seen, so that every endpoint is asked.
        name = f"{where.replace(' ', '_')}_{code}"
        call = f"push(given['folder'], 'org/{name}')" if where.startswith("push") else "load('org/toy', **given)"
        settings = {"folder": str(fresh(tmp_path))} if where.startswith("push") else {"cache_dir": str(tmp_path)}
        fault = Fault(ENDPOINTS[where], status(code, ECHO, X_Error_Message="no, {authorization}"), None)
        with faulty(hub, fault):
            said = client.run(LIBRARY + call, **settings)
        assert fault.happened
        # Once the server has the file it is not sent, and so not verified, a second time: that attempt succeeds.
        assert said.error == "ModelError" or (where, code) == ("push verify", 500), said.trace
        silent(said.sentence, said.trace)

    @pytest.mark.parametrize(
        "call",
        [
            "load('org/missing')",
            "load('org/toy', revision=secret)",
            "load('org/' + secret)",
            "load(secret)",
            "load('org/toy', variant=secret)",
            "load('org/missing', token=secret)",
            "push(given['folder'], 'org/' + secret)",
            "push(given['folder'], 'org/named', revision=secret)",
            "push(given['folder'], 'org/named', commit_message='with ' + secret)",
        ],
    )
    def test_a_token_in_the_place_of_something_else(self, world, silent, folder, call):
        _, client, _ = world
        said = client.run(LIBRARY + call, folder=str(folder))
        assert said.error == "ModelError", said.answer
        silent(said.sentence.replace("'folder'", ""), said.trace.replace("'folder'", ""))

    @pytest.mark.parametrize(
        ("file", "text"),
        [
            ("about.yaml", "history: used {} for it\n"),
            ("recipe.yaml", "task: toy\nname: {}\n"),
            ("training.json", '{{"device": "{}"}}'),
        ],
    )
    def test_a_token_in_a_folder_is_not_published(self, world, silent, folder, tmp_path, file, text):
        hub, client, _ = world
        copy = shutil.copytree(folder, tmp_path / "toy")
        (copy / file).write_text(text.format(hub.token))
        code, out, err = client.do(COMMAND, arguments=["push", str(copy), "org/told"])
        silent(out, err)
        assert code == 2
        assert err.startswith("error: ")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["generate", "org/missing", "LABELS", "--output", "b.mkv"],
            ["--debug", "generate", "org/missing", "LABELS", "--output", "b.mkv"],
            ["--debug", "push", "FOLDER", "org/debugged", "--revision", "no such.."],
            ["push", "FOLDER", "org/command"],
            ["tasks"],
            ["zoo"],
            ["broken", "raise"],
            ["broken", "chain"],
            ["--debug", "broken", "chain"],
            ["broken", "warn"],
            ["broken", "log"],
            ["broken", "thread"],
            ["generate", "TOKEN"],
            ["push", "--token", "TOKEN"],
        ],
        ids=" ".join,
    )
    def test_commands(self, world, silent, folder, toy_videos, arguments):
        hub, client, _ = world
        given = {"FOLDER": str(folder), "LABELS": str(toy_videos / "c.mkv"), "TOKEN": hub.token}
        fault = Fault(r"POST /api/models/org/debugged/commit", status(403, ECHO), None)
        with faulty(hub, fault):
            _, out, err = client.do(BREAKABLE + COMMAND, arguments=[given.get(one, one) for one in arguments])
        silent(out, err)
        if "broken" in arguments:
            assert "***" in out + err

    def test_a_training_with_trackers(self, world, silent, tiny_recipe, toy_data, tmp_path):
        hub, client, base = world
        recipe = base / "recipe.yaml"
        recipe.write_text(yaml.safe_dump(tiny_recipe | {"watch": {"trackers": ["tensorboard"]}}))
        run = base / "run"
        arguments = ["train", "--recipe", str(recipe), "--data", str(toy_data), "--output", str(run)]
        code, out, err = client.do(COMMAND, arguments=arguments)
        assert code == 0, err
        assert list(run.rglob("*events*"))
        code, *more = client.do(COMMAND, arguments=["push", str(run / "pipeline"), "org/trained"])
        assert code == 0, more
        silent(out, err, *more)

        wrong = tmp_path / "wrong.yaml"
        for key, value in (("hub_token", hub.token), (hub.token, 1), ("task", hub.token), ("ema", hub.token)):
            wrong.write_text(yaml.safe_dump(tiny_recipe | {key: value}))
            code, out, err = client.do(
                COMMAND, arguments=["train", "--recipe", str(wrong), *arguments[3:5], "--output", str(base / "r")]
            )
            assert code == 2
            silent(out, err)

    def test_a_process_of_its_own(self, world, silent, toy_videos, tmp_path):
        hub, client, _ = world
        command = [sys.executable, "-m", "vid2vid_hub", "--debug", "generate", "org/toy"]
        command += [str(toy_videos / "c.mkv"), "--output", "b.mkv"]
        with faulty(hub, Fault(ENDPOINTS["load revision"], status(403, ECHO), None)):
            done = subprocess.run(
                command, env=client.environment, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False
            )
        assert done.returncode == 1
        assert "Traceback" in done.stderr
        silent(done.stdout, done.stderr)
