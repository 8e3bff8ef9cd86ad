"""Studies: a link for each participant, what it may do, and what nobody else may do for them."""

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from calls import ADA, fill, lease, lease_reply, say
from serving import serving
from taking_part import Person, make_study

from prefloop.labelling import links
from prefloop.labelling.server.app import create_app
from prefloop.labelling.server.clips import ClipStore
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.security import LINKS_MAY, make_tokens

pytest_plugins = ["store_fixtures"]
PILOT = "/api/studies/pilot"


def entered(people):
    for person in people:
        person.enter()
    return people


def table(api, name="pilot", **options):
    people = api.get(f"/api/studies/{name}", **options).json()["participants"]
    return {person["ref"]: person for person in people}


# links


def test_a_link_labels_under_its_own_name(api):
    ada, bob = entered(make_study(api, pairs=2))
    assert ada.get().json()["ref"] == "01" and ada.get().json()["pairs"] == 2
    assert ada.label_all() == 2 and bob.label_all("right") == 2
    events = api.get("/api/runs/cartpole-01/labels").json()["events"]
    assert [event["annotator"] for event in events] == 2 * ["pilot-01"] + 2 * ["pilot-02"]
    assert ada.post("/finish").json()["step"] == "thanks"
    code = ada.get().json()["code"]
    assert len(code) == 8 and code != bob.post("/finish").json()["code"]
    people = table(api)
    assert people["01"]["state"] == "finished" and people["01"]["code"] == code
    assert people["01"]["labels"] == 2 and people["02"]["started_at"]
    assert ada.lease_reply().status_code == 409, "it is over"
    assert ada.undo().status_code == 409


def test_only_hashes_of_links_are_kept(api, store, tmp_path):
    (ada,) = make_study(api, people=1)
    store.close()
    for path in tmp_path.glob("labels.sqlite3*"):
        assert ada.token.encode() not in path.read_bytes()
        assert ada.token.removeprefix(links.PREFIX).encode() not in path.read_bytes()


def test_a_study_sent_twice_is_there_once(api):
    fill(api)
    body = {
        "about": {},
        "runs": {"pairs": ["cartpole-01"]},
        "links": [{"ref": "01", "token": links.digest("a")}],
    }
    first = api.put(PILOT, json=body)
    assert first.status_code == 200 and api.put(PILOT, json=body).json() == first.json()
    other = {**body, "about": {"pairs": 3}}
    assert "another name" in api.put(PILOT, json=other).json()["detail"]
    taken = api.put("/api/studies/second", json={**body, "links": []})
    assert taken.status_code == 409 and "part of the study pilot" in taken.json()["detail"]
    more = {"links": [{"ref": "02", "token": links.digest("b")}]}
    for _ in range(2):
        assert len(api.post(f"{PILOT}/participants", json=more).json()["participants"]) == 2
    same = {"links": [{"ref": "03", "token": links.digest("b")}]}
    assert api.post(f"{PILOT}/participants", json=same).status_code == 409


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"runs": {"pairs": ["gone"]}}, "no run gone"),
        ({"runs": {"pairs": ["cartpole-01", "cartpole-01"]}}, "named twice"),
        ({"runs": {"pairs": ["cartpole-01"], "checks": ["cartpole-01"]}}, "anything else"),
        ({"about": {"pairs": 0}}, "about.pairs"),
        ({"about": {"return_address": "javascript:alert(1)"}}, "about.return_address"),
        ({"about": {"comprehension": [{"question": "?", "options": ["a", "b"], "right": "c"}]}}, "among the options"),
        ({"about": {"colour": "red"}}, "about.colour"),
        ({"links": [{"ref": "../..", "token": links.digest("a")}]}, "links.0.ref"),
        ({"links": [{"ref": "01", "token": "plain"}]}, "links.0.token"),
    ],
)  # fmt: skip
def test_what_no_study_can_be(api, change, words):
    fill(api)
    reply = api.put(PILOT, json={"about": {}, "runs": {"pairs": ["cartpole-01"]}, **change})
    assert reply.status_code in (404, 409, 422) and words in reply.json()["detail"]
    assert api.get("/api/studies").json() == []


def test_nobody_acts_as_another(serve):
    tokens = make_tokens()
    api = serve(tokens=tokens.hashed)
    trainer = {"authorization": f"Bearer {tokens.trainer}"}
    ada, bob = entered(make_study(api, headers=trainer))
    (given,) = ada.lease()
    for token in (tokens.annotator, tokens.trainer):
        api.headers["authorization"] = f"Bearer {token}"
        assert say(api, given).status_code == 403
        # nor under her name, where the run is not even part of the study
        for reply in (
            lease_reply(api, annotator="pilot-01"),
            api.post("/api/undo", json={**ADA, "annotator": "pilot-01", "id": str(uuid.uuid4()), "run": "cartpole-01"}),
            api.post("/api/runs/cartpole-01/release", json={**ADA, "annotator": "pilot-01", "leases": []}),
        ):  # fmt: skip
            assert reply.status_code == 403, reply.text
            assert "only their own link" in reply.json()["detail"]
        assert "part of the study pilot" in lease_reply(api).json()["detail"]
    # nor are labels taken that are said to be hers; those of other runs may come from an export
    label = {"id": str(uuid.uuid4()), "query": given["query"], "annotator": "pilot-01", "label": 1}
    reply = api.post("/api/runs/cartpole-01/labels", json={"labels": [label]})
    assert reply.status_code == 403 and "only their own link" in reply.json()["detail"]
    other = {**label, "query": fill(api, "copy")[0]}
    assert api.post("/api/runs/copy/labels", json={"labels": [other]}).json() == {"added": 1}
    api.headers.pop("authorization")
    assert bob.say(given).status_code == 403
    assert bob.undo().status_code == 409, "there is nothing of his to take back"
    held = [{"lease": given["lease"], "expires_at": given["expires_at"]}]
    assert bob.post("/release", session=ada.session, leases=held).status_code == 204
    assert ada.say(given).status_code == 200, "it stayed hers"
    event = ada.undo().json()["queries"][0]
    assert bob.undo(undoes=event["lease"]).status_code == 409
    assert bob.say(event).status_code == 403
    assert ada.say(event, "right").status_code == 200


def test_a_participant_answers_nothing_of_ordinary_runs(api):
    (ada,) = entered(make_study(api, people=1))
    fill(api, "other")
    given = lease(api, "other")["queries"][0]
    assert ada.say(given).status_code == 403
    assert say(api, given).status_code == 200


def test_a_link_that_is_revoked_in_the_middle(api):
    ada, bob = entered(make_study(api, num_queries=1))
    (given,) = ada.lease()
    assert bob.lease() == []
    revoked = api.post(f"{PILOT}/participants/01/revoke").json()
    assert revoked["state"] == "revoked"
    for reply in (ada.say(given), ada.get(), ada.lease_reply(), ada.enter_reply()):
        assert reply.status_code == 403 and "does not hold" in reply.json()["detail"]
    assert ada.api.get("/api/runs", headers=ada.headers).status_code == 403, "nor is she anybody"
    assert ada.api.get("/api/health", headers=ada.headers).json()["role"] is None
    assert len(bob.lease()) == 1, "what she had open is his"
    token = links.new_token()
    renewed = api.post(f"{PILOT}/participants/01/renew", json={"token": links.digest(token)})
    assert renewed.json()["state"] == "started"
    again = Person(api, token)
    assert again.enter()["ref"] == "01" and ada.get().status_code == 403
    assert api.post(f"{PILOT}/participants/99/revoke").status_code == 404


def test_a_link_works_on_one_device_at_a_time(api):
    (ada,) = entered(make_study(api, people=1))
    (given,) = ada.lease()
    phone = Person(api, ada.token, device=str(uuid.UUID(int=8)))
    assert phone.get().json()["elsewhere"] and not ada.get().json()["elsewhere"]
    assert "another device" in phone.lease_reply().json()["detail"]
    phone.enter()
    assert ada.get().json()["elsewhere"]
    for reply in (ada.lease_reply(), ada.undo(), ada.post("/leave")):
        assert reply.status_code == 403
    assert ada.say(given).status_code == 200, "an answer that was given is not lost"
    assert len(phone.lease()) == 1
    other = make_study(api, "second", people=1, run="cartpole-02", one_device=False)[0]
    other.enter()
    Person(api, other.token, device=str(uuid.UUID(int=8))).lease()
    assert len(other.lease()) == 1


def test_no_more_pairs_than_a_link_is_for(api):
    (ada,) = entered(make_study(api, people=1, pairs=3, num_queries=10))
    given = ada.lease(8)
    assert len(given) == 3
    tab = Person(api, ada.token)  # another one of the same browser
    leases = {one["lease"] for one in given}
    assert {one["lease"] for one in tab.lease(8)} == leases, "the same ones: there are no more"
    for one in given[:2]:
        ada.say(one)
    assert [one["lease"] for one in ada.lease(8)] == [given[2]["lease"]], "the last"
    assert ada.lease(8, holding=[given[2]["lease"]]) == []
    assert ada.post("/finish").status_code == 409, "one is left"
    assert ada.say(given[2]).status_code == 200
    assert ada.undo().json()["queries"][0]["query"] == given[2]["query"]
    assert ada.label_all() == 1
    assert ada.post("/finish").status_code == 200


def test_no_more_answers_than_a_link_is_for(api):
    (ada,) = entered(make_study(api, people=1, pairs=3, num_queries=10))
    given = []
    for _ in range(3):  # let go of, and kept in mind
        given += ada.lease(3)
        held = [{"lease": one["lease"], "expires_at": one["expires_at"]} for one in given[-3:]]
        ada.post("/release", session=ada.session, leases=held)
    late = list({one["query"]: one for one in given}.values())
    assert len(late) > 3
    assert [ada.say(one).status_code for one in late[:3]] == 3 * [200]
    refused = ada.say(late[3])
    assert refused.status_code == 409 and refused.json()["code"] == "enough"
    assert table(api)["01"]["labels"] == 3 and ada.post("/finish").json()["step"] == "thanks"
    assert ada.say(late[3]).status_code == 409, "nor afterwards"


@pytest.mark.parametrize("about", [{}, {"pairs": 50}])
def test_repeats_come_on_top_of_all_pairs(api, about):
    fill(api, num_queries=10, repeats=0.2)
    (ada,) = entered(make_study(api, people=1, runs={"pairs": ["cartpole-01"]}, **about))
    for number in range(12):
        pairs = ada.get().json()["pairs"]
        assert pairs == max(10, number + 1) or number == 11, "the last may come or not"
        (given,) = ada.lease()
        assert ada.say(given).status_code == 200
        if number < 9:
            assert ada.post("/finish").status_code == 409
    assert ada.lease_reply().json()["state"] == "finished"
    assert ada.get().json()["pairs"] == 12
    assert ada.post("/finish").json()["step"] == "thanks"


def test_nobody_waits_for_a_run_that_is_archived(api):
    (ada,) = entered(make_study(api, people=1))
    assert len(ada.lease()) == 1 and ada.post("/release", session=ada.session, leases=[]).is_success
    api.post("/api/runs/cartpole-01/archive")
    bob = Person(api, ada.token)
    assert ada.lease_reply().json()["state"] in ("queries", "finished")
    for given in bob.lease():
        assert bob.say(given).status_code == 200
    assert bob.lease_reply().json()["state"] == "finished"
    assert bob.post("/finish").json()["step"] == "thanks"


def test_whoever_is_left_out_is_replaced(api):
    careless, careful = entered(make_study(api, num_queries=4, answers_per_pair=2))
    assert careless.label_all() == careful.label_all() == 4
    token = links.new_token()
    body = {"links": [{"ref": "03", "token": links.digest(token)}]}
    api.post(f"{PILOT}/participants", json=body)
    (other,) = entered([Person(api, token)])
    assert other.lease() == [], "there is nothing left to answer"
    api.post("/api/runs/cartpole-01/exclude", json={"annotator": "pilot-01"})
    assert other.label_all("right") == 4 and careful.lease() == []
    results = api.get("/api/runs/cartpole-01/results").json()
    assert {one["n"] for one in results["pairs"]} == {4}


def test_who_leaves_gives_back_what_is_open(api):
    ada, bob = entered(make_study(api, num_queries=1))
    assert len(ada.lease()) == 1 and bob.lease_reply().json()["state"] == "waiting"
    assert ada.post("/leave").json()["step"] == "left"
    assert ada.lease_reply().status_code == 409
    assert len(bob.lease()) == 1
    assert ada.get().json()["code"] is None, "it is for those who finish"
    assert table(api)["01"]["state"] == "left"


def test_an_open_link_makes_participants(api):
    token = links.new_token()
    make_study(api, people=0, open_link=links.digest(token), most_participants=2, num_queries=3)
    door = Person(api, token)
    assert door.get().json()["step"] == "join"
    assert door.lease_reply().status_code == 403 and door.post("/enter", device=str(uuid.uuid4())).status_code == 403  # fmt: skip
    own = links.new_token()
    for _ in range(2):  # the reply may have been lost
        assert door.post("/join", ref="5f3a", token=own).status_code == 204
    ada = Person(api, own)
    assert ada.enter()["ref"] == "5f3a"
    taken = door.post("/join", ref="5f3a", token=links.new_token())
    assert taken.status_code == 409 and "takes part already" in taken.json()["detail"]
    nameless = links.new_token()
    assert door.post("/join", token=nameless).status_code == 204
    assert len(Person(api, nameless).enter()["ref"]) == 8
    full = door.post("/join", ref="third", token=links.new_token())
    assert full.status_code == 409 and "all the participants" in full.json()["detail"]
    ada.post("/leave")
    assert door.post("/join", ref="third", token=links.new_token()).status_code == 204
    for ref in (
        "",
        "a b",
        "../x",
        "é",
        "x\n",
        40 * "x",
        5000 * "x",
        "ada@example.org",
        "{{%PROLIFIC_PID%}}",
    ):
        reply = door.post("/join", ref=ref, token=links.new_token())
        assert reply.status_code == 422 and reply.json()["code"] == "id"
        assert "39 at most" in reply.json()["detail"]
    assert door.post("/join", ref="x", token="link_short").status_code == 422
    assert api.post(f"{PILOT}/revoke-open-link").json()["open_link"] is False
    assert door.get().status_code == 403 and Person(api, nameless).get().status_code == 200
    assert api.post(f"{PILOT}/revoke-open-link").status_code == 404


def test_a_study_that_is_closed(api):
    (ada,) = entered(make_study(api, people=1))
    ada.lease()
    assert api.post(f"{PILOT}/close").json()["closed"] is True
    assert ada.get().status_code == 403
    assert len(lease(api)["queries"]) == 1, "its runs are anybody's"
    api.post(f"{PILOT}/reopen")
    assert ada.get().status_code == 200


def test_names_that_others_label_under_are_not_given(api):
    fill(api)
    say(api, lease(api, annotator="pilot-01")["queries"][0])
    body = {"about": {}, "runs": {"pairs": ["cartpole-01"]}, "links": [{"ref": "01", "token": links.digest("a")}]}  # fmt: skip
    reply = api.put(PILOT, json=body)
    assert reply.status_code == 409 and "pilot-01 already" in reply.json()["detail"]


# the way through

MINIMAL = {
    "welcome": "# Welcome",
    "consent": "Read **this**.",
    "instructions": "Watch the pole.",
    "comprehension": [
        {"question": "Which?", "options": ["fast", "steady"], "right": "steady"},
        {"question": "How many?", "options": ["one", "two"], "right": "two"},
    ],
}


def known_run(api, name, num_queries=2, choice="left"):
    """A run whose pairs somebody has answered; what they said of each query."""
    fill(api, name, num_queries)
    said = {}
    for _ in range(num_queries):
        given = lease(api, name, annotator="researcher")["queries"][0]
        assert say(api, given, choice).status_code == 200
        said[given["query"]] = given["left"]["segment"]
    return said


def test_the_way_through(api):
    better = known_run(api, "practice")
    known_run(api, "examples", 1)
    fill(api)
    runs = {"pairs": ["cartpole-01"], "practice": ["practice"], "examples": ["examples"]}
    (ada,) = make_study(api, people=1, runs=runs, pairs=1, code="DONE", **MINIMAL,
                        return_address="https://example.org/?cc={code}")  # fmt: skip
    assert not ada.get().json()["opened"]
    way = ada.enter()
    assert (way["step"], way["number"], way["of"]) == ("welcome", 1, 7)
    assert way["text"] == "# Welcome" and way["code"] is None and way["examples"] == []
    assert ada.lease_reply().status_code == 409, "consent comes first"
    assert ada.step("consent", digest=way["digest"]).status_code == 409
    way = ada.step("welcome").json()
    assert ada.step("welcome").json() == way, "sent again"
    wrong = ada.step("consent", digest=64 * "0")
    assert wrong.status_code == 409 and "changed" in wrong.json()["detail"]
    assert ada.step("consent").status_code == 409
    consent = way["digest"]
    way = ada.step("consent", digest=consent).json()
    assert way["step"] == "instructions" and len(way["examples"]) == 1
    person = table(api)["01"]
    assert person["consent"] == consent and person["consented_at"]
    way = ada.step("instructions").json()
    assert len(way["practice"]) == 2 and "answer" not in str(way["practice"])
    assert ada.step("practice").status_code == 409, "there are pairs left"
    for pair in way["practice"]:
        is_left = pair["left"]["segment"] == better[pair["query"]]
        told = ada.post("/practice", query=pair["query"], choice="left").json()
        assert told == {"right": is_left, "answer": "left" if is_left else "right"}
    assert ada.post("/practice", query=str(uuid.uuid4()), choice="left").status_code == 404
    assert ada.step("practice").json()["step"] == "comprehension"
    assert ada.post("/comprehension", chosen=[1]).status_code == 422
    told = ada.post("/comprehension", chosen=[1, 0]).json()
    assert told["wrong"] == [1] and told["way"]["attempts_left"] == 1
    assert ada.post("/comprehension", chosen=[1, 1]).json()["way"]["step"] == "pairs"
    assert ada.label_all() == 1
    way = ada.post("/finish").json()
    assert way["code"] == "DONE" and way["return_address"] == "https://example.org/?cc=DONE"
    assert api.get("/api/runs/practice").json()["counts"]["labels"] == 2, "practice is no label"


def test_whoever_does_not_understand_is_turned_away(api):
    (ada,) = make_study(api, people=1, comprehension=MINIMAL["comprehension"], attempts=2)
    assert ada.enter()["step"] == "comprehension"
    ada.post("/comprehension", chosen=[0, 0])
    assert ada.post("/comprehension", chosen=[0, 9]).json()["way"]["step"] == "failed"
    assert ada.post("/comprehension", chosen=[1, 1]).status_code == 409
    assert ada.lease_reply().status_code == 409 and ada.get().json()["code"] is None


def test_answers_to_the_questions_that_are_sent_again_are_one_attempt(api):
    (ada, bob) = make_study(api, comprehension=MINIMAL["comprehension"], attempts=2)
    assert ada.enter()["attempts_left"] == 2
    for _ in range(3):  # replies were lost
        told = ada.post("/comprehension", chosen=[0, 1], attempts_left=2).json()
        assert told["wrong"] == [0] and told["way"]["attempts_left"] == 1
    for _ in range(2):
        told = ada.post("/comprehension", chosen=[1, 1], attempts_left=1).json()
        assert told["wrong"] == [] and told["way"]["step"] == "pairs"
    assert ada.label_all() > 0, "and long after"
    assert ada.post("/comprehension", chosen=[0, 0], attempts_left=1).json()["wrong"] == []
    bob.enter()
    bob.post("/comprehension", chosen=[0, 0], attempts_left=2)
    # another answer is another attempt, whatever the page has heard
    for _ in range(2):
        told = bob.post("/comprehension", chosen=[0, 1], attempts_left=2).json()
        assert told["wrong"] == [0] and told["way"]["step"] == "failed"
    assert bob.post("/comprehension", chosen=[1, 1], attempts_left=1).status_code == 409


def test_a_code_is_quoted_in_the_address_that_it_goes_to(api):
    address = "https://example.org/?cc={code}&a=b"
    (ada,) = entered(make_study(api, people=1, code="A&b=c d#é", return_address=address))
    ada.label_all()
    way = ada.post("/finish").json()
    assert way["code"] == "A&b=c d#é"
    assert way["return_address"] == "https://example.org/?cc=A%26b%3Dc%20d%23%C3%A9&a=b"


def test_whoever_comes_when_all_is_answered_gets_no_code(api):
    ada, bob = entered(make_study(api))
    ada.label_all()
    assert bob.lease_reply().json()["state"] == "finished"
    reply = bob.post("/finish")
    assert reply.status_code == 409 and reply.json()["code"] == "full"
    assert bob.get().json()["code"] is None and table(api)["02"]["state"] == "started"
    assert ada.post("/finish").json()["step"] == "thanks"


def test_no_step_but_the_pairs_is_needed(api):
    (ada,) = make_study(api, people=1, code="")
    way = ada.enter()
    assert (way["step"], way["of"]) == ("pairs", 2)
    ada.label_all()
    assert ada.post("/finish").json()["code"] is None


def test_repeats_are_no_further_pairs_to_practise_on(api):
    fill(api, "practice", 8, repeats=0.5)
    for _ in range(10):
        assert say(api, lease(api, "practice", annotator="researcher")["queries"][0]).is_success
    assert api.get("/api/runs/practice").json()["counts"]["labels"] == 7, "and three repeats"
    fill(api)
    for purpose, step in (("practice", "practice"), ("examples", "instructions")):
        runs = {"pairs": ["cartpole-01"], purpose: ["practice"]}
        (ada,) = make_study(api, purpose, people=1, runs=runs)
        way = ada.enter()
        assert way["step"] == step and len(way[purpose]) == 7
        api.post(f"/api/studies/{purpose}/close")


def test_a_run_to_practise_on_has_known_answers(api):
    fill(api)
    fill(api, "practice")
    body = {"about": {}, "runs": {"pairs": ["cartpole-01"], "practice": ["practice"]}}
    reply = api.put(PILOT, json=body)
    assert reply.status_code == 409 and "answer its pairs first" in reply.json()["detail"]


def test_what_a_study_allows(api):
    (ada,) = entered(make_study(api, people=1, allow_ties=False, smallest_seconds=2))
    (given,) = ada.lease()
    assert ada.get("/settings").json()["values"]["allow_ties"] is False
    assert ada.say(given, "tie", seconds=3).status_code == 403
    for seconds in ({}, {"seconds": 1.9}):
        assert ada.say(given, **seconds).status_code == 422
    assert ada.say(given, seconds=2).status_code == 200


# assignment


def test_pairs_sides_and_people_are_balanced(api):
    people = entered(make_study(api, people=6, pairs=10, num_queries=15, answers_per_pair=4))
    for person in people:
        assert person.label_all() == 10
        person.post("/finish")
    events = api.get("/api/runs/cartpole-01/labels").json()["events"]
    per_query, left, own = {}, {}, {}
    for event in events:
        side = 1 if event["first_was_left"] else -1
        per_query.setdefault(event["query"], set()).add(event["annotator"])
        left[event["query"]] = left.get(event["query"], 0) + side
        own[event["annotator"]] = own.get(event["annotator"], 0) + side
    assert len(per_query) == 15 and all(len(who) == 4 for who in per_query.values())
    assert all(more == 0 for more in left.values()), "half of a pair's answers each way"
    assert all(abs(more) <= 6 for more in own.values())
    orders = [[e["query"] for e in events if e["annotator"] == f"pilot-0{i}"] for i in (1, 2)]
    assert orders[0] != orders[1]


def test_many_at_once_get_what_they_are_for_and_no_more(api):
    # some pairs more than are needed: the last one left may be one that the last person has answered
    people = entered(make_study(api, people=8, pairs=5, num_queries=26, answers_per_pair=2))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda person: person.label_all(), people)) == 8 * [5]
    events = api.get("/api/runs/cartpole-01/labels").json()["events"]
    said = Counter((event["query"], event["annotator"]) for event in events)
    assert set(said.values()) == {1} and len(events) == 40
    assert max(Counter(query for query, _ in said).values()) == 2


def test_one_answer_a_pair_has_sides_in_turn_for_each(api):
    (ada,) = entered(make_study(api, people=1, num_queries=9))
    ada.label_all()
    events = api.get("/api/runs/cartpole-01/labels").json()["events"]
    assert abs(sum(1 if event["first_was_left"] else -1 for event in events)) == 1


def test_blocks_of_several_runs_take_turns(api):
    of_first = fill(api, "a", 6)
    fill(api, "b", 6)
    people = entered(make_study(api, runs={"pairs": ["a", "b"]}, pairs=6, block=2, answers_per_pair=2))  # fmt: skip
    orders = []
    for person in people:
        given = person.lease(8, up_to=2)
        assert len(given) == 2, "up to the pause"
        for one in given:
            person.say(one)
        assert person.lease_reply(8, up_to=2).json()["state"] == "finished"
        while more := person.lease():
            given += more
            person.say(more[0])
        orders.append("".join("a" if one["query"] in of_first else "b" for one in given))
    assert orders == ["aabbaa", "bbaabb"]


def test_pairs_with_known_answers_come_in_between(api):
    better = known_run(api, "checks", 3)
    fill(api, "cartpole-01", 8)
    runs = {"pairs": ["cartpole-01"], "checks": ["checks"]}
    ada, bob = entered(make_study(api, runs=runs, checks_every=4, answers_per_pair=2))
    for person, is_careful in ((ada, True), (bob, False)):
        seen = 0
        while given := person.lease():
            known = better.get(given[0]["query"])
            seen += known is not None
            is_left = known == given[0]["left"]["segment"]
            choice = "left" if is_left == is_careful else "right"
            assert person.say(given[0], choice).status_code == 200
        assert seen == 2
        person.post("/finish")
    people = table(api)
    assert [people[ref]["labels"] for ref in ("01", "02")] == [8, 8]
    assert [(people[ref]["checks"], people[ref]["passed"]) for ref in ("01", "02")] == [(2, 2), (2, 0)]  # fmt: skip
    assert "part of the study" in lease_reply(api, "checks").json()["detail"]


def held(given):
    return [{"lease": one["lease"], "expires_at": one["expires_at"]} for one in given]


def test_a_check_that_was_let_go_of_comes_again(api):
    better = known_run(api, "checks", 1)
    fill(api, "cartpole-01", 4)
    runs = {"pairs": ["cartpole-01"], "checks": ["checks"]}
    ada, bob = entered(make_study(api, runs=runs, checks_every=2, answers_per_pair=2))
    assert ada.say(ada.lease()[0]).is_success
    for _ in range(3):  # the page is loaded anew
        (given,) = ada.lease()
        assert given["query"] in better, "it may not have been seen"
        assert api.get("/api/runs/checks").json()["counts"]["left"] == 1
        assert ada.post("/release", session=ada.session, leases=held([given])).is_success
        assert api.get("/api/runs/checks").json()["counts"]["left"] == 0
    (given,) = ada.lease()
    assert ada.say(given).is_success
    while given := ada.lease():
        assert given[0]["query"] not in better, "each once"
        assert ada.say(given[0]).is_success
    bob.say(bob.lease()[0])
    assert bob.lease()[0]["query"] in better
    api.post(f"{PILOT}/close")
    assert api.get("/api/runs/checks").json()["counts"]["left"] == 0
    assert lease(api, "checks")["state"] == "finished"


def test_who_answers_clear_pairs_as_by_chance_is_told(api):
    better = known_run(api, "checks", 5)
    fill(api, "cartpole-01", 10)
    runs = {"pairs": ["cartpole-01"], "checks": ["checks"]}
    people = entered(make_study(api, people=3, runs=runs, checks_every=2, answers_per_pair=3))
    for person, is_careful in zip(people, (True, True, False), strict=True):
        for number in range(15):
            (given,) = person.lease()
            left, right = (given[side]["segment"] for side in ("left", "right"))
            is_left = better.get(given["query"], min(left, right)) == left
            is_right = is_careful or number % 2 == 0
            assert person.say(given, "left" if is_left == is_right else "right").status_code == 200
    (told,) = api.get("/api/studies/pilot/doubts").json()
    assert (told["ref"], told["annotator"]) == ("03", "pilot-03")
    (doubt,) = told["doubts"]
    assert (doubt["kind"], doubt["count"], doubt["n"]) == ("apart", 8, 15)
    asked = api.get("/api/studies/pilot/doubts", headers=people[0].headers)
    assert asked.status_code == 403


# blindness


def test_every_route_is_closed_to_participants_unless_it_is_for_them(api):
    (ada,) = entered(make_study(api, people=1))
    fill(api, "other")
    names = {"name": "other", "segment": uuid.UUID(int=1), "digest": 64 * "0", "id": uuid.UUID(int=1), "ref": "01"}  # fmt: skip
    paths = api.get("/api/openapi.json").json()["paths"]
    operations = {
        operation["operationId"]: (method, path.format(**names))
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    for role, may in LINKS_MAY.items():
        assert may <= operations.keys(), f"{role} may call what is not there"
    for name in operations.keys() - LINKS_MAY["participant"]:
        method, path = operations[name]
        reply = api.request(method, path, headers=ada.headers, json={})
        assert reply.status_code == 403, (method, path, reply.text)
        assert "take part in a study" in reply.json()["detail"]
    closed = {"list_runs", "get_results", "get_ranking", "get_traces", "list_studies", "lease_queries"}  # fmt: skip
    assert closed <= operations.keys() - LINKS_MAY["participant"]


def test_a_new_route_is_closed_until_somebody_opens_it(store, tmp_path):
    app = create_app(store, ClipStore(tmp_path / "clips", 10**7), SettingsFile(tmp_path / "l.yaml"))

    @app.get("/api/new")
    def new():
        return {}

    # before the page, which is at every address
    app.router.routes.insert(0, app.router.routes.pop())
    with serving(app) as api:
        (ada,) = entered(make_study(api, people=1))
        assert api.get("/api/new").status_code == 200
        assert api.get("/api/new", headers=ada.headers).status_code == 403


def test_participants_see_clips_and_segments_of_their_own_pairs_alone(api):
    ada, bob = entered(make_study(api, num_queries=2))
    (given,) = ada.lease()
    segment = given["left"]["segment"]
    assert api.get(f"/api/segments/{segment}", headers=ada.headers).status_code == 200
    assert api.get(f"/api/segments/{segment}", headers=bob.headers).status_code == 403
    assert api.get(f"/clips/{64 * '0'}.mp4", headers=ada.headers).status_code == 403


def test_what_is_left_for_others_is_not_told(api):
    ada, bob = entered(make_study(api, num_queries=1))
    ada.lease()
    assert bob.lease_reply().json() == {"queries": [], "left_over": None, "state": "waiting"}
    assert "cartpole-01" not in ada.get().text and "02" not in ada.get().text
