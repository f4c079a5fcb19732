"""One chart as an SVG or PNG file, for papers and slides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import altair as alt
import vl_convert

from eventhpo.errors import Usage
from eventhpo.views import formatting
from replay.report.charts import KINDS, Kind, Panel, Spec, panels
from replay.report.data import ReportData
from replay.report.rows import AsOfEvent, ChartRow

PictureFormat: TypeAlias = Literal["svg", "png"]
WIDTH, HEIGHT = 640, 320  # of one panel, in pixels before *scale*
SMALL = 220  # width of one of many panels
COLUMNS = 3

_NOTHING: dict[Kind, str] = {
    "history": "no trial has a value",
    "curves": "no job has reported a value",
    "timeline": "no job was created",
    "parallel": "no trial has a value and a parameter",
    "importance": "",
    "slice": "no trial has a value and a parameter",
    "budget": "no job was created",
    "pareto": "the search has one objective, so there is no front",
}


def draw(data: ReportData, kind: Kind, form: PictureFormat, scale: float = 2.0) -> bytes:
    """Return the chart of *kind* as the bytes of an SVG or PNG file; *scale* is pixels of a PNG for each of an SVG.

    Raises:
        Usage: the search has nothing that a chart of this kind could show.
    """
    spec = picture_spec(data, kind)
    if form == "svg":
        return vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE).encode()
    return bytes(vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=scale))


VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])  # of Vega-Lite, that Altair writes


def picture_spec(data: ReportData, kind: Kind) -> Spec:
    """Return the chart of *kind* with its data, as Vega-Lite.

    Raises:
        Usage: the search has nothing that a chart of this kind could show.
    """
    rows = AsOfEvent(data).rows()
    charts = panels(kind, data, rows, legend=True)
    if not charts or not any(rows[name] for panel in charts for name in panel.data):
        why = nothing_to_draw(data, kind)
        raise Usage(f"there is nothing to draw of {data.log}: {why}; the other kinds are {_others(kind)}")
    many = len(charts) > COLUMNS
    spec: Spec = {
        "$schema": alt.SCHEMA_URL,
        "background": "white",
        "title": {
            "text": data.name,
            "subtitle": formatting.plural(len(data.trials.number), "trial"),
            "anchor": "start",
        },
        "config": {"view": {"stroke": None}, "font": "sans-serif", "axis": {"labelFontSize": 11}},
        "datasets": {name: _drawable(rows[name]) for panel in charts for name in panel.data},
        "params": [{"name": "chosen", "value": -1}],
        "concat": [_panel(panel, SMALL if many else WIDTH) for panel in charts],
        "columns": COLUMNS if many else 1,
        "resolve": {"scale": {"color": "shared"}},
    }
    return spec


def nothing_to_draw(data: ReportData, kind: Kind) -> str:
    """Return why a search has no chart of *kind*."""
    return data.importance.why_not if kind == "importance" else _NOTHING[kind]


def _others(kind: Kind) -> str:
    return ", ".join(other for other in KINDS if other != kind)


def _drawable(rows: Sequence[ChartRow]) -> list[ChartRow]:
    # An empty list would be taken for data that comes from elsewhere.
    return list(rows) or [{}]


def _panel(panel: Panel, width: int) -> Spec:
    kept = {key: value for key, value in panel.spec.items() if key not in ("$schema", "config", "params", "datasets")}
    return {"height": HEIGHT if width == WIDTH else 180, **kept, "width": width, "title": panel.title}
