"""Which settings methods have in a comparison, and that a folder of others is not added to."""

import pytest

from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.files import read_json, write_json
from prefloop.sweeps.cells import Comparison
from prefloop.sweeps.remembering import remember
from prefloop.sweeps.settings import CompareSettings, run_settings, tuned_flags


def test_methods_have_their_settings_for_the_environment(tmp_path):
    def of(env, **more):
        methods = ("dpo", "pref-ppo", "pebble", "sac")
        environment = EnvSettings(env=env)
        return CompareSettings(methods=methods, environment=environment, out=str(tmp_path), **more)

    walker = of("dm_control/walker-walk-v0")
    assert set(tuned_flags(walker)) == {
        "pebble",
        "sac",
    }  # none of PrefPPO's, none of demonstrators'
    assert tuned_flags(walker)["sac"] == {"network": "residual"}
    assert run_settings("pebble", walker, 30).agent.network == "residual"
    assert run_settings("pebble", walker, 30).questions.labels == 30
    assert not tuned_flags(of("dm_control/walker-walk-v0", untuned=True))
    assert not tuned_flags(of("Pendulum-v1"))
    swingup = tuned_flags(of("dm_control/cartpole-swingup-v0"))
    assert swingup["sac"] == swingup["pebble"] == {"updates_per_step": 2.0}
    # the weaker demonstrator, whom PrefPPO begins as, has observations of its own
    cheetah = of("HalfCheetah-v5")
    assert not run_settings("pref-ppo", cheetah, 30).agent.normalise_obs
    assert tuned_flags(cheetah)["demonstrators"] == {"normalise_obs": True}


def test_a_comparison_of_other_settings_is_not_added_to(tmp_path):
    def of(env="dm_control/walker-walk-v0", **more):
        more = {"methods": ("dpo", "sac"), **more}
        environment = EnvSettings(env=env, action_repeat=2)
        return CompareSettings(environment=environment, out=str(tmp_path), **more)

    remember(Comparison(of()))
    known = read_json(tmp_path / "compare.json")
    assert known["by_method"]["sac"]["network"] == "residual"
    assert not known["by_method"]["demonstrators"]["normalise_obs"]
    # thousands of settings take more room than any run's description
    with (tmp_path / "compare.json").open("a") as file:
        file.write(" " * 1_000_000)
    assert remember(Comparison(of(seeds=("7",)))).settings.seeds == ("0-4", "7")
    # another version's settings, or none that it wrote down
    for sac in ({**known["by_method"]["sac"], "batch_size": 64}, None):
        write_json(tmp_path / "compare.json", {**known, "by_method": {"sac": sac} if sac else {}})
        with pytest.raises(UserError, match="in which sac had other settings, by an earlier"):
            remember(Comparison(of()))
        remember(Comparison(of(methods=("dpo",))))  # which has none of its own
    write_json(tmp_path / "compare.json", {**known, "by_method": 5})
    with pytest.raises(UserError, match=r"compare\.json is damaged"):
        remember(Comparison(of()))
    cheetah = {**known["settings"], "env": "HalfCheetah-v5"}
    write_json(tmp_path / "compare.json", {"settings": cheetah})
    with pytest.raises(UserError, match="in which demonstrators had other settings"):
        remember(Comparison(of("HalfCheetah-v5", methods=("dpo",))))
    with pytest.raises(UserError, match="a comparison with untuned False, not True"):
        remember(Comparison(of("HalfCheetah-v5", methods=("dpo",), untuned=True)))
