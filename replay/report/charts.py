"""The charts, each described once: as Vega-Lite for the page, and drawn as SVG and PNG.

Altair writes the description, because one description then serves all three; vl-convert draws it without a network.
Names from a log are values in the data and titles as literal text, never part of an expression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import altair as alt
import msgspec

from replay.report.data import ReportData
from replay.report.parameters import choices
from replay.report.rows import ChartRow

Kind: TypeAlias = Literal["history", "curves", "timeline", "parallel", "importance", "slice", "budget", "pareto"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Spec: TypeAlias = dict[str, Any]  # a description in Vega-Lite or Vega

# On white and on near-black each has a contrast of 3 or more, so that one picture serves both.
COLOURS = {
    "completed": "#2f7fd1",
    "pruned": "#cf7a1c",
    "failed": "#d6453d",
    "lost": "#b0479b",
    "aborted": "#8f6bd0",
    "running": "#1f9d61",
    "stopping": "#1f9d61",
    "created": "#7d8590",
    "bound": "#7d8590",
    "queued": "#7d8590",
    "imported": "#7d8590",
    "idle": "#b6bdc6",
}
SHAPES = {
    "completed": "circle",
    "pruned": "cross",
    "failed": "triangle-down",
    "aborted": "square",
    "running": "triangle-up",
    "imported": "diamond",
}
RAMP = ["#cf7a1c", "#b0479b", "#2f7fd1"]  # of values, the worst first
GREY = "#7d8590"
VALUES = alt.Axis(tickCount=7, format=".4~g")  # a logarithmic axis would have a line for each tenth of each power
_ONLY_WHOLE: Any = {"condition": {"test": "datum.value % 1 === 0", "value": 1}, "value": 0}
# Vega takes tickMinStep for a wish: from 1 to 3 it has ticks at 1.5 and 2.5, which `format="d"` would call 2 and 3.
WHOLE = alt.Axis(
    tickMinStep=1,
    labelExpr="datum.value % 1 === 0 ? format(datum.value, 'd') : ''",
    gridOpacity=_ONLY_WHOLE,
    tickOpacity=_ONLY_WHOLE,
)
MANY = 60  # curves or lines from which on each is drawn fainter


class Panel(msgspec.Struct, frozen=True):
    """One chart of a kind: its description, the names of its data, and what it is of."""

    kind: Kind
    title: str
    text: str  # where the same is said in words
    spec: Spec
    data: tuple[str, ...]


_IN_WORDS: dict[Kind, str] = {
    "history": "The table of all trials has the same values.",
    "curves": "The table of prunes has where each trial was pruned, and the value that it needed.",
    "timeline": "The list of controllers follows. The explanation of each trial has when its jobs began and ended.",
    "parallel": "The table of all trials has the same values.",
    "importance": "Longer bars matter more.",
    "slice": "The table of all trials has the same values.",
    "budget": "The third sentence at the top has the share of pruned jobs.",
    "pareto": "The second sentence at the top names the trials on the front.",
}


def panels(kind: Kind, data: ReportData, rows: Mapping[str, Sequence[ChartRow]], *, legend: bool) -> list[Panel]:
    """Return the charts of *kind*, without their data; none where the search has nothing of that kind.

    *rows* are those at the end of the search: they say which scales fit. *legend*: with a legend of colours.
    """
    return [
        Panel(kind, title, _IN_WORDS[kind], chart.to_dict(), names)
        for title, chart, names in _KINDS[kind](_Context(data, rows, legend=legend))
    ]


_Chart: TypeAlias = tuple[str, Any, tuple[str, ...]]  # title, chart, names of its data


class _Context:
    """What the charts of one search have in common."""

    def __init__(self, data: ReportData, rows: Mapping[str, Sequence[ChartRow]], *, legend: bool) -> None:
        self.data = data
        self.rows = rows
        self.legend = legend
        self.chosen = alt.param(name="chosen", value=-1)
        # In steps, so that a page that follows a search does not draw everything anew with each trial.
        trials = 1 << max(0, len(data.trials.number) - 1).bit_length()
        self.opacity = round(max(0.12, min(0.8, MANY / max(1, trials) * 0.8)), 3)

    @property
    def objectives(self) -> list[tuple[int, str, bool]]:
        return [(k, o.name, o.maximize) for k, o in enumerate(self.data.objectives)]

    def status(self, data_name: str) -> alt.Color:
        """Return the colour of a trial or job by its status; the legend has those of the rows *data_name*."""
        there = {row["status"] for row in self.rows[data_name]}
        names = [name for name in COLOURS if name in there] if self.legend else list(COLOURS)
        scale = alt.Scale(domain=names, range=[COLOURS[name] for name in names])
        return alt.Color(
            "status:N", scale=scale, legend=alt.Legend(orient="bottom", title=None) if self.legend else None
        )

    def shape(self) -> alt.Shape:
        """Return the shape of a trial by its status: colour is not the only thing that tells them apart."""
        scale = alt.Scale(domain=list(SHAPES), range=list(SHAPES.values()))
        return alt.Shape("status:N", scale=scale, legend=None)

    def value_scale(self, name: str, objective: int) -> alt.Scale:
        """Return the scale of values: logarithmic where all are positive and differ by more than a thousandfold."""
        values = [r["value"] for r in self.rows[name] if r.get("o", 0) == objective]
        if values and min(values) > 0 and max(values) / min(values) > 1000:
            return alt.Scale(type="log")
        return alt.Scale(zero=False, nice=True)

    def emphasis(self, plain: float, strong: float) -> Any:
        """Return *strong* for the chosen trial, *plain* for others."""
        return alt.condition("datum.trial === chosen", alt.value(strong), alt.value(plain))


def _base(name: str) -> alt.Chart:
    return alt.Chart(alt.NamedData(name=name))


def _history(c: _Context) -> list[_Chart]:
    charts: list[_Chart] = []
    for o, objective, maximize in c.objectives:
        y = alt.Y("value:Q", title=objective, scale=c.value_scale("history", o), axis=VALUES)
        points = (
            _base("history")
            .transform_filter(f"datum.o === {o}")
            .mark_point(filled=True)
            .encode(
                x=alt.X("trial:Q", title="trial", axis=WHOLE, scale=alt.Scale(nice=False)),
                y=y,
                color=c.status("history"),
                shape=c.shape(),
                opacity=c.emphasis(0.75, 1),
                size=c.emphasis(36, 160),
                tooltip=[alt.Tooltip("trial:Q"), alt.Tooltip("value:Q", format=".6g"), alt.Tooltip("status:N")],
            )
        )
        best = (
            _base("history")
            .transform_filter(f"datum.o === {o} && datum.status === 'completed'")
            .transform_window(
                best=f"{'max' if maximize else 'min'}(value)", sort=[alt.SortField("trial")], frame=[None, 0]
            )
            .mark_line(interpolate="step-after", color=COLOURS["completed"], strokeWidth=2)
            .encode(x="trial:Q", y=alt.Y("best:Q", scale=c.value_scale("history", o)))
        )
        chart = alt.layer(best, points).add_params(c.chosen)
        charts.append((f"Values of {objective} by trial, and the best so far", chart, ("history",)))
    return charts


def _curves(c: _Context) -> list[_Chart]:
    there = {row["o"] for row in c.rows["curves"]}
    return [_curves_of(c, o, objective) for o, objective, _ in c.objectives if o in there]


def _curves_of(c: _Context, o: int, objective: str) -> _Chart:
    scale = c.value_scale("curves", o)
    x = alt.X("iteration:Q", title="iteration", axis=WHOLE, scale=alt.Scale(nice=False, zero=False))
    lines = (
        _base("curves")
        .transform_filter(f"datum.o === {o} && !datum.late")
        .transform_calculate(run="datum.trial + '.' + datum.attempt")
        .mark_line(interpolate="linear", point=False)
        .encode(
            x=x,
            y=alt.Y("value:Q", title=objective, scale=scale, axis=VALUES),
            detail="run:N",
            color=c.status("curves"),
            opacity=c.emphasis(c.opacity, 1),
            strokeWidth=c.emphasis(1.2, 3.5),
            tooltip=[alt.Tooltip("trial:Q"), alt.Tooltip("attempt:Q"), alt.Tooltip("status:N")],
        )
    )
    dots = (  # a curve of one point has no line
        _base("curves")
        .transform_filter(f"datum.o === {o} && !datum.late")
        .transform_joinaggregate(points="count()", groupby=["trial", "attempt"])
        .transform_filter("datum.points === 1")
        .mark_point(filled=True, size=25)
        .encode(x=x, y=alt.Y("value:Q", scale=scale), color=c.status("curves"), tooltip=["trial:Q", "value:Q"])
    )
    layers: list[Any] = [lines, dots]
    names: tuple[str, ...] = ("curves",)
    if len(c.data.objectives) == 1:
        layers += _prune_marks(c, x, scale)
        names = ("curves", "prunes")
    return f"Every curve of {objective}", alt.layer(*layers).add_params(c.chosen), names


def _prune_marks(c: _Context, x: alt.X, scale: alt.Scale) -> list[Any]:
    """Return the crosses where trials were pruned, and lines to the values that they needed."""
    tips = [
        alt.Tooltip("trial:Q", title="pruned trial"),
        alt.Tooltip("iteration:Q"),
        alt.Tooltip("value:Q", format=".6g"),
        alt.Tooltip("needed_text:N", title="to go on"),
        alt.Tooltip("event:Q"),
    ]
    faint = c.emphasis(max(0.25, c.opacity), 1)
    prunes, needed = _base("prunes"), _base("prunes").transform_filter("isValid(datum.needed)")
    return [
        needed.mark_rule(color=GREY, strokeDash=[2, 2]).encode(
            x=x, y=alt.Y("value:Q", scale=scale), y2="needed:Q", opacity=faint, tooltip=tips
        ),
        needed.mark_tick(color=GREY, thickness=2, size=10, orient="horizontal").encode(
            x=x, y=alt.Y("needed:Q", scale=scale), opacity=faint, tooltip=tips
        ),
        prunes.mark_point(shape="cross", filled=True, angle=45, color=COLOURS["pruned"]).encode(
            x=x,
            y=alt.Y("value:Q", scale=scale),
            size=c.emphasis(28, 140),
            opacity=c.emphasis(max(0.5, c.opacity), 1),
            tooltip=tips,
        ),
    ]


def _timeline(c: _Context) -> list[_Chart]:
    if not c.data.attempts.trial:
        return []
    time = alt.Axis(labelOverlap=True, tickCount=6, format=_time_format(c.data))
    x = alt.X("begin:T", title="time (UTC)", scale=alt.Scale(type="utc", nice=False), axis=time)
    y = alt.Y("slot:O", title="slot")
    tips = [
        alt.Tooltip("trial:Q"),
        alt.Tooltip("attempt:Q"),
        alt.Tooltip("status:N"),
        alt.Tooltip("why:N", title="note"),
        alt.Tooltip("begin:T", format="%d %b %H:%M:%S", formatType="utc"),
        alt.Tooltip("end:T", format="%d %b %H:%M:%S", formatType="utc"),
    ]
    bars = _base("timeline").transform_filter("datum.status !== 'idle'")
    gaps = _base("controllers").transform_filter("datum.at > datum.begin").mark_rect(color=GREY, opacity=0.25)
    controller_tips = [alt.Tooltip("controller:Q"), alt.Tooltip("event:Q", title="started at event")]
    layers = [
        gaps.encode(x=x, x2="at:T", tooltip=controller_tips),
        _base("timeline")
        .transform_filter("datum.status === 'idle'")
        .mark_bar(height={"band": 0.3}, color=COLOURS["idle"], opacity=0.6)
        .encode(x=x, x2="end:T", y=y, tooltip=tips[2:]),
        bars.mark_bar(height={"band": 0.75}, stroke="#888", strokeWidth=0.3).encode(
            x=x, x2="end:T", y=y, color=c.status("timeline"), opacity=c.emphasis(0.85, 1), tooltip=tips
        ),
        bars.transform_filter("datum.attempt > 0")
        .mark_point(shape="triangle-right", filled=True, size=50, color="#fff", stroke="#333", strokeWidth=1, xOffset=5)
        .encode(x=x, y=y, tooltip=tips),
        _base("controllers")
        .mark_rule(color=COLOURS["failed"], strokeDash=[4, 3], strokeWidth=1.5)
        .encode(x=alt.X("at:T", scale=alt.Scale(type="utc", nice=False)), tooltip=controller_tips),
    ]
    chart = alt.layer(*layers).add_params(c.chosen)
    slots = len(set(c.data.attempts.slot))
    chart = chart.properties(height=max(90, min(600, 26 * slots)))
    return [("Jobs in their slots, idle times, retries and starts of controllers", chart, ("timeline", "controllers"))]


def _time_format(data: ReportData) -> str:
    """Return how precisely the axis tells times: by seconds in a short search, with the day in a long one."""
    seconds = sum(data.events.at[1:]) / 1e6
    return "%H:%M:%S" if seconds < 600 else "%H:%M" if seconds < 86_400 else "%d %b %H:%M"


def _parallel(c: _Context) -> list[_Chart]:
    if not c.data.parameters or not c.rows["parallel"]:
        return []
    maximize = c.data.objectives[0].maximize
    colours = alt.Scale(range=RAMP if maximize else RAMP[::-1], interpolate="lab")
    legend = alt.Legend(orient="bottom", title=c.data.objectives[0].name) if c.legend else None
    chart = (
        _base("parallel")
        .mark_line(interpolate="linear")
        .encode(
            x=alt.X(
                "axis:N",
                title=None,
                sort=alt.EncodingSortField(field="order", op="min"),
                axis=alt.Axis(labelAngle=-30, labelLimit=120, grid=True),
                scale=alt.Scale(type="point", padding=0.3),
            ),
            y=alt.Y("position:Q", title="lowest to highest", axis=alt.Axis(labels=False, ticks=False, grid=False)),
            detail="trial:N",
            order="order:Q",
            color=alt.Color("value:Q", scale=colours, legend=legend),
            opacity=c.emphasis(c.opacity, 1),
            strokeWidth=c.emphasis(1.2, 4),
            tooltip=[alt.Tooltip("trial:Q"), alt.Tooltip("value:Q", format=".6g"), alt.Tooltip("status:N")],
        )
        .add_params(c.chosen)
    )
    return [("Parameters of each trial side by side, coloured by value", chart, ("parallel",))]


def _importance(c: _Context) -> list[_Chart]:
    charts: list[_Chart] = []
    for o, objective, _ in c.objectives:
        if o in c.data.importance.objective:
            chart = (
                _base("importance")
                .transform_filter(f"datum.o === {o}")
                .mark_bar(color=COLOURS["completed"])
                .encode(
                    x=alt.X(
                        "importance:Q", title="importance", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5)
                    ),
                    y=alt.Y("parameter:N", title=None, sort="-x", axis=alt.Axis(labelLimit=160)),
                    tooltip=["parameter:N", alt.Tooltip("importance:Q", format=".3f")],
                )
                .properties(height=alt.Step(22))
            )
            charts.append((f"Importance of each parameter for {objective}", chart, ("importance",)))
    return charts


def _slice(c: _Context) -> list[_Chart]:
    charts: list[_Chart] = []
    for k, parameter in enumerate(c.data.parameters):
        if not any(r["p"] == k for r in c.rows["slices"]):
            continue
        if parameter.kind == "choice":
            x: Any = alt.X(
                "text:N",
                title=parameter.short,
                sort=choices(c.data.trials, k),
                axis=alt.Axis(labelAngle=-30, labelLimit=100),
            )
        else:
            scale = alt.Scale(type="log") if parameter.kind == "log" else alt.Scale(zero=False)
            x = alt.X("x:Q", title=parameter.short, scale=scale, axis=alt.Axis(tickCount=5, format=".3~g"))
        chart = (
            _base("slices")
            .transform_filter(f"datum.p === {k}")
            .mark_point(filled=True)
            .encode(
                x=x,
                y=alt.Y("value:Q", title=c.data.objectives[0].name, scale=c.value_scale("slices", 0), axis=VALUES),
                color=c.status("slices"),
                shape=c.shape(),
                opacity=c.emphasis(0.6, 1),
                size=c.emphasis(30, 160),
                tooltip=["trial:Q", alt.Tooltip("text:N", title=parameter.short), "value:Q", "status:N"],
            )
            .properties(height=180)
            .add_params(c.chosen)
        )
        charts.append((f"{c.data.objectives[0].name} by {parameter.short}", chart, ("slices",)))
    return charts


def _budget(c: _Context) -> list[_Chart]:
    if not c.data.attempts.trial:
        return []
    colours = {"winner": COLOURS["running"]} | {
        name: COLOURS[name] for name in ("completed", "pruned", "failed", "aborted")
    }
    unit = "iterations" if any(row["iterations"] for row in c.rows["spending"]) else "minutes"
    chart = (
        _base("spending")
        .mark_bar()
        .encode(
            x=alt.X(f"{unit}:Q", title=unit, scale=alt.Scale(domainMin=0), axis=alt.Axis(tickCount=6)),
            y=alt.Y("part:N", title=None, sort=list(colours)),
            color=alt.Color("part:N", scale=alt.Scale(domain=list(colours), range=list(colours.values())), legend=None),
            tooltip=["part:N", "iterations:Q", "jobs:Q", alt.Tooltip("minutes:Q", format=".2f")],
        )
        .properties(height=alt.Step(24))
    )
    return [("What the budget went to", chart, ("spending",))]


def _pareto(c: _Context) -> list[_Chart]:
    pairs = [(a, b) for a in c.objectives for b in c.objectives if a[0] < b[0]]
    charts: list[_Chart] = []
    for (a, first, _), (b, second, _) in pairs:
        chart = (
            _base("pareto")
            .mark_point(filled=True)
            .encode(
                x=alt.X(f"v{a}:Q", title=first, scale=alt.Scale(zero=False)),
                y=alt.Y(f"v{b}:Q", title=second, scale=alt.Scale(zero=False)),
                color=alt.condition("datum.front", alt.value(COLOURS["failed"]), alt.value(GREY)),
                size=c.emphasis(50, 180),
                shape=alt.condition("datum.front", alt.value("diamond"), alt.value("circle")),
                tooltip=["trial:Q", f"v{a}:Q", f"v{b}:Q", alt.Tooltip("front:N", title="on the front")],
            )
            .add_params(c.chosen)
        )
        charts.append((f"Pareto front of {first} and {second}", chart, ("pareto",)))
    return charts


_KINDS: dict[Kind, Callable[[_Context], list[_Chart]]] = {
    "history": _history,
    "curves": _curves,
    "timeline": _timeline,
    "parallel": _parallel,
    "importance": _importance,
    "slice": _slice,
    "budget": _budget,
    "pareto": _pareto,
}
