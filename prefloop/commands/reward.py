"""`prefloop reward`: fit a reward model on preferences, and report how far to trust it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefloop.labelling.client.settings import ServerSettings, profile_setting, server_setting
from prefloop.rewards.settings import ANNOTATOR_ERRORS, WARM_UP, RewardSettings
from prefloop.settings import as_flat, meant_by_default, part, setting
from prefloop.training.settings import RunSettings
from prefloop.words import counted

DESCRIPTION = """Fits a reward model (one network or an ensemble) on a preference dataset. Training
stops by answers that are held out, and a report says how far the reward can be trusted."""
EPILOG = """Example: prefloop reward --preferences prefs --ensemble 3 --out reward. Writes
reward.params with run.json, metrics.csv and report.html, a page to look at. On what people have labelled so far:
prefloop reward --run cartpole-01 --out reward. Where several people have answered, some of them perhaps without
care: --annotator_errors learned. Details: docs/reward_model.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")
MOST_NAMED = 8  # annotators whose errors are printed; report.html has all


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `prefloop reward`.

    Raises:
        ValueError: a value that no fit can have, or not one source of preferences.
    """

    # fmt: off
    preferences: str = setting("", "folder of the preference dataset")
    labelling_run: str = setting("", "instead of --preferences: the run on the labelling server whose labels so far are taken", flag="run")
    annotator_errors: str = setting("none", "learn how often each annotator errs, so that answers count by how reliable who gave them is (learned), or hold all to be as --label_noise says (none)", choices=ANNOTATOR_ERRORS)
    run: RunSettings = part(RunSettings)
    reward: RewardSettings = part(RewardSettings)
    server: ServerSettings = part(ServerSettings, server=server_setting(needs="run"), profile=profile_setting(needs="run"))
    # fmt: on

    def __post_init__(self) -> None:
        if bool(self.preferences) == bool(self.labelling_run):
            raise ValueError("give either --preferences or --run")
        if self.annotator_errors == "none":
            return
        if self.reward.label_noise == 0:
            raise ValueError(
                "--annotator_errors learned begins with --label_noise / 2, which must be above 0"
            )
        if self.reward.ensemble == 1:
            raise ValueError(
                "--annotator_errors learned needs an --ensemble of several: who errs is told by members that "
                "have not learned from the answer"
            )
        if self.reward.epochs <= WARM_UP:
            raise ValueError(
                f"--annotator_errors learned needs more than {WARM_UP} --reward_epochs, not {self.reward.epochs}: "
                "in the first ones a reward can't tell who errs"
            )


def main(settings: Settings) -> None:
    """Fits and reports."""
    from contextlib import ExitStack
    from dataclasses import replace
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from prefloop import run_files
    from prefloop.commands import trust
    from prefloop.devices import usable_device, use_one_thread
    from prefloop.envs.spaces import spaces_of
    from prefloop.errors import UserError
    from prefloop.evaluation.judgement import AnswerFacts, judge
    from prefloop.evaluation.reward_report import write_report
    from prefloop.files import read_json, write_json
    from prefloop.labelling.client.connecting import connected
    from prefloop.rewards import reward_model
    from prefloop.rewards.annotators import who_answered
    from prefloop.rewards.training import RewardFit, make_model
    from prefloop.training import loop, outputs
    from prefloop.tuned import flags_of

    use_one_thread()
    run, reward = settings.run, settings.reward
    device, directory = usable_device(run.device), Path(run.out)
    source = settings.preferences
    with ExitStack() as stack:
        if settings.labelling_run:
            client = stack.enter_context(connected(settings.server))
            from prefloop.labelling.client.people import People

            people = People(client, settings.labelling_run, directory / run_files.PREFERENCES)
            if not people.counts().labels:
                raise UserError(
                    f"Nobody has labelled anything of the run {settings.labelling_run} yet."
                )
            if (directory / run_files.FACTS).is_file() and not run.resume:
                raise UserError(
                    f"{directory} holds a fit to earlier labels; choose another --out for those of "
                    "now, or go on with one that was stopped by --resume."
                )
            stack.enter_context(outputs.claimed(settings, "prefloop reward"))
            # a fit that goes on stays with the labels that it began with
            if not run.resume and people.current() is None:
                raise UserError(
                    f"The run {settings.labelling_run} has no labels but those of who is left out; take somebody in again, by "
                    "prefloop runs include."
                )
            source = str(people.folder)
        preferences, env, made, file = outputs.read_preferences(source)
        model = make_model(spaces_of(made), reward, run.seed)
        # people may go on meanwhile
        answer_facts = AnswerFacts.of(Path(source), preferences, made, model)
        who = who_answered(answer_facts.facts) if settings.annotator_errors == "learned" else None
        if who is not None and not any(who):
            raise UserError(
                f"{source} does not say who answered, so nobody's errors can be learned; leave "
                "--annotator_errors out."
            )
        fit = RewardFit(model, preferences, reward, run.seed, device, annotators=who)
        facts = outputs.facts("reward", env, preferences=file)
        facts |= {"reward_model": model.facts(), "reward_fit": fit.facts()}
        facts |= {"settings": as_flat(settings)}
        if not settings.labelling_run:
            stack.enter_context(outputs.claimed(settings, "prefloop reward"))
        shown = ("loss", "accuracy", "held_out_loss", "held_out_accuracy")
        training = loop.Training(learner=fit, iterations=reward.epochs, show=shown)
        loop.turn(training, run, facts, defaults=meant_by_default(Settings))
        reward_model.save(directory, fit.finish())
        annotators = fit.annotators
        if annotators:
            errors = {name: learned["error"] for name, learned in annotators.items()}
            answer_facts = replace(answer_facts, errors=errors)
            there = read_json(directory / run_files.FACTS)
            write_json(directory / run_files.FACTS, {**there, "annotators": annotators})
        noise, title = reward.label_noise, f"A reward for {env}"
        if answer_facts.of_people:
            from prefloop.commands.report_clips import ReportClips

            drawn = Path(stack.enter_context(TemporaryDirectory()))
            draw = ReportClips(Path(source), preferences.answered, env, drawn)
            answer_facts = replace(answer_facts, draw=draw)
        judgement = judge(model, preferences.answered, fit.held_out, noise, answer_facts)
        summary = write_report(directory, judgement, title)
        if settings.labelling_run:
            now = people.standing()
            if now is not None and now.say_as(preferences):
                people.report(model, preferences, trust.as_told(judgement))
            else:
                print(
                    f"Note: it was fitted to the {counted(len(preferences), 'label')} that it began with, and others stand by "
                    f"now, {len(now or ())} in all; the results page does not hear of it."
                )
    print(summary)
    if annotators:
        print(_in_words(annotators))
    elif fit.errors is not None:
        print(
            f"Note: nobody's errors were learned: the reward was best after {fit.best_epoch + 1} passes, before "
            "it could tell who errs. More answers, or another --seed, may."
        )
    print(
        f"Wrote {directory / run_files.REWARD}, run.json, metrics.csv and report.html, a page to look at."
    )
    print(f"Next: prefloop ppo {flags_of(env)} --reward {run.out} --out policy")


def _in_words(annotators: Mapping[str, Mapping[str, Any]]) -> str:
    """Who errs how often, those first who err most."""
    worst = sorted(annotators.items(), key=lambda item: -item[1]["error"])
    named = [
        f"{name or 'not named'}: {learned['error']:.0%} of {learned['answers']}"
        for name, learned in worst[:MOST_NAMED]
    ]
    left = len(worst) - len(named)
    more = f", and {left} who err less often" if left else ""
    return f"Answers that are errors, as learned of each annotator: {', '.join(named)}{more}."
