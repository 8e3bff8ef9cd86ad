"""What is stored of a person, told to them; exports in which nobody is named; and whoever is forgotten."""

import io
import json
import stat
import uuid
import zipfile

import pytest
from calls import fill, lease, say
from conftest import assert_one_sentence
from taking_part import make_study

from prefloop.errors import UserError
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.client.standing import StandingLabels
from prefloop.labelling.server.pseudonyms import pseudonyms, secret_of
from prefloop.labelling.server.security import make_tokens

pytest_plugins = ["store_fixtures"]
RUN = "/api/runs/cartpole-01"
NAME = "Zebedee Quux"


def label(api, annotator, count=2, run="cartpole-01"):
    for _ in range(count):
        given = lease(api, run, annotator=annotator, session=str(uuid.uuid4()))["queries"][0]
        assert say(api, given, seconds=2).status_code == 200


def exported(api, query=""):
    """The files of an export, and whose its answers are."""
    archive = zipfile.ZipFile(io.BytesIO(api.get(f"{RUN}/export{query}").content))
    lines = archive.read("preferences.jsonl").decode().splitlines()
    files = {name: archive.read(name) for name in archive.namelist()}
    return files, [json.loads(line)["annotator"] for line in lines]


def typing(monkeypatch, text):
    """Somebody types this when they are asked; what they were asked stands on the terminal."""
    monkeypatch.setattr("builtins.input", lambda question: print(question) or text)


def entered(person):
    person.enter()
    return person


# pseudonyms


def test_an_export_without_names(api):
    fill(api, num_queries=3, annotators_per_query=2)
    label(api, NAME, 3)
    label(api, "ada", 3)
    _, named = exported(api)
    files, once = exported(api, "?pseudonyms=true")
    _, again = exported(api, "?pseudonyms=true")
    assert set(named) == {NAME, "ada"} and once == again
    assert len(set(zip(named, once, strict=True))) == 2, "one person is one, and no other"
    assert all(one.startswith("p-") for one in once)
    assert not any(b"Zebedee" in content or b'"ada"' in content for content in files.values())
    assert json.loads(files["metadata.json"])["pseudonyms"] is True


def test_a_participants_id_is_not_in_it(api):
    (ada,) = make_study(api, people=1, num_queries=2)
    entered(ada).label_all()
    files, once = exported(api, "?pseudonyms=true")
    assert len(set(once)) == 1
    assert not any(b"pilot-01" in content for content in files.values())


def test_pseudonyms_need_the_secret(tmp_path):
    path = tmp_path / "pseudonyms.key"
    secret = secret_of(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and secret_of(path) == secret
    one, other = pseudonyms(secret), pseudonyms(bytes(32))
    assert one("ada") == one("ada") != one("bob") and one("ada") != other("ada")
    path.write_text("short")
    with pytest.raises(UserError, match="damaged: it holds no secret"):
        secret_of(path)


def test_a_server_that_knows_no_pseudonyms_is_not_believed(api, run, monkeypatch, tmp_path):
    fill(api)
    label(api, "ada")
    monkeypatch.setenv("PREFLOOP_SERVER", str(api.base_url))
    outcome = run("prefloop.cli runs export cartpole-01 prefs --pseudonyms")
    assert outcome.code == 0, outcome.err
    assert '"ada"' not in (tmp_path / "prefs" / "preferences.jsonl").read_text()
    export = LabellingClient.export
    monkeypatch.setattr(LabellingClient, "export", lambda self, name, _=False: export(self, name))
    outcome = run("prefloop.cli runs export cartpole-01 named --pseudonyms")
    assert_one_sentence(outcome, "which names everybody; nothing was written")
    assert not (tmp_path / "named").exists()
    outcome = run("prefloop.cli runs show cartpole-01 --pseudonyms")
    assert_one_sentence(outcome, "--pseudonyms does nothing with show")


# what is stored


def test_a_participant_is_told_what_is_stored(api):
    ada, bob = make_study(api, num_queries=4, pairs=2, consent="Yes?")
    digest = entered(ada).get().json()["digest"]
    assert ada.step("consent", digest=digest).status_code == 200
    assert ada.say(ada.lease()[0], seconds=3.5).status_code == 200
    told = ada.get("/stored").json()
    assert told["name"] == "pilot-01" and told["answers"] == 1 and told["seconds"] == 3.5
    assert told["participant"]["consent"] == digest and told["participant"]["consented_at"]
    assert told["participant"]["device"] and told["participant"]["code"] is None
    assert told["runs"] == ["cartpole-01"] and told["first"] and told["pages"] == 1
    told = bob.get("/stored").json()
    assert told["answers"] == 0 and told["runs"] == [] and told["participant"]["ref"] == "02"


def test_who_may_ask_whom(serve):
    tokens = make_tokens()
    api = serve(tokens=tokens.hashed)
    trainer = {"authorization": f"Bearer {tokens.trainer}"}
    annotator = {"authorization": f"Bearer {tokens.annotator}"}
    (ada,) = make_study(api, people=1, headers=trainer)
    ada.enter()

    def ask(what, name, headers):
        return api.post(f"/api/people/{what}", json={"annotator": name}, headers=headers)

    assert ask("stored", "pilot-01", trainer).json()["participant"]["ref"] == "01"
    assert ask("stored", "pilot-01", annotator).status_code == 403
    assert ask("stored", "pilot-01", ada.headers).status_code == 403
    for headers in (annotator, ada.headers):
        assert ask("forget", "pilot-01", headers).status_code == 403
    assert ask("forget", "pilot-02", trainer).status_code == 404
    assert "did you mean pilot-01?" in ask("forget", "pilot-02", trainer).json()["detail"]
    assert ask("forget", "pilot-01", trainer).status_code == 200


# forgotten


def test_who_is_forgotten_in_the_middle(api):
    ada, bob = make_study(api, num_queries=1)
    (given,) = entered(ada).lease()
    assert entered(bob).lease() == []
    gone = api.post("/api/people/forget", json={"annotator": "pilot-01"}).json()
    assert gone["wiped"] and gone["rows"]["participants"] == 1
    for reply in (ada.say(given), ada.get(), ada.lease_reply(), ada.enter_reply()):
        assert reply.status_code == 403 and reply.json()["code"] == "ended"
    assert len(bob.lease()) == 1, "what she had open is his"
    assert [one["ref"] for one in api.get("/api/studies/pilot").json()["participants"]] == ["02"]


def test_a_trainer_reads_anew(api):
    fill(api, num_queries=4)
    label(api, "ada")
    label(api, "bob", 1)
    with LabellingClient(str(api.base_url)) as client:
        standing = StandingLabels(client, "cartpole-01")
        assert standing.read() and len(standing.events) == 3
        client.forget("bob")
        label(api, "eve", 1)  # what bob had, under the number of his answer
        assert standing.read()
        assert sorted(event.annotator for event in standing.events) == ["ada", "ada", "eve"]
        assert not standing.read()
        for name in ("ada", "eve"):
            client.forget(name)
        assert standing.read() and standing.preferences is None


def test_in_a_terminal(api, run, monkeypatch):
    fill(api)
    label(api, NAME)
    monkeypatch.setenv("PREFLOOP_SERVER", str(api.base_url))
    forget = f"prefloop.cli runs forget '{NAME}'"
    assert_one_sentence(run("prefloop.cli runs forget 'Zebedee Qux'"), "did you mean Zebedee Quux?")
    typing(monkeypatch, "yes")
    asked = run(forget)
    assert_one_sentence(asked, f"{NAME} was not deleted")
    assert "2 answers, 0 skips, 0 answers taken back in 1 run?" in asked.out
    typing(monkeypatch, NAME)
    outcome = run(forget)
    assert outcome.code == 0, outcome.err
    assert "2 pairs are asked again" in outcome.out and "events 2" in outcome.out
    assert "Not undone by this: backups" in outcome.out
    assert_one_sentence(run(f"{forget} --yes"), "Nothing is stored")


def test_a_participant_in_a_terminal(api, run, monkeypatch):
    ada, _ = make_study(api, num_queries=2)
    entered(ada).label_all()
    monkeypatch.setenv("PREFLOOP_SERVER", str(api.base_url))
    assert_one_sentence(run("prefloop.cli study forget pilot 1"), "did you mean 01")
    assert_one_sentence(run("prefloop.cli study forget gone 01 --yes"), "no study gone")
    outcome = run("prefloop.cli study forget pilot 01 --yes")
    assert outcome.code == 0, outcome.err
    assert "their link in the study pilot" in outcome.out
    assert ada.get().status_code == 403


# a study is deleted


def checked_study(api):
    """A study with checks; what its participants have said stands in the run and in that of checks."""
    fill(api, "checks", num_queries=2)
    label(api, "researcher", 2, "checks")
    fill(api, num_queries=6)
    runs = {"pairs": ["cartpole-01"], "checks": ["checks"]}
    people = make_study(api, runs=runs, pairs=2, checks_every=2)
    for person in people:
        assert entered(person).label_all() > 2
    return people


@pytest.mark.parametrize("with_answers", [False, True])
def test_a_study_is_deleted(api, run, monkeypatch, with_answers):
    (ada, _) = checked_study(api)
    monkeypatch.setenv("PREFLOOP_SERVER", str(api.base_url))
    delete = f"prefloop.cli study delete pilot{' --answers' if with_answers else ''}"
    typing(monkeypatch, "no")
    asked = run(delete)
    assert_one_sentence(asked, "pilot was not deleted")
    assert ("but not the 4 labels" in asked.out) != with_answers
    outcome = run(f"{delete} --yes")
    assert outcome.code == 0, outcome.err
    assert api.get("/api/studies").json() == [] and ada.get().status_code == 403
    who = {event["annotator"] for event in api.get(f"{RUN}/labels").json()["events"]}
    assert who == (set() if with_answers else {"pilot-01", "pilot-02"})
    who = {event["annotator"] for event in api.get("/api/runs/checks/labels").json()["events"]}
    assert who == {"researcher"}, "or theirs would be taken for known answers"
    counts = api.get("/api/runs/checks").json()["counts"]
    assert counts["left"] == 0 and counts["labels"] == 2
    assert len(lease(api)["queries"]) == 1, "anybody may label the run again"
    assert_one_sentence(run("prefloop.cli study delete pilot --yes"), "There is no study pilot")
