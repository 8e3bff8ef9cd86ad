"""The commands in the order of the README, with small numbers."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest
from conftest import assert_one_sentence

from prefloop import checkpoints
from prefloop.data import dataset

SMALL = "--num-envs 4 --rollout-steps 32 --steps 512 --iteration-steps 128"


@pytest.fixture(scope="session")
def demonstrations(tmp_path_factory, demonstrators):
    """A folder with two policies and pairs of their episodes."""
    from prefloop.cli import main

    folder = tmp_path_factory.mktemp("demonstrations")
    for name, epoch in (("weak", 0), ("strong", 9)):
        weights = checkpoints.load_weights(checkpoints.checkpoint_path(demonstrators, epoch))
        checkpoints.save(folder / f"{name}.params", weights)
    main(
        f"pairs --env CartPole-v0 --policies {folder}/strong.params {folder}/weak.params "
        f"--pairs 40 --episodes 10 --out {folder}/prefs".split()
    )
    return folder


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_pairs_writes_what_it_says(run, demonstrations, tmp_path):
    line = (
        f"prefloop.cli pairs --env CartPole-v0 --policies {demonstrations}/weak.params --pairs 12 "
        "--episodes 8 --segment-length 10 --segments 30 --teacher mistake --out p"
    )
    outcome = run(line)
    assert outcome.code == 0, outcome.err
    assert "12 queries" in outcome.out and "Next: prefloop reward" in outcome.out
    preferences = dataset.read(tmp_path / "p")
    assert len(preferences) == 12 and preferences.segments.lengths.max() == 10
    assert dataset.read_metadata(tmp_path / "p")["teacher"]["mistakes"] == 0.1
    assert_one_sentence(run(line), "p holds a preference dataset already", "--resume")
    more = run(line.replace("--pairs 12", "--pairs 20") + " --resume")
    assert more.code == 0, more.err
    grown = dataset.read(tmp_path / "p")
    assert len(grown) == 20
    assert (grown.labels[:12] == preferences.labels).all()
    asked = {
        tuple(sorted(pair))
        for pair in zip(grown.first.tolist(), grown.second.tolist(), strict=True)
    }
    assert len(asked) == 20  # no pair twice
    assert_one_sentence(run(line + " --resume"), "p holds 20 queries already, more than 12")


def test_pairs_of_a_policy_that_falls_soon(run, demonstrations, tmp_path, monkeypatch):
    (tmp_path / "weak.py").write_text(
        "import numpy as np\ndef left(obs): return np.zeros(len(obs), np.int64)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    line = "prefloop.cli pairs --env CartPole-v0 --episodes 8 --pairs 12 --segment-length 15 --policies"
    outcome = run(f"{line} weak:left {demonstrations}/strong.params --out p")
    assert outcome.code == 0, outcome.err
    segments = dataset.read(tmp_path / "p").segments
    assert segments.lengths[segments.policy == 0].max() < 12
    assert segments.lengths[segments.policy == 1].max() == 15
    assert_one_sentence(run(f"{line} weak:left --out q"), "Can't cut segments of 15 steps")


def test_pairs_go_on_by_what_files_hold_not_by_what_they_are_called(run, demonstrations, tmp_path):
    weak = tmp_path / "weak.params"
    weak.write_bytes((demonstrations / "weak.params").read_bytes())
    line = "prefloop.cli pairs --env CartPole-v0 --episodes 8 --out p --policies"
    assert run(f"{line} weak.params --pairs 5").code == 0
    assert run(f"{line} {weak} --pairs 6 --resume").code == 0
    weak.write_bytes((demonstrations / "strong.params").read_bytes())
    assert_one_sentence(
        run(f"{line} weak.params --pairs 7 --resume"),
        "p was begun with other contents of --policies",
    )
    assert len(dataset.read(tmp_path / "p")) == 6


def test_pairs_that_teach_nothing_are_told(run, demonstrations):
    outcome = run(
        f"prefloop.cli pairs --env CartPole-v0 --policies {demonstrations}/weak.params --pairs 5 "
        "--episodes 8 --equal-within 1e9 --out ties"
    )
    assert outcome.code == 0
    assert "Note: Nothing can be learned" in outcome.out and "all 5 answers are ties" in outcome.out
    assert "Next:" not in outcome.out


def test_pairs_by_disagreement(run, demonstrations, tmp_path):
    assert (
        run(
            f"prefloop.cli reward --preferences {demonstrations}/prefs --reward-epochs 2 --out r"
        ).code
        == 0
    )
    line = (
        f"prefloop.cli pairs --env CartPole-v0 --policies {demonstrations}/weak.params --pairs 5 "
        "--episodes 10 --queries disagreement --out q"
    )
    assert_one_sentence(run(line), "--queries disagreement needs --reward")
    uniform = line.replace("disagreement", "uniform")
    assert_one_sentence(run(f"{uniform} --reward r"), "--reward is for --queries disagreement")
    single = f"prefloop.cli reward --preferences {demonstrations}/prefs --reward-epochs 1 "
    assert run(single + "--ensemble 1 --out r1").code == 0
    assert_one_sentence(
        run(line + " --reward r1"), "r1 has 1 member, and --queries disagreement needs 2"
    )
    assert run(line + " --reward r").code == 0
    assert len(dataset.read(tmp_path / "q")) == 5
    grow = line.replace("--pairs 5", "--pairs 6") + " --reward r --resume"
    assert_one_sentence(run(grow), "only uniform ones can be added to")


def test_reward_reports_how_far_to_trust_it(run, demonstrations, tmp_path):
    outcome = run(
        f"prefloop.cli reward --preferences {demonstrations}/prefs --out r --reward-epochs 30"
    )
    assert outcome.code == 0, outcome.err
    assert "Held-out accuracy" in outcome.out
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert report["answers"] == 40 and 0 <= report["held_out_accuracy"] <= 1
    assert report["rank_correlation"] > 0.5
    assert 0 < report["calibration_error_by_chance"] < report["calibration_error_by_chance_95"] < 1
    assert len(report["worst_pairs"]) == 10
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "A reward for CartPole-v0" in page and "pole angle" in page
    assert {"loss", "held_out_loss", "held_out_accuracy"} <= rows(tmp_path / "r" / "metrics.csv")[
        0
    ].keys()


def test_a_reward_is_reported_on_again_and_by_answers_of_others(run, demonstrations, tmp_path):
    assert run(f"prefloop.cli reward --preferences {demonstrations}/prefs --out r").code == 0
    report = tmp_path / "r" / "report.json"
    first = report.read_bytes()
    page = (tmp_path / "r" / "report.html").read_bytes()
    report.unlink()
    assert run("prefloop.cli reward-report r").code == 0
    assert report.read_bytes() == first and (tmp_path / "r" / "report.html").read_bytes() == page
    line = (
        f"prefloop.cli pairs --env CartPole-v0 --policies {demonstrations}/weak.params --pairs 12 "
        "--episodes 10 --seed 7 --out others"
    )
    assert run(line).code == 0
    outcome = run("prefloop.cli reward-report r --preferences others --out o")
    assert outcome.code == 0, outcome.err
    theirs = json.loads((tmp_path / "o" / "report.json").read_text())
    assert theirs["answers"] == theirs["held_out_answers"] == 12
    assert theirs["training_accuracy"] is None
    assert report.read_bytes() == first
    # a copy of its own is known by what stands in it
    shutil.copytree(f"{demonstrations}/prefs", tmp_path / "copy")
    assert run("prefloop.cli reward-report r --preferences copy --out c").code == 0
    assert (tmp_path / "c" / "report.json").read_bytes() == first
    # one that has grown is somebody else's, as far as it was not learned from
    line = f"prefloop.cli pairs --env CartPole-v0 --policies {demonstrations}/weak.params"
    assert run(f"{line} --pairs 9 --episodes 5 --seed 3 --out copy").code in (0, 2)
    with (tmp_path / "copy" / "preferences.jsonl").open("a") as file:
        file.write('{"first": 0, "second": 7, "label": 1.0}\n')
    assert run("prefloop.cli reward-report r --preferences copy --out d").code == 0
    grown = json.loads((tmp_path / "d" / "report.json").read_text())
    held_out = json.loads(first)["held_out_answers"]
    assert grown["answers"] == 41 and grown["held_out_answers"] in (held_out, held_out + 1)


def without_clips(page):
    """A report without its clips, which a codec writes: as many as there was time for."""
    text = re.sub(r'"clip": (null|"[^"]*")', "", page.read_text(encoding="utf-8"))
    return re.sub(r"\n<p>[^<]* no clip: [^<]*</p>", "", text)


def test_a_reward_learns_who_errs(run, demonstrations, tmp_path):
    shutil.copytree(f"{demonstrations}/prefs", tmp_path / "prefs")
    file = tmp_path / "prefs" / "preferences.jsonl"
    said = [json.loads(line) for line in file.read_text().splitlines()]
    for i, line in enumerate(said):
        line["annotator"] = "ada" if i % 2 else "eve"
        if line["annotator"] == "eve" and line["label"] is not None:
            line["label"] = 1 - line["label"]
    file.write_text("".join(json.dumps(line) + "\n" for line in said))
    line = "prefloop.cli reward --preferences prefs --out r --reward-epochs 30 --held-out 0"
    learning = f"{line} --annotator-errors learned"
    assert_one_sentence(run(f"{learning} --label-noise 0"), "--label_noise / 2")
    assert_one_sentence(run(f"{learning} --ensemble 1"), "needs an --ensemble of several")
    few = learning.replace("--reward-epochs 30", "--reward-epochs 10")
    assert_one_sentence(run(few), "more than 10 --reward_epochs, not 10")
    outcome = run(learning)
    assert outcome.code == 0, outcome.err
    annotators = json.loads((tmp_path / "r" / "run.json").read_text())["annotators"]
    assert {name: one["answers"] for name, one in annotators.items()} == {"ada": 20, "eve": 20}
    assert all(0 < one["error"] < 0.5 for one in annotators.values())
    assert "Answers that are errors" in outcome.out and "eve" in outcome.out
    report = tmp_path / "r" / "report.json"
    rows = json.loads(report.read_text())["by_answerer"]
    assert {row["name"]: row["error"] for row in rows} == {
        name: one["error"] for name, one in annotators.items()
    }
    # it is known to who reports on it later, and to a run that goes on when it is done
    before = report.read_bytes(), without_clips(tmp_path / "r" / "report.html")
    for again in ("prefloop.cli reward-report r", f"{learning} --resume"):
        report.unlink()
        outcome = run(again)
        assert outcome.code == 0, outcome.err
        assert (report.read_bytes(), without_clips(tmp_path / "r" / "report.html")) == before
    assert json.loads((tmp_path / "r" / "run.json").read_text())["annotators"] == annotators
    assert_one_sentence(run(f"{line} --annotator-errors none --resume"), "annotator_errors")
    # nobody is named
    for one in said:
        one.pop("annotator"), one.pop("teacher", None)
    file.write_text("".join(json.dumps(line) + "\n" for line in said))
    assert_one_sentence(
        run(learning.replace("--out r", "--out q")), "prefs does not say who answered"
    )
    assert not (tmp_path / "q").exists()


def test_what_can_not_be_reported_on_is_a_sentence(run, demonstrations, tmp_path):
    assert_one_sentence(run("prefloop.cli reward-report nowhere"), "nowhere")
    assert run(f"prefloop.cli reward --preferences {demonstrations}/prefs --out r").code == 0
    facts = json.loads((tmp_path / "r" / "run.json").read_text())
    facts["settings"].pop("preferences")
    (tmp_path / "r" / "run.json").write_text(json.dumps(facts))
    assert_one_sentence(run("prefloop.cli reward-report r"), "give --preferences")
    # what it was learned from is gone, or is another now
    for there, words in ((False, "are not in gone; say where"), (True, "holds other answers")):
        facts["settings"]["preferences"] = "gone"
        if there:
            shutil.copytree(f"{demonstrations}/prefs", tmp_path / "gone")
            with (tmp_path / "gone" / "preferences.jsonl").open("a") as file:
                file.write('{"first": 0, "second": 7, "label": 1.0}\n')
        (tmp_path / "r" / "run.json").write_text(json.dumps(facts))
        assert_one_sentence(run("prefloop.cli reward-report r"), words)
    (tmp_path / "file").write_text("")
    with_out = f"prefloop.cli reward-report r --preferences {demonstrations}/prefs --out file"
    assert_one_sentence(run(with_out), "file")


def test_from_preferences_to_policies(run, demonstrations, tmp_path):
    prefs, weak = f"{demonstrations}/prefs", f"{demonstrations}/weak.params"
    lines = [
        f"reward --preferences {prefs} --out reward --reward-epochs 5",
        f"ppo --env CartPole-v0 --reward reward --init {weak} --kl-coef 0.1 {SMALL} --out ppo",
        f"dpo --preferences {prefs} --reference {weak} --beta 0.2 --dpo-updates 3 --out dpo",
        f"bc --preferences {prefs} --bc-epochs 3 --out bc",
        f"airl --preferences {prefs} {SMALL} --out airl",
    ]
    for line in lines:
        outcome = run(f"prefloop.cli {line}")
        assert outcome.code == 0, outcome.err
        assert "Next: prefloop" in outcome.out
    policies = []
    for name in ("ppo", "dpo", "bc", "airl"):
        folder = tmp_path / name
        assert (folder / "learning_curve.png").exists() and rows(folder / "metrics.csv")
        facts = json.loads((folder / "run.json").read_text())
        assert facts["env"] == "CartPole-v0" and facts["activation"] == "relu"
        policies.append(f"{name}/final_policy.params")
    outcome = run(f"prefloop.cli evaluate {' '.join(policies)} --episodes 5 --video --out e")
    assert outcome.code == 0, outcome.err
    table = rows(tmp_path / "e" / "evaluation.csv")
    assert [row["policy"] for row in table] == policies
    assert all(8 <= float(row["mean_return"]) <= 200 for row in table)
    assert (tmp_path / "e" / "evaluation.png").exists()
    assert len(list((tmp_path / "e").glob("*.mp4"))) == 4


def test_pref_ppo_leaves_policy_reward_answers_and_pictures(run, tmp_path):
    line = (
        "prefloop.cli pref-ppo --env Pendulum-v1 --labels 24 --segment-length 20 --num-envs 4 "
        "--rollout-steps 50 --steps 1600 --iteration-steps 400 --reward-epochs 3 --clips-per-session 6 "
        "--seed 1 --out p"
    )
    outcome = run(line)
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith("reward can be trusted: prefloop reward-report p\n")
    folder = tmp_path / "p"
    assert len(dataset.read(folder / "preferences").answered) == 24
    assert [row["labels"] for row in rows(folder / "metrics.csv")][-1] == "24"
    for name in ("final_policy.params", "reward.params", "schedule.png", "learning_curve.png"):
        assert (folder / name).exists()
    outcome = run(
        "prefloop.cli ppo --env Pendulum-v1 --reward p --num-envs 2 --rollout-steps 8 --steps 16 --iteration-steps 16 --out q"
    )
    assert outcome.code == 0, outcome.err  # the reward is one that `ppo` takes
    assert run("prefloop.cli reward-report p").code == 0
    report = json.loads((folder / "report.json").read_text())
    fits = [row for row in rows(folder / "metrics.csv") if float(row["reward_epochs"])]
    # the same answers were held out
    assert report["held_out_accuracy"] == pytest.approx(float(fits[-1]["held_out_accuracy"]))
    assert [row["name"] for row in report["by_iteration"]] == [0, 1, 2]
    assert "data:video/mp4;base64," in (folder / "report.html").read_text(encoding="utf-8")
    assert_one_sentence(run(line), "p holds a run already", "--resume")


PREF_PPO = f"prefloop.cli pref-ppo --env CartPole-v0 {SMALL} --reward-epochs 2 --out p"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--iteration-steps 512", "one of the iterations of 512 steps"),
        ("--segment-length 300", "longer than any episode here"),
        ("--labels 20000000", "--labels 20000000 are more than the 384 steps"),
        ("--labels 380 --schedule exponential --segment-length 10", "--labels 380 are too many"),
        ("--ensemble 1", "--queries disagreement needs an --ensemble of 2 or more"),
    ],
)
def test_a_plan_that_can_not_be_kept_is_refused_before_anything_is_written(
    run, tmp_path, flags, words
):
    assert_one_sentence(run(f"{PREF_PPO} --labels 20 --segment-length 10 {flags}"), words)
    assert not (tmp_path / "p" / "preferences").exists()
    assert not (tmp_path / "p" / "run.json").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pebble --env CartPole-v1", ["prefloop pref-ppo"]),
        ("pebble --env Pendulum-v1 --init missing.params", ["missing.params"]),
        (
            "pebble --env Pendulum-v1 --steps 20000 --explore-from missing",
            ["can't be explored from"],
        ),
        ("sac --env Pendulum-v1 --steps 100", ["random_steps"]),
        ("sac --env Pendulum-v1 --reward missing", ["missing"]),
        ("ppo --env Pendulum-v1 --steps 5000 --init missing.params", ["missing.params"]),
    ],
)
def test_what_can_not_begin_leaves_nothing(run, tmp_path, line, words):
    assert_one_sentence(run(f"prefloop.cli {line} --out new"), *words)
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    assert_one_sentence(run(f"prefloop.cli {line} --out mine"), *words)
    assert {path.name for path in (tmp_path / "mine").iterdir()} <= {".lock"}
    (tmp_path / "mine/notes.txt").write_text("precious", encoding="utf-8")
    assert_one_sentence(run(f"prefloop.cli {line} --out mine"), *words)
    assert (tmp_path / "mine/notes.txt").read_text(encoding="utf-8") == "precious"


def test_pref_ppo_without_a_difference_to_learn_from_leaves_no_policy(run, tmp_path):
    line = f"{PREF_PPO} --labels 6 --segment-length 10 --equal-within 1e9"
    assert_one_sentence(run(line), "No reward could be learned: of 6 queries 6 were answered")
    assert not (tmp_path / "p" / "final_policy.params").exists()
    assert len(dataset.read(tmp_path / "p" / "preferences")) == 6


def test_pref_ppo_says_how_many_labels_came(run):
    # of the queries of the last session, those that are skipped are not asked again
    outcome = run(
        f"{PREF_PPO} --labels 30 --steps 2048 --iteration-steps 512 --segment-length 30 --skip-below 25"
    )
    assert outcome.code == 0, outcome.err
    assert "of 30 labels came" in outcome.out and "were skipped" in outcome.out


@pytest.mark.parametrize("command", ["ppo", "sac", "dpo", "bc", "reward"])
def test_learning_that_diverges_ends_in_a_sentence(run, demonstrations, tmp_path, command):
    given = f"--preferences {demonstrations}/prefs"
    line = {
        "ppo": f"ppo --env CartPole-v0 {SMALL} --learning-rate 1e30",
        "sac": "sac --env Pendulum-v1 --steps 400 --iteration-steps 200 --random-steps 50 "
        "--batch-size 16 --hidden-sizes 8 --learning-rate 1e30",
        "dpo": f"dpo {given} --reference {demonstrations}/weak.params --dpo-learning-rate 1e30",
        "bc": f"bc {given} --bc-learning-rate 1e30",
        "reward": f"reward {given} --reward-learning-rate 1e30",
    }[command]
    outcome = run(f"prefloop.cli {line} --out d")
    assert_one_sentence(outcome, "Learning diverged", "smaller learning rate")
    assert not list((tmp_path / "d").glob("*.params"))


def test_a_run_is_not_put_into_another_jobs_folder(run, demonstrations):
    prefs = demonstrations / "prefs"
    before = sorted(path.name for path in prefs.iterdir())
    line = f"prefloop.cli bc --preferences {prefs} --out"
    assert_one_sentence(run(f"{line} {prefs}"), "holds something else than a run")
    assert sorted(path.name for path in prefs.iterdir()) == before
    assert run(f"{line} b --bc-epochs 1").code == 0
    dpo = f"prefloop.cli dpo --preferences {prefs} --reference {demonstrations}/weak.params --out b"
    assert_one_sentence(run(f"{dpo} --resume"), "holds a run of prefloop bc, not of prefloop dpo")


def test_evaluations_add_up(run, demonstrations, tmp_path):
    line = f"prefloop.cli evaluate {demonstrations}/weak.params --env CartPole-v0 --out e"
    for flags in ("--episodes 3", "--episodes 4", "--episodes 3 --seed 1", "--episodes 3"):
        assert run(f"{line} {flags}").code == 0
    table = rows(tmp_path / "e" / "evaluation.csv")
    assert [(row["episodes"], row["seed"]) for row in table] == [("4", "0"), ("3", "1"), ("3", "0")]
    (tmp_path / "e" / "evaluation.csv").write_text("a,b\n1,2\n")
    assert_one_sentence(run(f"{line} --episodes 3"), "evaluation.csv is not of this program")


def test_a_runs_folder_stands_for_its_policy_and_one_episode_for_itself(
    run, demonstrations, tmp_path
):
    (tmp_path / "run").mkdir()
    shutil.copy(f"{demonstrations}/weak.params", tmp_path / "run/policy_checkpoint3.params")
    outcome = run("prefloop.cli evaluate run --env CartPole-v0 --episodes 1")
    assert outcome.code == 0, outcome.err
    assert "policy_checkpoint3.params: " in outcome.out
    assert "(an episode of CartPole-v0)" in outcome.out and "nan" not in outcome.out


@pytest.mark.parametrize("command", ["ppo", "pref-ppo", "sac", "pebble"])
def test_killed_and_resumed_is_as_never_stopped(command, tmp_path):
    flags = "--num-envs 4 --rollout-steps 25 --steps 2400 --iteration-steps 200"
    if command == "pref-ppo":
        flags += " --labels 60 --segment-length 10 --reward-epochs 3"
    if command in ("sac", "pebble"):
        flags = "--steps 2400 --iteration-steps 200 --batch-size 16 --hidden-sizes 8 "
        flags += "--updates-per-step 0.2 --evaluation-episodes 2 --random-steps 300"
    if command == "pebble":
        flags += " --labels 60 --segment-length 10 --reward-epochs 3 --exploration-steps 400 --no-keep-exploration"
    line = [sys.executable, "-m", "prefloop", command, "--env", "Pendulum-v1", *flags.split()]
    subprocess.run([*line, "--out", "whole"], cwd=tmp_path, check=True, capture_output=True)
    process = subprocess.Popen([*line, "--out", "cut"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    metrics = tmp_path / "cut" / "metrics.csv"
    while not (metrics.exists() and len(rows(metrics)) >= 4):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL) if hasattr(signal, "SIGKILL") else process.kill()
    process.wait()
    assert not (tmp_path / "cut" / "final_policy.params").exists()
    subprocess.run(
        [*line, "--out", "cut", "--resume"], cwd=tmp_path, check=True, capture_output=True
    )
    names = ["final_policy.params", "metrics.csv"]
    if command in ("pref-ppo", "pebble"):
        names += ["reward.params", "preferences/preferences.jsonl", "preferences/segments-0000.npz"]
    for name in names:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (
            name
        )


def test_wrong_files_end_in_sentences(run, demonstrations, tmp_path):
    prefs, weak = f"{demonstrations}/prefs", f"{demonstrations}/weak.params"
    assert (
        run(f"prefloop.cli reward --preferences {prefs} --reward-epochs 1 --out reward").code == 0
    )
    (tmp_path / "empty").mkdir()
    wrong = {
        f"pairs --env Bogus-v0 --policies {weak} --out x": ["Bogus"],
        "pairs --env CartPole-v0 --policies missing.params --out x": [
            "missing.params does not exist"
        ],
        f"pairs --env Acrobot-v1 --policies {weak} --out x": ["4 observations and 2 actions"],
        f"pairs --env Pendulum-v1 --policies {weak} --out x": ["discrete actions"],
        f"pairs --env CartPole-v0 --policies {weak} --episodes 3 --pairs 4 --out x": ["only 3"],
        f"pairs --env CartPole-v0 --policies {weak} --segment-length 900 --out x": ["900 steps"],
        "reward --preferences missing --out x": ["no preference dataset missing"],
        "reward --preferences empty --out x": ["empty holds no preference dataset"],
        f"ppo --env Acrobot-v1 --reward reward {SMALL} --out x": [
            "CartPole-v0, not for Acrobot-v1"
        ],
        f"ppo --env CartPole-v0 --reward empty {SMALL} --out x": [
            "empty/reward.params does not exist"
        ],
        f"ppo --env CartPole-v0 --reward {weak} {SMALL} --out x": [
            "says nothing of a reward model"
        ],
        f"ppo --env CartPole-v0 --init reward/reward.params {SMALL} --out x": ["holds no policy"],
        f"ppo --env CartPole-v0 --device nowhere {SMALL} --out x": ["--device nowhere"],
        "ppo --env CartPole-v0 --kl-coef 1 --out x": ["--kl_coef needs --init"],
        f"dpo --preferences {prefs} --reference missing.params --out x": [
            "missing.params does not exist"
        ],
        f"dpo --preferences {prefs} --reference {weak} --beta 0 --out x": [
            "--beta must be above 0"
        ],
        f"bc --preferences {prefs} --resume --out x": ["no run to resume in x"],
        "evaluate missing.params": ["missing.params does not exist"],
        f"evaluate {weak}": ["give --env"],
        "pref-ppo --env Pendulum-v1 --steps 100 --iteration-steps 100 --out x": [
            "steps of the run are too few"
        ],
        "pref-ppo --env Pendulum-v1 --labels 0 --out x": ["--labels must be above 0"],
        "pref-ppo --env Pendulum-v1 --profile p --out x": ["--profile does nothing without --run"],
        f"reward --preferences {prefs} --profile p --out x": [
            "--profile does nothing without --run"
        ],
    }
    for line, words in wrong.items():
        assert_one_sentence(run(f"prefloop.cli {line}"), *words)
        assert not (tmp_path / "x" / "final_policy.params").exists()


def test_a_dataset_with_nan_labels_or_strange_actions_is_refused(run, demonstrations, tmp_path):
    source = dataset.read(demonstrations / "prefs")
    folder = tmp_path / "odd"
    with dataset.writing(folder, {"env": "Acrobot-v1"}) as writer:
        writer.append(source[slice(0, 5)])
    assert_one_sentence(run("prefloop.cli reward --preferences odd --out x"), "not of Acrobot-v1")
    ties = tmp_path / "ties"
    with dataset.writing(ties, {"env": "CartPole-v0"}) as writer:
        writer.append(
            type(source)(source.segments, source.first, source.second, np.full(len(source), 0.5))
        )
    for command in ("reward", "bc", f"dpo --reference {demonstrations}/weak.params", "airl"):
        outcome = run(f"prefloop.cli {command} --preferences ties --out x")
        assert_one_sentence(outcome, "Nothing can be learned", "ties")


def test_two_runs_in_one_folder(demonstrations, tmp_path):
    line = [sys.executable, "-m", "prefloop", "ppo", "--env", "CartPole-v0", "--out", "x"]
    first = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        while not (tmp_path / "x" / ".lock").exists():
            assert first.poll() is None
            time.sleep(0.01)
        time.sleep(0.2)
        second = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
        assert second.returncode == 2
        assert "Traceback" not in second.stderr
    finally:
        first.kill()
        first.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="nobody is asked there")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_end_in_a_sentence(tmp_path, number, code):
    line = [sys.executable, "-m", "prefloop", "ppo", "--env", "CartPole-v0", "--out", "x"]
    process = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "x" / "metrics.csv").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Go on with the same command and --resume" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("env_id", "ends"), [("Endless-v0", "Pendulum"), ("FallsAlone-v0", "CartPole")]
)
def test_what_has_no_time_limit_is_learned_in_and_never_played_without_end(
    run, tmp_path, monkeypatch, env_id, ends
):
    entry = f"gymnasium.envs.classic_control:{ends}Env"
    spec = gym.envs.registration.EnvSpec(env_id, entry_point=entry)
    monkeypatch.setitem(gym.registry, env_id, spec)
    never = f"{env_id} has no time limit, so an episode may never end"
    outcome = run(f"prefloop.cli ppo --env {env_id} {SMALL} --out p")
    assert outcome.code == 0, outcome.err
    assert f"{never}, and only those that do are counted; --horizon gives it one" in outcome.err
    counted = [int(row["episodes"]) for row in rows(tmp_path / "p" / "metrics.csv")]
    assert (min(counted) > 0) == (ends == "CartPole")
    # what it says is next ends
    following = outcome.out.splitlines()[-1].removeprefix("Next: prefloop ")
    assert run(f"prefloop.cli {following}").code == 0
    assert_one_sentence(run("prefloop.cli evaluate p"), never, "give it a limit by --horizon")
    for _ in range(2):
        outcome = run("prefloop.cli evaluate p --episodes 3 --horizon 4")
        assert outcome.code == 0 and f"of {env_id} (horizon 4)" in outcome.out
    table = rows(tmp_path / "evaluation" / "evaluation.csv")
    assert [row["env"] for row in table] == [f"{env_id} (horizon 1000)", f"{env_id} (horizon 4)"]
    assert float(table[1]["mean_length"]) == 4
    for command in ("ppo", "pref-ppo"):  # or the first video would have no end
        line = f"prefloop.cli {command} --env {env_id} {SMALL} --video_every 1 --out q"
        line += " --labels 4 --segment_length 2" if command == "pref-ppo" else ""
        assert_one_sentence(run(line), never, "--video_every films whole ones")


def test_who_plays_what_may_never_end_says_so(run, demonstrations, monkeypatch):
    entry = "gymnasium.envs.classic_control:CartPoleEnv"
    spec = gym.envs.registration.EnvSpec("FallsAlone-v1", entry_point=entry)
    monkeypatch.setitem(gym.registry, "FallsAlone-v1", spec)
    line = f"prefloop.cli pairs --env FallsAlone-v1 --policies {demonstrations / 'weak.params'}"
    outcome = run(f"{line} --episodes 3 --pairs 2 --out d")
    assert outcome.code == 0 and "whole ones are played here; --horizon gives it one" in outcome.err


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_what_is_measured_again_replaces_its_row_whatever_it_is_called(
    run, demonstrations, tmp_path
):
    name = os.fsdecode(b"caf\xe9.params")  # no UTF-8
    shutil.copy(demonstrations / "weak.params", tmp_path / name)
    for _ in range(2):
        outcome = run(f"prefloop.cli evaluate {name} --env CartPole-v0 --episodes 2")
        assert outcome.code == 0, outcome.err
    (row,) = rows(tmp_path / "evaluation" / "evaluation.csv")
    assert row["policy"] == r"caf\udce9.params"


def test_runs_and_pairs_of_earlier_versions_go_on(run, tmp_path):
    """They knew neither an environment's changes nor a policy's description."""
    small = "--num_envs 4 --rollout_steps 32 --steps 256 --iteration_steps 128"
    line = f"prefloop.cli ppo --env CartPole-v0 {small} --out p"
    assert run(line).code == 0
    pairs = (
        "prefloop.cli pairs --env CartPole-v0 --policies p/final_policy.params --episodes 8 --out d"
    )
    assert run(f"{pairs} --pairs 6").code == 0
    later = ("wrappers", "horizon", "termination", "action_repeat", "frame_stack")
    for file in (tmp_path / "p" / "run.json", tmp_path / "d" / "metadata.json"):
        facts = json.loads(file.read_text())
        facts.pop("policy", None)
        assert all(facts["settings"].pop(name, "no") != "no" for name in later)
        file.write_text(json.dumps(facts))
    for again in (f"{line} --resume", f"{pairs} --pairs 9 --resume"):
        outcome = run(again)
        assert outcome.code == 0, outcome.err
    assert len(dataset.read(tmp_path / "d")) == 9
    outcome = run(f"{line} --resume --horizon 50")
    assert_one_sentence(outcome, "horizon None, not 50")


def test_pairs_of_changed_environments_are_not_mixed(run, tmp_path):
    small = "--num_envs 4 --rollout_steps 32 --steps 128 --iteration_steps 128"
    assert run(f"prefloop.cli ppo --env CartPole-v0 {small} --out p").code == 0
    pairs = (
        "prefloop.cli pairs --env CartPole-v0 --policies p/final_policy.params --episodes 8 --out d"
    )
    assert run(f"{pairs} --pairs 6 --horizon 9").code == 0
    outcome = run(f"{pairs} --pairs 9 --resume --horizon 8")
    assert_one_sentence(outcome, "with {'horizon': 9}, not with {'horizon': 8}")
    # what is not given is as it began
    outcome = run(f"{pairs} --pairs 9 --resume")
    assert outcome.code == 0 and "d holds 9 queries" in outcome.out, outcome.err
