"""An environment that a module of the user's registers, from the first command to the last."""

import subprocess
import sys

import pytest
from conftest import ROOT, assert_one_sentence

MODULE = """
import gymnasium

gymnasium.register("Mine-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=30)
"""
PPO = "--num_envs 4 --rollout_steps 32 --hidden_sizes 8"
COMMANDS = f"""
vpg.py --env my_envs:Mine-v0 --epochs 2 --batch_size 100 --num_envs 4 --checkpoint --checkpoint_dir synthetic
offline_reward_learning.py --env my_envs:Mine-v0 --num_checkpoints 2 --num_iter 2
vpg.py --env my_envs:Mine-v0 --epochs 1 --batch_size 100 --num_envs 4 --reward reward.params --checkpoint_dir rlhf
rollout_policy.py --env my_envs:Mine-v0 --checkpoint rlhf --gradescope g.json --min_return 1
prefloop ppo --env my_envs:Mine-v0 --steps 256 --iteration_steps 128 {PPO} --out ppo
prefloop evaluate ppo/final_policy.params synthetic/policy_checkpoint1.params --episodes 5
prefloop pairs --env my_envs:Mine-v0 --policies ppo/final_policy.params --episodes 9 --pairs 20 --out pairs
prefloop pairs --env my_envs:Mine-v0 --policies ppo/final_policy.params --episodes 9 --pairs 30 --out pairs --resume
prefloop reward --preferences pairs --reward_epochs 2 --out reward
prefloop ppo --env my_envs:Mine-v0 --init ppo/final_policy.params --reward reward --steps 256 --iteration_steps 128 {PPO} --out again
prefloop dpo --preferences pairs --reference ppo/final_policy.params --dpo_updates 3 --out dpo
prefloop pref-ppo --env my_envs:Mine-v0 --steps 256 --iteration_steps 128 --labels 6 --segment_length 5 {PPO} --out pref
prefloop compare --env my_envs:Mine-v0 --policies ppo/final_policy.params again/final_policy.params --methods bc --labels 5 --seeds 0 --evaluation_episodes 5 --episodes 9 --out c
"""  # fmt: skip


def test_an_environment_of_a_module_goes_through_all_commands(tmp_path):
    (tmp_path / "my_envs.py").write_text(MODULE)
    # in one process, and not this one, in which nobody is to have registered it
    code = f"""
import runpy, sys
sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]
if __name__ == "__main__":
    for line in {COMMANDS!r}.strip().splitlines():
        import gymnasium
        gymnasium.registry.pop("Mine-v0", None)
        sys.modules.pop("my_envs", None)
        script, *sys.argv[1:] = line.split()
        try:
            if script == "prefloop":
                runpy.run_module("prefloop", run_name="__main__")
            else:
                runpy.run_path({str(ROOT)!r} + "/" + script, run_name="__main__")
        except SystemExit as end:
            assert not end.code, line
"""
    (tmp_path / "all.py").write_text(code)
    result = subprocess.run(
        [sys.executable, "all.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "c" / "results.csv").exists()


@pytest.mark.parametrize(
    "env_id",
    ["no_such_module:Mine-v0", "json:Mine-v0", ":Mine-v0", ".x:Mine-v0", "json:json:Mine-v0"],
)
def test_a_module_that_has_no_such_environment_is_a_sentence(run, env_id):
    for line in (f"vpg.py --env {env_id}", f"prefloop.cli ppo --env {env_id} --out x"):
        assert_one_sentence(run(line), env_id)


def test_a_version_is_asked_for_in_a_module_too(run, tmp_path, monkeypatch):
    (tmp_path / "other_envs.py").write_text(MODULE.replace("Mine", "Other"))
    monkeypatch.syspath_prepend(tmp_path)
    assert_one_sentence(run("vpg.py --env other_envs:Other"), "did you mean", "other_envs:Other-v0")
