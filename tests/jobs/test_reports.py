"""Reading reports: what is one, what is not, and that the cut into polls does not matter."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventhpo import job as job_module
from eventhpo.core.fold.curve import Curve
from eventhpo.core.fold.event_parts import BadLine
from eventhpo.core.search.spec import Objective
from eventhpo.jobs.local import reports
from eventhpo.jobs.local.reports import Claim, NotAReport, ReportBatch, ReportedPoint, parse, read
from eventhpo.jobs.protocol import POINTS

LOSS = Objective("validation", "loss", "min")
F1 = Objective("validation", "f1", "max")


def line(
    iteration: object = 3, value: object = 0.5, title: object = "validation", series: object = "loss", **more: object
) -> bytes:
    report = {"title": title, "series": series, "iteration": iteration, "value": value, **more}
    return json.dumps(report).encode() + b"\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "reports.jsonl"


def all_of(file: Path, *, fresh: bool = True, final: bool = False, cursor: int = 0) -> ReportBatch:
    return read(file, cursor, [LOSS, F1], fresh=fresh, final=final)


# ---------------------------------------------------------------- one line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("0.5", 0.5, id="float"),
        pytest.param("1", 1.0, id="integer"),
        pytest.param("-0.0", -0.0, id="minus zero"),
        pytest.param("1e-400", 0.0, id="underflow"),
        pytest.param("5e-324", 5e-324, id="smallest"),
        pytest.param("1.7976931348623157e308", 1.7976931348623157e308, id="largest"),
        pytest.param('"inf"', math.inf, id="inf"),
        pytest.param('"-inf"', -math.inf, id="-inf"),
    ],
)
def test_a_value_is_read_as_it_was_written(text: str, value: float) -> None:
    found = parse(f'{{"title": "t", "series": "s", "iteration": 3, "value": {text}}}'.encode())
    assert found == ReportedPoint("t", "s", 3, value)
    assert isinstance(found, ReportedPoint)
    assert isinstance(found.value, float)
    assert math.copysign(1, found.value) == math.copysign(1, value)


def test_nan_is_a_value() -> None:
    found = parse(line(value="nan"))
    assert isinstance(found, ReportedPoint)
    assert math.isnan(found.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NaN", math.nan),  # json.dumps of Python
        ("Infinity", math.inf),
        ("-Infinity", -math.inf),
        ("nan", math.nan),  # print of Python, in a line that a shell made
        ("inf", math.inf),
        ("-inf", -math.inf),
        ("-nan", math.nan),  # printf of C
        ("+INF", math.inf),
    ],
)
def test_a_number_that_json_cannot_carry_is_taken_as_programs_print_it(text: str, value: float) -> None:
    found = parse(f'{{"title": "t", "series": "s", "value": {text} , "iteration": 3}}'.encode())
    assert isinstance(found, ReportedPoint)
    assert type(found.value) is float
    assert str(found.value) == str(value)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(line(epoch=7, note=None).decode(), id="unknown keys"),
        pytest.param("  " + line().decode() + "\r", id="blanks around"),
        pytest.param(line(title="Prüfung", series="精度").decode(), id="escaped letters"),
        pytest.param('{"title": "Prüfung", "series": "精度", "iteration": 3, "value": 0.5}', id="plain letters"),
        pytest.param(line(iteration=2**63 - 1).decode(), id="largest iteration"),
        pytest.param(line(iteration=0).decode(), id="first iteration"),
    ],
)
def test_a_line_may_look_like_this(text: str) -> None:
    assert isinstance(parse(text.encode()), ReportedPoint)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(b"0.5", "not a JSON object", id="number alone"),
        pytest.param(b"[1]", "not a JSON object", id="list"),
        pytest.param(b"null", "not a JSON object", id="null"),
        pytest.param(b"epoch 3: 0.5", "not JSON", id="text"),
        pytest.param(line()[:-4], "not JSON", id="torn"),
        pytest.param(line() + line(), "not JSON", id="two in one"),
        pytest.param(b"\xff\xfe{}", "not UTF-8", id="no UTF-8"),
        pytest.param(b"[" * 200_000, "nested too deeply", id="nested"),
        pytest.param(b"{}", "title is missing", id="empty"),
        pytest.param(b'{"title": "t", "series": "s", "iteration": 1}', "value is missing", id="no value"),
        pytest.param(b'{"title": "t", "series": "s", "value": 1}', "iteration is missing", id="no iteration"),
        pytest.param(b'{"title": "t", "iteration": 1, "value": 1}', "series is missing", id="no series"),
        pytest.param(line(value=True), "value is neither", id="true"),
        pytest.param(line(value=None), "value is neither", id="null value"),
        pytest.param(line(value="0.5"), "value is neither", id="number in quotes"),
        pytest.param(line(value="NaN"), "value is neither", id="other spelling"),
        pytest.param(line(value=[0.5]), "value is neither", id="list as value"),
        pytest.param(line().replace(b"0.5", b"nano"), "not JSON", id="a word that begins like nan"),
        pytest.param(line().replace(b"0.5", b"0,5"), "not JSON", id="a comma in the number"),
        pytest.param(line(title=0).replace(b"0,", b"NaN,"), "title is not a string", id="NaN as title"),
        pytest.param(line().replace(b": 3,", b": NaN,"), "iteration is not an integer", id="NaN as iteration"),
        pytest.param(
            b'{"title": "t", "series": "s", "step": 1, "value": 1}',
            "iteration is missing; there is title, series, step, value",
            id="another name for iteration",
        ),
        pytest.param(line().replace(b"0.5", b"1e999"), "too large", id="1e999"),
        pytest.param(line(value=10**400), "too large", id="integer too large for a float"),
        pytest.param(line().replace(b"0.5", b"1" * 5000), "not JSON", id="integer too long for Python"),
        pytest.param(line().replace(b"0.5", b'0.5, "value": 0.6'), "a key stands twice", id="duplicate key"),
        pytest.param(line(more={"a": 1}).replace(b'"a": 1', b'"a": 1, "a": 1'), "stands twice", id="duplicate inside"),
        pytest.param(line(iteration=3.0), "iteration is not an integer", id="float iteration"),
        pytest.param(line(iteration="3"), "iteration is not an integer", id="iteration in quotes"),
        pytest.param(line(iteration=True), "iteration is not an integer", id="true iteration"),
        pytest.param(line(iteration=-1), "iteration is outside", id="negative iteration"),
        pytest.param(line(iteration=2**63), "iteration is outside", id="iteration beyond 64 bits"),
        pytest.param(line(title=3), "title is not a string", id="number as title"),
        pytest.param(line(series="x" * 1001), "series is longer", id="long series"),
        pytest.param(line(series="\ud800"), "series holds half a character", id="lone surrogate"),
        pytest.param(b'{"resume_from": "3"}', "resume_from is not an integer", id="claim in quotes"),
        pytest.param(b'{"resume_from": -1}', "resume_from is outside", id="negative claim"),
    ],
)
def test_a_line_that_is_no_report_says_why(text: bytes, why: str) -> None:
    with pytest.raises(NotAReport, match=why):
        parse(text)


@given(st.binary(max_size=200))
def test_no_line_whatever_is_more_than_refused(text: bytes) -> None:
    with contextlib.suppress(NotAReport):
        assert isinstance(parse(text), ReportedPoint | Claim)


def test_a_claim_names_an_iteration() -> None:
    assert parse(b'{"resume_from": 12}') == Claim(12)


# ---------------------------------------------------------------- many lines


def test_points_come_by_objective_in_the_order_reported(file: Path) -> None:
    file.write_bytes(line(1, 0.9) + line(1, 0.1, series="f1") + line(3, 0.8) + line(2, 0.7))
    loss, f1 = all_of(file).curves
    assert (loss.title, loss.series, loss.iterations, loss.values) == ("validation", "loss", (1, 3, 2), (0.9, 0.8, 0.7))
    assert (f1.series, f1.iterations, f1.values) == ("f1", (1,), (0.1,))


def test_other_series_are_told_by_their_last_and_their_range(file: Path) -> None:
    file.write_bytes(
        b"".join(line(step, value, "train") for step, value in enumerate([0.5, "nan", -1.0, 0.75]))
        + line(9, "nan", "train", "f1")
    )
    batch = all_of(file)
    assert batch.curves == ()
    first, second = batch.others
    told = [first.__getattribute__(n) for n in first.__struct_fields__]
    assert told == ["train", "loss", 3, 0.75, -1.0, 0.75, 2, 3, 0.5, 0, 4, "nan"]
    assert (second.series, second.last, second.min, second.max) == ("f1", "nan", "nan", "nan")


def test_a_missing_file_has_no_reports(file: Path) -> None:
    assert all_of(file) == ReportBatch(0)
    assert all_of(file, final=True) == ReportBatch(0)


def test_empty_lines_are_skipped(file: Path) -> None:
    file.write_bytes(b"\n \n\r\n" + line() + b"\n\n")
    batch = all_of(file)
    assert (len(batch.curves), batch.bad, batch.to) == (1, (), file.stat().st_size)


def test_a_line_without_its_newline_is_left_for_later(file: Path) -> None:
    file.write_bytes(line(1) + line(2)[:-1])
    batch = all_of(file)
    assert batch.to == len(line(1))
    assert not batch.more
    file.write_bytes(line(1) + line(2))
    assert all_of(file, cursor=batch.to).curves[0].iterations == (2,)


def test_the_last_line_needs_no_newline_once_nobody_writes(file: Path) -> None:
    file.write_bytes(line(1) + line(2)[:-1])
    batch = all_of(file, final=True)
    assert batch.curves[0].iterations == (1, 2)
    assert batch.to == file.stat().st_size


def test_a_torn_line_is_noted_once_and_swallows_nothing(file: Path) -> None:
    """The next writer begins with a newline of its own."""
    file.write_bytes(line(1) + b'{"title": "valid' + b"\n" + line(2))
    batch = all_of(file)
    assert batch.curves[0].iterations == (1, 2)
    [bad] = batch.bad
    assert bad.place == f"reports.jsonl:byte {len(line(1))}"
    assert all_of(file, cursor=batch.to) == ReportBatch(batch.to)


def test_a_bad_line_is_told_also_when_no_point_came(file: Path) -> None:
    file.write_bytes(b"what?\n")
    batch = all_of(file)
    assert batch == ReportBatch(
        6, bad=(BadLine("reports.jsonl:byte 0", "not JSON: Expecting value: line 1 column 1 (char 0)"),)
    )


def test_twenty_bad_lines_are_spelled_out_and_the_rest_is_counted(file: Path) -> None:
    file.write_bytes(b"what?\n" * 57)
    bad = all_of(file).bad
    assert len(bad) == 21
    assert (bad[20].place, bad[20].why) == ("reports.jsonl:byte 120", "and 37 bad lines from here on")


def test_a_line_of_a_megabyte_is_a_report(file: Path) -> None:
    text = line(1, more="x" * (reports.LONGEST - 200))
    assert len(text) > 1_000_000
    file.write_bytes(text + line(2))
    assert all_of(file).curves[0].iterations == (1, 2)


@pytest.mark.parametrize("length", [reports.LONGEST + 1, 3 << 20, 9 << 20])
def test_a_longer_line_is_skipped_and_noted_once(file: Path, length: int) -> None:
    file.write_bytes(line(1) + b"x" * length + b"\n" + line(2))
    batches = in_polls(file)
    assert [step for batch in batches for curve in batch.curves for step in curve.iterations] == [1, 2]
    assert [bad.place for batch in batches for bad in batch.bad] == [f"reports.jsonl:byte {len(line(1))}"]


def test_a_longer_line_that_grows_over_several_polls_is_noted_once(file: Path) -> None:
    cursor, iterations = 0, []
    bad: list[BadLine] = []
    for part in [line(1), b"x" * 700_000, b"x" * 700_000, b"x" * 700_000, b"xx\n", line(2)]:
        with file.open("ab") as out:
            out.write(part)
        batch = all_of(file, cursor=cursor)
        assert all_of(file, cursor=cursor) == batch
        cursor = batch.to
        bad += batch.bad
        iterations += [step for curve in batch.curves for step in curve.iterations]
    assert [one.place for one in bad] == [f"reports.jsonl:byte {len(line(1))}"]
    assert iterations == [1, 2]


def test_a_poll_takes_ten_thousand_points_and_says_that_there_are_more(file: Path) -> None:
    file.write_bytes(b"".join(line(step) for step in range(POINTS + 1)))
    first = all_of(file)
    second = all_of(file, cursor=first.to)
    assert (len(first.curves[0].iterations), first.more) == (POINTS, True)
    assert (second.curves[0].iterations, second.more) == ((POINTS,), False)


def test_a_poll_takes_a_thousand_other_series_and_says_that_there_are_more(file: Path) -> None:
    file.write_bytes(b"".join(line(1, 0.5, "train", f"layer {n}") for n in range(reports.SERIES + 1)))
    batches = in_polls(file)
    assert [len(batch.others) for batch in batches] == [reports.SERIES, 1]


@pytest.mark.parametrize("final", [False, True])
def test_a_file_that_was_cut_is_noted_at_once_and_read_from_its_start(file: Path, final: bool) -> None:
    file.write_bytes(line(7))
    batch = all_of(file, cursor=5000, final=final)
    [bad] = batch.bad
    assert "cut or replaced: 5000 bytes of it had been read" in bad.why
    assert (batch.curves[0].iterations, batch.to) == ((7,), len(line(7)))
    assert all_of(file, cursor=batch.to, final=final) == ReportBatch(batch.to)


@pytest.mark.parametrize("there", [True, False], ids=["empty", "gone"])
def test_a_file_that_is_empty_or_gone_is_noted_once(file: Path, there: bool) -> None:
    if there:
        file.write_bytes(b"")
    batch = all_of(file, cursor=60)
    assert (batch.to, len(batch.bad), batch.more) == (0, 1, False)
    assert all_of(file, cursor=batch.to) == ReportBatch(0)


def read_again(file: Path, cursor: int, known: Curve, *, final: bool = False) -> ReportBatch:
    return read(file, cursor, [LOSS], fresh=False, final=final, known=[known])


def known_of(*points: tuple[int, float]) -> Curve:
    curve = Curve()
    assert len(list(curve.add(points))) == len(points)
    return curve


def test_a_line_that_replaced_a_shorter_one_is_noted_and_read(file: Path) -> None:
    """As a shell script that writes with `>` in place of `>>` leaves it."""
    file.write_bytes(line(10, 0.25))
    batch = read_again(file, len(line(9, 0.5)), known_of((9, 0.5)))
    assert [bad.why.partition(":")[0] for bad in batch.bad] == ["the file was written anew"]
    assert (batch.curves[0].iterations, batch.to) == ((10,), file.stat().st_size)


def test_a_line_that_replaced_one_of_its_length_is_noted_and_read_at_the_end(file: Path) -> None:
    file.write_bytes(line(8))
    cursor, known = file.stat().st_size, known_of((7, 0.5))
    assert read_again(file, cursor, known) == ReportBatch(cursor)
    batch = read_again(file, cursor, known, final=True)
    assert [bad.why.partition(":")[0] for bad in batch.bad] == ["the file was written anew"]
    assert batch.curves[0].iterations == (8,)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(line(1) + line(7, "nan"), id="the last point"),
        pytest.param(line(7, "nan")[:-1], id="the last point, without its newline"),
        pytest.param(line(7, "nan") + b"\n" + line(9, 0.5, "train"), id="another series"),
        pytest.param(line(7, "nan") + b"what?\n", id="no report"),
        pytest.param(line(7, "nan") + line(3, 0.125), id="a point that came out of order"),
        pytest.param(line(7, "nan") + line(2, 0.5, more="x" * 20_000), id="a long line"),
    ],
)
def test_a_file_that_ends_with_what_was_read_is_read_no_second_time(file: Path, text: bytes) -> None:
    file.write_bytes(text)
    known = known_of((1, 0.5), (7, math.nan))
    assert list(known.add([(3, 0.125)])) == []
    assert read_again(file, len(text), known, final=True) == ReportBatch(len(text))


def test_what_stands_for_many_bad_lines_counts_them(file: Path) -> None:
    file.write_bytes(b"what?\n" * 57)
    assert sum(bad.lines for bad in all_of(file).bad) == 57


# ---------------------------------------------------------------- claims


def test_a_claim_before_the_first_point_is_told(file: Path) -> None:
    file.write_bytes(line(1, 0.5, "train") + b'{"resume_from": 12}\n' + line(13))
    batch = all_of(file)
    assert (batch.inherits, batch.bad) == (12, ())


@pytest.mark.parametrize(
    ("before", "fresh"),
    [
        pytest.param(line(1), True, id="behind a point"),
        pytest.param(b'{"resume_from": 11}\n', True, id="second claim"),
        pytest.param(b"", False, id="behind a point of an earlier poll"),
    ],
)
def test_a_claim_that_comes_too_late_is_a_bad_line(file: Path, before: bytes, fresh: bool) -> None:
    file.write_bytes(before + b'{"resume_from": 12}\n')
    batch = all_of(file, fresh=fresh)
    assert batch.inherits != 12
    assert [bad.why for bad in batch.bad] == ["report resume_from once, before the first point"]


# ---------------------------------------------------------------- the cut into polls


def in_polls(file: Path, cursor: int = 0) -> list[ReportBatch]:
    """Read *file* as polls do, until there is no more."""
    batches = [all_of(file, cursor=cursor)]
    while batches[-1].more:
        assert batches[-1].to > cursor
        cursor = batches[-1].to
        batches.append(all_of(file, cursor=cursor))
    return batches


PIECES = st.lists(
    st.sampled_from(
        [line(1), line(2, "inf"), line(4, 0.5, "train"), b"\n", b"torn", b"\xff\n", b'{"resume_from": 1}\n']
    )
)


@given(pieces=PIECES, cuts=st.lists(st.integers(0, 600), max_size=6))
def test_the_cut_into_polls_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], cuts: list[int]
) -> None:
    content = b"".join(pieces)
    file = tmp_path_factory.mktemp("cut") / "reports.jsonl"
    file.write_bytes(content)
    whole = all_of(file, final=True)
    points: list[tuple[int, float]] = []
    bad: list[BadLine] = []
    cursor = 0
    for end in [*sorted(min(cut, len(content)) for cut in cuts), len(content)]:
        file.write_bytes(content[:end])
        batch = all_of(file, cursor=cursor, fresh=not points, final=end == len(content))
        points += [p for curve in batch.curves for p in zip(curve.iterations, curve.values, strict=True)]
        bad += batch.bad
        cursor = batch.to
    assert cursor == len(content)
    assert points == [p for curve in whole.curves for p in zip(curve.iterations, curve.values, strict=True)]
    claims_apart = [one for one in bad if "resume_from" not in one.why]
    assert claims_apart == [one for one in whole.bad if "resume_from" not in one.why]


def test_what_a_job_may_write_is_what_is_read() -> None:
    assert job_module._NAME == reports.NAME
    assert job_module._BIGGEST == reports.BIGGEST
