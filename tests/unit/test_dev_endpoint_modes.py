import email.utils
import time
from pathlib import Path
from typing import Any

import pytest

from beacon import errors
from beacon.dev.endpoint import checks, modes, options, report
from tests.unit import endpoint_events as sent

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "endpoint.yaml"


def event(name: str, sequence: int = 1, **changed: Any) -> checks.CheckedEnvelope:
    found = checks.read(sent.body(name, sequence, **changed), checks.Demands())
    assert isinstance(found, checks.CheckedEnvelope)
    return found


def director(*rules: dict[str, object], **default: object) -> modes.Director:
    return modes.Director(modes.SinkPlan().changed({**default, "rules": list(rules)}), seed=1)


@pytest.mark.parametrize(
    ("match", "hit", "missed"),
    [
        ({"id": "id-1"}, event("a"), event("a", 2)),
        ({"kind": "ConfigMap"}, event("a"), None),
        ({"kind": "Secret"}, None, event("a")),
        ({"namespace": "shop"}, event("a"), None),
        ({"namespace": "other"}, None, event("a")),
        ({"name": "a"}, event("a"), event("ab")),
        ({"name_prefix": "poison-"}, event("poison-1"), event("good-1")),
        ({"annotation": "gold"}, event("a"), None),
        ({"annotation": ""}, None, event("a")),
        ({"type": "created"}, event("a"), event("a", type="net.bakerapps.beacon.resource.deleted")),
        ({"name": "a", "kind": "Secret"}, None, event("a")),
    ],
)
def test_a_rule_excepts_the_events_that_it_matches(
    match: dict[str, object], hit: checks.CheckedEnvelope | None, missed: checks.CheckedEnvelope | None
) -> None:
    chosen = director({**match, "status": 404})

    if hit:
        assert (chosen.decide(hit, 1).mode, chosen.decide(hit, 1).status) == (modes.SinkMode.FAILURE, 404)
    if missed:
        assert chosen.decide(missed, 1).mode is modes.SinkMode.SUCCESS


def test_the_first_attempts_of_each_event_fail() -> None:
    chosen = director({"first_attempts": 2})

    found = [chosen.decide(event("a", number), attempt).mode for number in (1, 2) for attempt in (1, 2, 3)]

    assert found == ["failure", "failure", "success"] * 2


def test_a_rule_with_times_wears_out_and_is_fresh_when_set_again() -> None:
    chosen = director({"times": 1, "mode": "hang"})
    assert [chosen.decide(event("a"), 1).mode for _ in range(2)] == ["hang", "success"]

    chosen.change(chosen.plan.changed({"status": 503}))
    assert chosen.decide(event("a"), 1).mode is modes.SinkMode.SUCCESS
    chosen.change(chosen.plan.changed({"rules": [{"times": 1, "mode": "hang"}]}))

    assert chosen.decide(event("a"), 1).mode is modes.SinkMode.HANG


def test_the_first_rule_that_matches_wins() -> None:
    chosen = director({"name": "a", "status": 404}, {"status": 503})

    assert (chosen.decide(event("a"), 1).status, chosen.decide(event("b"), 1).status) == (404, 503)


def test_a_rule_takes_nothing_over_from_the_default() -> None:
    chosen = director({"name": "a", "mode": "success"}, mode="failure", latency_s=3)

    assert chosen.decide(event("a"), 1) == modes.Behavior()


def test_the_failure_rate_is_kept() -> None:
    chosen = director(mode="random", failure_rate=0.3)

    failed = sum(chosen.decide(event("a"), 1).mode is modes.SinkMode.FAILURE for _ in range(2000))

    assert 500 < failed < 700


def test_retry_after_is_seconds_a_date_or_any_text() -> None:
    def header(value: object) -> str | None:
        return modes.retry_after(modes.SinkPlan().changed({"retry_after": value}).behavior)

    assert header(None) is None
    assert header(2) == "2"
    assert header(0.5) == "1"
    assert header("soon") == "soon"
    date = header("date+30")
    assert date is not None
    assert 28 < email.utils.parsedate_to_datetime(date).timestamp() - time.time() < 32


def test_all_that_is_wrong_is_named_at_once_and_nothing_is_changed() -> None:
    given = {
        "mode": "sucess",
        "statuss": 500,
        "failure_rate": 2,
        "methods": "POST",
        "headers": {"a": 1},
        "latency_s": True,
        "retry_after": "date+x",
        "rules": [{"name": 1}, {"mode": "fail"}, 7],
    }
    with pytest.raises(errors.ConfigError) as raised:
        modes.SinkPlan().changed(given)

    text = "\n".join(raised.value.problems)
    assert len(raised.value.problems) == 10
    for part in ("did you mean status?", "rules[0].name", "rules[1].mode", "rules[2] must be a mapping", "latency_s"):
        assert part in text


def test_the_example_loads_and_shows_every_key() -> None:
    given = options.load(EXAMPLE)

    assert set(given) == set(options.READERS) | set(modes.READERS)
    loaded = options.parse(given)
    assert (loaded.log, loaded.port, len(loaded.plan.rules)) == (report.Format.PRETTY, 8088, 3)
    assert loaded.plan.behavior == modes.Behavior()
    assert loaded.plan.demands == checks.Demands()


@pytest.mark.parametrize("text", ["- a", "a: [", "mode: success\nmode: failure"])
def test_a_file_that_is_no_mapping_is_refused_in_words(text: str, tmp_path: Path) -> None:
    path = tmp_path / "endpoint.yaml"
    path.write_text(text)

    with pytest.raises(errors.ConfigError, match=r"endpoint\.yaml"):
        options.load(path)
    with pytest.raises(errors.ConfigError, match="No such file"):
        options.load(tmp_path / "absent.yaml")


@pytest.mark.parametrize("given", [{"cert": "a"}, {"key": "a"}, {"client_ca": "a"}])
def test_half_of_a_certificate_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(errors.ConfigError):
        options.parse(given)


def test_a_described_plan_hides_the_token() -> None:
    assert modes.described(modes.SinkPlan().changed({"token": "secret"}))["token"] == "***"
