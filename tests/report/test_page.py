"""The page of `eventhpo report`, opened in a real Chromium."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from eventhpo.views.formatting import number
from replay.report.build import of_rows
from replay.report.rows import AsOfEvent
from replay.verified_rows import verified_rows
from tests.cli.harness import data, invoke
from tests.report import logs
from tests.report.browser import Tab, tab
from tests.report.logs import reported

GOLDEN = Path(__file__).parents[2] / "fixtures" / "logs"
STUDIES = GOLDEN.with_name("studies")
MOVES = 20  # of the slider


def length(log: Path) -> int:
    return verified_rows(log).rows[-1].seq


def moves(log: Path, count: int = MOVES) -> list[int]:
    """Return the first event, the last, and some between."""
    last = length(log)
    chance = random.Random(last)
    between = chance.sample(range(2, last), min(count - 2, max(0, last - 2))) if last > 2 else []
    return sorted({1, last, *between})


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def top_as_printed(log: Path, seq: int) -> list[list[str]]:
    """Return the table that `eventhpo top --at` prints, without its headline and the lines on its marks."""
    result = invoke("top", log, "--at", seq)
    assert result.exit_code == 0, result.output
    return [cells(line) for line in result.stdout.splitlines()[1:] if not line.startswith("*")]


def top_as_shown(page: Tab) -> list[list[str]]:
    rows = page.run(
        "() => [...document.querySelectorAll('#top tbody tr')].map((tr) => [...tr.cells].map((td) => td.innerText))"
    )
    return [[cell.strip() for cell in row] for row in rows]


def status_at(log: Path, seq: int) -> dict[str, Any]:
    status = data("status", log, "--at", seq)
    iterations = status["budget"]["iterations"]
    return {
        "state": status["state"],
        "trials": status["trials"],
        "jobs": status["jobs"],
        "used": iterations["used"],
        "reserved": iterations["reserved"],
        "limit": iterations["limit"],
        "best": None if status["best"] is None else status["best"]["trial"],
    }


def shown_facts(page: Tab) -> dict[str, str]:
    return dict(
        page.run(
            "() => [...document.querySelectorAll('#standing div')].map((d) => [d.dataset.fact, d.lastChild.innerText])"
        )
    )


def printed_facts(log: Path, seq: int) -> dict[str, str]:
    lines = invoke("status", log, "--at", seq).stdout.splitlines()
    return {line[:12].strip(): " ".join(line[12:].split()) for line in lines}


def assert_played_back(page: Tab, log: Path, seqs: list[int]) -> None:
    for seq in seqs:
        page.show(seq)
        assert page.run("() => page.standing") == status_at(log, seq), seq
        assert top_as_shown(page) == top_as_printed(log, seq), seq
        shown, printed = shown_facts(page), printed_facts(log, seq)
        for fact in ("trials", "jobs", "iterations"):
            assert shown[fact] == printed[fact], (seq, fact)
        assert shown["compute"] == printed["compute"].partition(",")[0], seq


def test_at_twenty_events_the_page_shows_what_status_and_top_show_as_of_them(page, search_log, search_page):
    page.open(search_page)
    seqs = moves(search_log)
    assert len(seqs) == MOVES
    assert_played_back(page, search_log, seqs)
    assert page.errors == []
    assert page.outside == []


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.db")))
def test_every_golden_log_is_played_back_too(page, tmp_path, name):
    log = tmp_path / f"{name}.db"
    log.write_bytes((GOLDEN / f"{name}.db").read_bytes())
    page.open(reported(log))
    assert_played_back(page, log, moves(log, 6))
    assert page.errors == []
    assert page.outside == []


def alike(shown: Any, computed: Any) -> bool:
    """Whether two rows are the same, floats up to the last bits."""
    if isinstance(computed, dict):
        return shown.keys() == computed.keys() and all(alike(shown[key], computed[key]) for key in computed)
    if isinstance(computed, list):
        return len(shown) == len(computed) and all(map(alike, shown, computed))
    if isinstance(computed, float) or isinstance(shown, float):
        return computed == pytest.approx(shown, rel=1e-12, abs=1e-12)
    return bool(shown == computed)


@pytest.mark.parametrize("make", [logs.usual, logs.several_objectives, logs.not_numbers, logs.study])
def test_the_page_and_the_pictures_draw_the_same_rows(page, tmp_path, make):
    log = make(tmp_path / "search")
    page.open(reported(log))
    report = of_rows(verified_rows(log).rows).data(log)
    for seq in moves(log, 8):
        shown = page.run("(seq) => new AsOfEvent(page.report.data, seq).rows()", seq)
        computed = json.loads(json.dumps(AsOfEvent(report, seq).rows()))
        for name in computed:
            assert alike(shown[name], computed[name]), (seq, name)


def test_numbers_are_written_as_all_commands_write_them(page, search_page):
    page.open(search_page)
    chance = random.Random(3)
    values = [0.0, -0.0, 1.0, -1.5, 999999.5, 999999.4, 1e6, 123456789.0, 1e-4, 9.9999995e-5, 1e-5, 1e300, -2.5e-310]
    values += [chance.uniform(-1, 1) * 10 ** chance.randint(-12, 12) for _ in range(400)]
    texts = page.run("(values) => values.map(digits)", values)
    assert texts == [number(value) for value in values]
    assert page.run("() => [null, 'nan', '-inf'].map(digits)") == ["-", "nan", "-inf"]


@pytest.mark.parametrize("make", logs.ODD)
def test_odd_logs_have_a_page_too(page, tmp_path, make):
    log = make(tmp_path / "search.db")
    page.open(reported(log))
    assert_played_back(page, log, moves(log, 4))
    assert page.errors == []
    assert page.outside == []
    assert page.page.locator("#verdict p").count() == 3
    assert "undefined" not in page.page.locator("body").inner_text()


@pytest.mark.parametrize("name", sorted(path.name for path in STUDIES.glob("*.db")))
def test_every_golden_study_is_played_back_too(page, tmp_path, name):
    log = tmp_path / name
    log.write_bytes((STUDIES / name).read_bytes())
    page.open(reported(log))
    for seq in moves(log, 8):
        assert_played_back_as_a_study(page, log, seq)
    assert page.errors == []
    assert page.outside == []


def assert_played_back_as_a_study(page: Tab, log: Path, seq: int) -> None:
    """Compare the page with `status` and `top`, which has no column for parameters that only an objective knows."""
    page.show(seq)
    assert page.run("() => page.standing") == status_at(log, seq), seq
    printed = top_as_printed(log, seq)
    assert [row[: len(cells)] for row, cells in zip(top_as_shown(page), printed, strict=True)] == printed, seq


@pytest.mark.parametrize("make", [logs.study, logs.study_of_two])
def test_an_optuna_study_has_the_same_page(page, tmp_path, make):
    log = make(tmp_path / "studies")
    page.open(reported(log))
    for seq in moves(log, 12):
        assert_played_back_as_a_study(page, log, seq)
    assert page.errors == []
    verdict = page.page.locator("#verdict").inner_text()
    assert 'The Optuna study "study" finished 20 trials' in verdict
    assert "1 trial is not finished" in verdict
    drawn = {kind: page.page.locator(f"[data-kind={kind}] svg").count() for kind in ("history", "parallel", "slice")}
    objectives = page.run("() => page.report.data.objectives.length")
    assert drawn == {"history": objectives, "parallel": 1, "slice": 4}
    assert page.page.locator("[data-kind=importance] svg").count() == objectives
    assert page.page.locator("[data-kind=pareto] svg").count() == objectives - 1


def test_a_parameter_of_a_study_is_shown_from_the_event_that_suggested_it(page, tmp_path):
    log = logs.study(tmp_path / "studies")
    page.open(reported(log))
    suggested = [row for row in verified_rows(log).rows if type(row.event).__name__ == "ParameterSuggested"]
    for row in suggested[:6]:
        for seq, there in ((row.seq - 1, False), (row.seq, True)):
            text = page.run(
                "([seq, trial, name]) => new AsOfEvent(page.report.data, seq)"
                ".text(trial, page.report.data.parameters.findIndex((p) => p.name === name))",
                [seq, row.event.trial, row.event.parameter.name],
            )
            assert (text is not None) == there


def test_a_damaged_log_is_shown_as_far_as_it_is_verified(page, tmp_path):
    log = tmp_path / "cut.db"
    for name in ("cut.db", "cut.db.head"):
        (tmp_path / name).write_bytes((GOLDEN / "must_fail" / name).read_bytes())
    result = invoke("report", log, "-o", tmp_path / "page.html")
    assert result.exit_code == 3
    assert "only its beginning is verified and shown" in result.stderr
    page.open(tmp_path / "page.html")
    assert "This log is damaged" in page.page.locator("#damage").inner_text()
    assert "none" not in page.page.locator("#trouble > div").first.inner_text()
    assert page.errors == []


def test_names_of_a_log_stay_text(page, tmp_path):
    log = logs.hostile(tmp_path / "search.db")
    source = reported(log).read_text()
    assert "\x1b" not in source
    assert "<img src=x" not in source
    page.open(tmp_path / "search.html")
    assert_played_back(page, log, [1, length(log)])
    page.run("() => choose(1)")
    page.page.locator("#explanation tbody tr").first.wait_for()
    assert page.errors == []
    assert page.outside == []
    body = page.page.locator("body").inner_text()
    assert "<img src=x onerror=alert(2)>" in body
    assert "</script><script>alert(1)</script>" in body
    assert "\u202e" not in body
    assert page.page.locator("img, body b").count() == 0


def test_the_page_runs_its_own_two_scripts_and_nothing_else(page, search_page):
    source = search_page.read_text()
    assert re.findall(r"""(?:src|href)\s*=\s*["']?(?!#|data:)[^"'\s>]+""", source.partition("<script")[0]) == []
    tampered = search_page.with_name("tampered.html")
    tampered.write_text(source.replace("<main>", "<main><script>document.title = 'taken over'</script>", 1))
    page.page.goto(tampered.as_uri())
    page.page.wait_for_function("() => document.documentElement.dataset.ready")
    assert page.page.title() != "taken over"
    assert any("Content Security Policy" in error for error in page.errors)


def test_the_page_is_used_by_keyboard(page, search_log, search_page):
    page.open(search_page)
    last = length(search_log)
    page.page.locator("#slider").focus()
    page.page.keyboard.press("ArrowLeft")
    page.drawn()
    assert page.run("() => page.seq") == last - 1
    page.page.keyboard.press("Home")
    page.drawn()
    assert page.run("() => page.seq") == 1
    assert page.page.locator("#slider").get_attribute("aria-valuetext").startswith(f"event 1 of {last}: SearchCreated")
    page.page.keyboard.press("End")
    page.drawn()
    button = page.page.locator("#top button.trial").first
    button.focus()
    page.page.keyboard.press("Enter")
    page.page.locator("#explanation tbody tr").first.wait_for()
    assert page.run("() => document.activeElement.id") == "why-title"
    assert (
        page.page.locator("#why-title").inner_text() == f"Why trial {page.run('() => page.top[0]')} came out as it did"
    )


def explained(page: Tab) -> list[str]:
    """Return the reasons that the page shows, line by line."""
    rows = page.run("() => [...document.querySelectorAll('#explanation tbody tr')].map((tr) => tr.cells[2].innerText)")
    return [" ".join(text.split()) for text in rows]


def as_printed(log: Path, trial: int) -> list[str]:
    """Return the reasons that `eventhpo explain` prints, line by line."""
    return [" ".join(line[19:].split()) for line in invoke("explain", log, trial).stdout.splitlines()[2:]]


def test_the_explanation_of_a_trial_is_what_explain_prints_and_ends_at_the_event_shown(page, search_log, search_page):
    page.open(search_page)
    page.page.locator("#chosen").fill("9")
    page.page.locator("#explanation tbody tr").first.wait_for()
    assert explained(page) == as_printed(search_log, 9)
    middle = length(search_log) // 2
    page.show(middle)
    seqs = page.run(
        "() => [...document.querySelectorAll('#explanation tbody tr')].map((tr) => Number(tr.cells[0].innerText))"
    )
    assert max(seqs) <= middle


def test_every_pruned_curve_has_its_mark_and_the_value_that_it_needed(page, search_log, search_page):
    page.open(search_page)
    pruned = [row.event for row in verified_rows(search_log).rows if type(row.event).__name__ == "JobPruned"]
    assert pruned
    rows = page.run("() => page.rows.prunes")
    assert [(row["trial"], row["iteration"]) for row in rows] == [(event.trial, event.iteration) for event in pruned]
    for row in rows:
        printed = invoke("explain", search_log, row["trial"]).stdout
        assert f"it needed {row['needed_text']}" in printed
        assert f"{number(row['needed'])} or more" in row["needed_text"]
    marks = page.page.locator("[data-kind=curves] svg .mark-symbol path")
    assert marks.count() >= len(pruned)


def test_what_is_under_the_pointer_is_told(page, search_page):
    page.open(search_page)
    mark = page.page.locator("[data-kind=history] svg .mark-symbol path").first
    mark.scroll_into_view_if_needed()
    mark.hover(force=True)
    page.page.locator("#tip:not([hidden])").wait_for()
    assert "trial: " in page.page.locator("#tip").inner_text()
    mark.click(force=True)
    page.page.wait_for_function("() => page.chosen >= 0")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_its_window_and_follows_the_colour_scheme(browser: Browser, search_page, width, scheme):
    with tab(browser, viewport={"width": width, "height": 900}, color_scheme=scheme) as page:
        page.open(search_page)
        assert page.run("() => document.documentElement.scrollWidth") <= width
        widest = page.run("() => Math.max(...[...document.querySelectorAll('.chart svg')].map((s) => s.clientWidth))")
        assert widest <= width
        ink, paper = page.run(
            "() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor].map((c) => "
            "c.match(/\\d+/g).map(Number).reduce((a, b) => a + b)); }"
        )
        assert (ink < paper) == (scheme == "light")
        text = page.run(
            "() => getComputedStyle(document.querySelector('.chart svg text')).fill.match(/\\d+/g).map(Number)"
        )
        assert (sum(text) < 380) == (scheme == "light")
        assert page.errors == []


def test_why_a_trial_was_pruned_is_read_without_scrolling_sideways_on_a_phone(browser: Browser, search_page):
    with tab(browser, viewport={"width": 400, "height": 900}) as page:
        page.open(search_page)
        page.page.locator("#prunes button").first.click()
        page.page.wait_for_function("() => page.chosen >= 0")
        for table in ("#prunes", "#explanation"):
            assert page.run("(table) => document.querySelector(table).tBodies[0].rows.length", table) > 0
            box = "(table) => ['scrollWidth', 'clientWidth'].map((n) => document.querySelector(table).parentElement[n])"
            inside, shown = page.run(box, table)
            assert inside <= shown, table
        labels = page.run(
            "() => [...document.querySelector('#prunes tbody tr').cells]"
            ".map((cell) => getComputedStyle(cell, '::before').content)"
        )
        assert labels[:5] == ['"event "', '"trial "', '"iteration "', '"value "', '"to go on it needed "']


def test_each_iteration_stands_once_on_its_axis(tmp_path: Path) -> None:
    """From 1 to 3 Vega makes ticks at 1.5 and 2.5 too."""
    picture = tmp_path / "curves.svg"
    assert invoke("plot", GOLDEN / "objectives.db", "curves", "-o", picture).exit_code == 0
    axes = re.findall(r"X-axis titled 'iteration'.*?>iteration</text>", picture.read_text())
    assert [re.findall(r">(\d+)</text>", axis) for axis in axes] == [["1", "2", "3"]] * 2


def test_print_leaves_out_what_only_a_screen_can_use_and_is_dark_on_white(browser: Browser, search_page):
    with tab(browser, color_scheme="dark") as page:
        page.open(search_page)
        page.page.emulate_media(media="print", color_scheme="dark")
        assert not page.page.locator("#player").is_visible()
        assert page.page.locator("[data-kind=history] svg").is_visible()
        assert page.run("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.run("() => getComputedStyle(document.querySelector('.chart svg text')).fill") == "rgb(0, 0, 0)"
        assert page.run("() => getComputedStyle(document.querySelector('#trials').parentElement).maxHeight") == "none"


def test_without_javascript_the_result_is_there_all_the_same(browser: Browser, search_page, search_log):
    with tab(browser, java_script_enabled=False) as page:
        page.page.goto(search_page.as_uri())
        assert page.page.locator("#verdict p").count() == 3
        best = data("top", search_log, "-k", 1)[0]["trial"]
        assert f"1. trial {best}, " in page.page.locator("noscript").inner_text()
        assert "Jobs that were lost" in page.page.locator("#trouble").inner_text()


def test_a_page_as_of_an_event_ends_there(page, search_log, tmp_path):
    target = tmp_path / "then.html"
    assert invoke("report", search_log, "-o", target, "--at", 60).exit_code == 0
    page.open(target)
    assert page.run("() => page.report.data.seq") == 60
    assert page.page.locator("#goes-on").is_visible()
    assert_played_back(page, search_log, [60])


def test_a_thousand_trials_of_fifteen_points_fit_into_six_megabytes(page, tmp_path):
    log = logs.thousand(tmp_path / "search.db")
    target = reported(log)
    assert target.stat().st_size <= 6_000_000
    page.open(target)
    assert_played_back(page, log, moves(log, 4))
    assert page.errors == []
