"""A report as one HTML file: texts, data and the code that draws them, with no reference to anything outside.

Vega draws the charts, because it draws what Altair describes; vl-convert brings it, so that nothing is fetched. Nothing
of a log is ever markup: names are texts in compressed data or escaped, and the page's policy runs two scripts, which it
knows by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Sequence
from functools import cache, lru_cache
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template

import msgspec
import vl_convert

from replay.report.charts import COLOURS, KINDS, Panel, panels
from replay.report.data import ReportData
from replay.report.picture import VEGA_LITE, nothing_to_draw
from replay.report.rows import AsOfEvent

SHOWN_COLOURS = ("completed", "pruned", "failed", "lost", "aborted", "running", "imported")


class PageContent(msgspec.Struct, frozen=True):
    """What a page shows: the data of a search, its charts as Vega, and why a kind of chart is not there."""

    data: ReportData
    panels: list[Panel]
    empty: dict[str, str]


def content(data: ReportData) -> PageContent:
    """Return what a page shows of *data*."""
    rows = AsOfEvent(data).rows()
    charts: list[Panel] = []
    empty: dict[str, str] = {}
    for kind in KINDS:
        of_kind = panels(kind, data, rows, legend=False)
        charts += [_compiled(panel) for panel in of_kind]
        if not of_kind:
            empty[kind] = f"none: {nothing_to_draw(data, kind)}"
    return PageContent(data, charts, empty)


def _compiled(panel: Panel) -> Panel:
    """Return *panel* as Vega, as wide as the page lets it be."""
    narrow = panel.kind == "slice"
    spec = {
        "height": 180 if narrow else 300,
        **panel.spec,
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "background": None,
        "config": {"view": {"stroke": None}, "font": "system-ui, sans-serif"},
    }
    return msgspec.structs.replace(panel, spec=_vega(msgspec.json.encode(spec)))


@lru_cache(maxsize=256)  # a live page compiles the same charts again and again
def _vega(spec: bytes) -> dict[str, object]:
    return dict(vl_convert.vegalite_to_vega(msgspec.json.decode(spec), vl_version=VEGA_LITE))


def report_page(shown: PageContent) -> str:
    """Return *shown* as one HTML file that needs nothing else."""
    packed = base64.b64encode(gzip.compress(msgspec.json.encode(shown), 9, mtime=0)).decode()
    return _page(shown.data, packed)


@lru_cache(maxsize=8)
def live_page(name: str, *, listed: bool) -> tuple[str, str]:
    """Return the page of a log called *name* that asks its server for what it shows, and its policy.

    *listed*: it has a link to the list of all logs.
    """
    to_list = '<a href="/">all logs</a> ' if listed else ""
    line = f'<p class="meta">{to_list}<span id="connection" role="status"></span></p>'
    return _page(None, "", live_line=line, name=name), policy([_vega_script(), _own_script()], live=True)


def list_page() -> tuple[str, str]:
    """Return the page that lists logs, and its policy."""
    script = _asset("list.js")
    allowed = policy([script], live=True)
    page = Template(_asset("list.html")).substitute(policy=escape(allowed), style=_asset("page.css"), script=script)
    return page, allowed


def _page(data: ReportData | None, packed: str, *, live_line: str = "", name: str = "") -> str:
    vega, script = _vega_script(), _own_script()
    damage = "" if data is None or not data.damage else f"This log is damaged: {data.damage[0]}."
    return Template(_asset("page.html")).substitute(
        live="yes" if live_line else "no",
        policy=escape(policy([vega, script], live=bool(live_line))),
        title=escape(name if data is None else data.name),
        style=_asset("page.css"),
        meta="" if data is None else escape(f"{data.log}, search {data.search_id}"),
        live_line=live_line,
        verdict="" if data is None else "".join(f"<p>{escape(sentence)}</p>" for sentence in data.verdict),
        damage=escape(damage),
        damage_hidden="" if damage else " hidden",
        top="" if data is None else escape("\n".join(_top_lines(data))),
        colours=_colours(),
        importance_note=_importance_note(data),
        trouble="" if data is None else _trouble(data),
        footer=escape(f"Made by eventhpo {version('eventhpo')} from the events of one log."),
        data=packed,
        vega=vega,
        script=script,
    )


def policy(scripts: Sequence[str], *, live: bool) -> str:
    """Return the content security policy of a page that runs *scripts* and nothing else."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    connect = "'self'" if live else "'none'"
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


@cache
def _vega_script() -> str:
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    assert "</script" not in script.lower()
    return f"(() => {{{script}\n}})();"  # its names stay its own


def _own_script() -> str:
    return _asset("as_of.js") + _asset("page.js")


@cache
def _asset(name: str) -> str:
    return files("replay.report").joinpath(name).read_text(encoding="utf-8")


def _colours() -> str:
    items = (f'<li><i style="background:{COLOURS[name]}"></i>{name}</li>' for name in SHOWN_COLOURS)
    return f'<ul class="colours" aria-label="Colours">{"".join(items)}</ul>'


def _importance_note(data: ReportData | None) -> str:
    method = "fANOVA or PED-ANOVA" if data is None or not data.importance.method else data.importance.method
    return escape(f"By {method} of Optuna over the completed trials at the end of this page's events.")


def _trouble(data: ReportData) -> str:
    return "".join(
        f"<div><dt>{escape(fact.question)}</dt>{''.join(map(_answer, fact.answers or ['none']))}</div>"
        for fact in data.trouble
    )


def _answer(text: str) -> str:
    return f"<dd>{escape(text)}</dd>"


def _top_lines(data: ReportData) -> list[str]:
    """Return the best trials as lines, for a reader without JavaScript."""
    end = AsOfEvent(data)
    completed = sorted(t for t in end.version if end.status(t) in ("completed", "pruned", "running"))
    ranked = sorted(completed, key=lambda t: (end.costs(t), t))[:10]
    lines = []
    for place, trial in enumerate(ranked, 1):
        values = ", ".join(f"{o.name} = {end.shown_value(trial, k)}" for k, o in enumerate(data.objectives))
        params = " ".join(
            f"{p.short}={data.trials.text[k][trial]}"
            for k, p in enumerate(data.parameters)
            if data.trials.text[k][trial] is not None
        )
        lines.append(f"{place}. trial {trial}, {end.status(trial)}: {values}  {params}")
    return lines
