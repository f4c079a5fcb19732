// Shows a report: the event that the slider stands at, the charts as of it, and why each trial came out as it did.
"use strict";

const TOP = 10; // rows, as `eventhpo top` shows
const POLL_MS = 2000; // between two looks of a live page at its server
const LIVE = document.documentElement.dataset.live === "yes";

const page = { report: null, seq: 0, follows: true, chosen: -1, views: new Map(), playing: 0, stamp: "" };
const $ = (id) => document.getElementById(id);

/** Make an element; texts become text and never markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// ------------------------------------------------------------ the event that is shown

function show(seq) {
  const data = page.report.data;
  page.seq = Math.max(1, Math.min(data.seq, seq));
  page.follows = page.seq === data.seq;
  const now = (page.now = new AsOfEvent(data, page.seq));
  $("slider").max = data.seq;
  $("slider").value = page.seq;
  $("number").max = data.seq;
  $("number").value = page.seq;
  $("last").textContent = data.seq;
  $("event").textContent = describeEvent(data, page.seq);
  $("slider").setAttribute("aria-valuetext", `event ${page.seq} of ${data.seq}: ${$("event").textContent}`);
  showStanding(now);
  showTop(now);
  showPrunes(now);
  showTrials(now);
  showExplanation();
  drawSoon();
}

function describeEvent(data, seq) {
  const trial = data.events.trial[seq - 1];
  const time = new Date(data.times[seq - 1] / 1000).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
  return `${data.events.types[data.events.type[seq - 1]]}${trial < 0 ? "" : ` of trial ${trial}`}, ${time}`;
}

function counted(counts, total) {
  const parts = Object.entries(counts).filter(([, count]) => count).map(([name, count]) => `${count} ${name}`);
  return parts.length ? `${total}: ${parts.join(", ")}` : String(total);
}

function showStanding(now) {
  const { standing } = now.data;
  const k = now.standing;
  const trials = now.trialCounts(), jobs = now.jobCounts();
  const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
  const limit = standing.limit[k];
  const best = now.top(1)[0];
  const facts = {
    state: standing.state[k] + (standing.ending[k] ? `, ending: ${standing.ending[k]}` : ""),
    trials: counted(trials, sum(trials)),
    jobs: counted(jobs, sum(jobs)),
    iterations: `${standing.used[k]} used, ${standing.reserved[k]} reserved, ${limit === null ? "no limit" : `of ${limit}`}`,
    compute: `${(standing.compute[k] / 6e7).toFixed(2)} minutes used`,
    best: best === undefined ? "no trial yet" : describeTrial(now, best),
  };
  if (standing.waiting[k]) facts.waiting = `${standing.waiting[k]} enqueued`;
  page.standing = { state: standing.state[k], trials, jobs, used: standing.used[k], reserved: standing.reserved[k], limit, best: best ?? null };
  $("standing").replaceChildren(...Object.entries(facts).map(([name, text]) => make("div", { "data-fact": name }, make("dt", {}, name), make("dd", {}, text))));
  const bar = $("used");
  bar.hidden = limit === null;
  if (limit !== null) {
    bar.max = Math.max(1, limit);
    bar.value = standing.used[k];
  }
}

function describeTrial(now, trial) {
  const { objectives, parameters } = now.data;
  const values = objectives.map((o, k) => `${o.name} = ${digits(now.raw(trial, k))}`).join(", ");
  const given = parameters.map((p, k) => (now.text(trial, k) === null ? null : `${p.short}=${now.text(trial, k)}`));
  return `trial ${trial}: ${values}  ${given.filter((text) => text !== null).join(" ")}`;
}

function trialButton(trial) {
  return make("button", { type: "button", class: "trial", title: `why trial ${trial} came out as it did`, onclick: () => choose(trial, true) }, trial);
}

function row(cells, header) {
  return make("tr", {}, ...cells.map((cell, k) => (k === header ? make("th", { scope: "row" }, cell) : make("td", {}, cell))));
}

function heads(names) {
  return make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)));
}

/** The headlines and the cells that tables of trials share; without `extra` only parameters of the space. */
function trialHeads(data, extra) {
  const parameters = data.parameters.filter((parameter) => extra || !parameter.extra);
  return [...data.objectives.map((o) => o.name), ...parameters.map((p) => p.short), ...(data.tasks ? ["task"] : [])];
}

function trialCells(now, trial, extra) {
  const { objectives, parameters, tasks } = now.data;
  const texts = parameters.map((parameter, k) => (extra || !parameter.extra ? now.text(trial, k) ?? "-" : null));
  return [
    ...objectives.map((_, k) => digits(now.raw(trial, k))),
    ...texts.filter((text) => text !== null),
    ...(tasks ? [now.task(trial) ?? "-"] : []),
  ];
}

function showTop(now) {
  const { versions } = now.data;
  const order = (page.top = now.top(TOP));
  $("top").tHead.replaceChildren(heads(["rank", "trial", "status", ...trialHeads(now.data, false)]));
  $("top").tBodies[0].replaceChildren(...order.map((trial, place) => {
    const button = trialButton(trial);
    const marked = versions.marked[now.version.get(trial)];
    const cell = marked ? make("span", { title: "its value does not rest on all that it reported" }, button, "*") : button;
    return row([place + 1, cell, now.status(trial), ...trialCells(now, trial, false)], 1);
  }));
  $("no-top").hidden = order.length > 0;
}

function showTrials(now) {
  const { versions, trials } = now.data;
  $("trials").tHead.replaceChildren(heads(["trial", "status", ...trialHeads(now.data, true), "from", "note"]));
  const wanted = $("filter").value.trim().toLowerCase();
  const rows = [];
  for (const trial of now.trials()) {
    const cells = [now.status(trial), ...trialCells(now, trial, true), trials.source[trial], versions.why[now.version.get(trial)]];
    if (!wanted || `${trial} ${cells.join(" ")}`.toLowerCase().includes(wanted)) rows.push(row([trialButton(trial), ...cells], 0));
  }
  $("trials").tBodies[0].replaceChildren(...rows);
  $("trials-count").textContent = `${rows.length} of ${now.version.size} trials known at event ${now.seq}`;
}

function showPrunes(now) {
  const prunes = now.data.prunes;
  const count = known(prunes.seq, now.seq);
  const rows = prunes.trial.slice(0, count).map((trial, k) => row([
    prunes.seq[k], trialButton(trial), prunes.iteration[k], digits(prunes.value[k]), prunes.needed_text[k] || "-", prunes.why[k],
  ], 1));
  $("prunes").tBodies[0].replaceChildren(...rows);
  $("prunes").hidden = count === 0;
  $("no-prunes").hidden = count > 0;
}

// ------------------------------------------------------------ one trial

function choose(trial, move = false) {
  page.chosen = trial;
  $("chosen").value = trial < 0 ? "" : trial;
  for (const { view } of page.views.values()) {
    if (view && "chosen" in view.getState({ signals: (name) => name === "chosen", data: () => false }).signals) view.signal("chosen", trial).runAsync();
  }
  showExplanation();
  if (move) {
    $("why").scrollIntoView();
    $("why-title").focus({ preventScroll: true });
  }
}

async function showExplanation() {
  const trial = page.chosen;
  const body = $("explanation").tBodies[0];
  $("explanation").hidden = trial < 0;
  if (trial < 0) {
    $("why-title").textContent = "Why: choose a trial";
    return;
  }
  $("why-title").textContent = `Why trial ${trial} came out as it did`;
  if (!page.now.version.has(trial)) {
    body.replaceChildren(row(["", "", `at event ${page.seq} there is no trial ${trial}`], -1));
    return;
  }
  const lines = await explanationOf(trial);
  if (trial !== page.chosen) return; // another one was chosen meanwhile
  const atEnd = page.seq === page.report.data.seq;
  const shown = lines.filter(([seq]) => (seq === "" ? atEnd : Number(seq) <= page.seq));
  body.replaceChildren(...shown.map(([seq, what, why]) => {
    const cell = row([seq, what, why], 1);
    if (what === "DIFFERS" || what === "pruned") cell.className = what.toLowerCase();
    return cell;
  }));
}

async function explanationOf(trial) {
  const explained = page.report.data.explained;
  if (explained !== null) {
    return explained[trial] ?? [["", "note", `run eventhpo explain LOG ${trial}: a page has room for so many only`]];
  }
  const answer = await fetch(`explain?trial=${trial}`);
  return answer.ok ? answer.json() : [["", "note", await answer.text()]];
}

// ------------------------------------------------------------ charts

/** Show what is under the pointer, as text. */
function tooltip(_, event, item, value) {
  const box = $("tip");
  if (value === null || value === undefined || value === "") {
    box.hidden = true;
    return;
  }
  const facts = typeof value === "object" ? Object.entries(value) : [["", value]];
  const told = facts.filter(([, text]) => text !== null && text !== "" && text !== "null" && text !== "undefined" && text !== "NaN");
  box.replaceChildren(...told.map(([name, text]) => make("div", {}, make("b", {}, name ? `${name}: ` : ""), text)));
  box.hidden = false;
  const left = Math.min(event.clientX + 12, window.innerWidth - box.offsetWidth - 8);
  const top = event.clientY + 16 + box.offsetHeight > window.innerHeight ? event.clientY - box.offsetHeight - 8 : event.clientY + 16;
  box.style.left = `${Math.max(4, left)}px`;
  box.style.top = `${Math.max(4, top)}px`;
}

let drawing = false, drawAgain = false;

/** Draw the charts as of the event that is shown; while one drawing goes on, only the newest event waits. */
async function drawSoon() {
  if (drawing) {
    drawAgain = true;
    return;
  }
  drawing = true;
  do {
    drawAgain = false;
    await new Promise((resolve) => setTimeout(resolve));
    await draw();
  } while (drawAgain);
  drawing = false;
  document.documentElement.dataset.drawn = page.seq;
}

async function draw() {
  const rows = (page.rows = page.now.rows());
  for (const [place, panel] of page.report.panels.entries()) {
    const key = JSON.stringify(panel);
    const shown = page.views.get(place);
    try {
      if (!shown || shown.key !== key) {
        shown?.result.finalize();
        await embed(place, panel, key, rows);
      } else {
        for (const name of panel.data) shown.view.data(name, structuredClone(rows[name]));
        await shown.view.runAsync();
      }
    } catch (error) {
      console.error(`${panel.title}: ${error}`);
      $(`chart-${place}`).textContent = `This chart cannot be drawn: ${error}`; // the others are drawn
    }
    const empty = panel.data.every((name) => rows[name].length === 0);
    $(`chart-${place}`).closest("figure").classList.toggle("empty", empty);
    if (drawAgain) return;
  }
}

async function embed(place, panel, key, rows) {
  const spec = structuredClone(panel.spec);
  for (const source of spec.data) if (panel.data.includes(source.name)) source.values = structuredClone(rows[source.name]);
  const options = { mode: "vega", ast: true, renderer: "svg", actions: false, defaultStyle: false, tooltip, logLevel: 1 };
  const result = await vegaEmbed(`#chart-${place}`, spec, options);
  result.view.addEventListener("click", (_, item) => {
    if (item && item.datum && Number.isInteger(item.datum.trial)) choose(item.datum.trial);
  });
  const shown = { key, result, view: result.view };
  page.views.set(place, shown);
  if (page.chosen >= 0) choose(page.chosen);
  return shown;
}

function showFigures() {
  for (const section of document.querySelectorAll("[data-kind]")) section.replaceChildren();
  for (const shown of page.views.values()) shown.result.finalize();
  page.views.clear();
  page.report.panels.forEach((panel, place) => {
    const chart = make("div", { id: `chart-${place}`, class: "chart", "aria-hidden": "true" });
    const figure = make("figure", { "aria-label": `${panel.title}. ${panel.text}` }, make("figcaption", {}, panel.title), chart, make("p", { class: "nothing" }, "nothing yet at this event"));
    document.querySelector(`[data-kind="${panel.kind}"]`).append(figure);
  });
  for (const section of document.querySelectorAll("[data-kind]")) {
    const why = page.report.empty[section.dataset.kind];
    if (!section.children.length && why) section.append(make("p", { class: "none" }, why));
  }
}

// ------------------------------------------------------------ texts that hold for the whole log

function showTexts() {
  const data = page.report.data;
  document.title = `${data.name}: search report`;
  $("name").textContent = data.name;
  $("meta").textContent = `${data.log}, search ${data.search_id}, ${data.seq} events, the last at ${data.as_of}`;
  $("verdict").replaceChildren(...data.verdict.map((sentence) => make("p", {}, sentence)));
  $("damage").hidden = data.damage.length === 0;
  $("damage").textContent = data.damage.length ? `This log is damaged: ${data.damage[0]}. The page shows its verified beginning, up to event ${data.seq}.` : "";
  $("goes-on").hidden = !data.goes_on;
  $("facts").replaceChildren(...data.facts.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text))));
  $("trouble").replaceChildren(...data.trouble.map((fact) => make("div", { class: fact.answers.length ? "some" : "none" }, make("dt", {}, fact.question), ...(fact.answers.length ? fact.answers : ["none"]).map((answer) => make("dd", {}, answer)))));
  const notNumbers = data.versions.values.flat().filter((value) => typeof value === "string").length;
  $("not-drawn").hidden = notNumbers === 0;
  $("controllers").replaceChildren(...data.controllers.text.map((text) => make("li", {}, text)));
}

function take(report) {
  const before = page.report;
  report.data = prepare(report.data);
  page.report = report;
  showTexts();
  const titles = (one) => JSON.stringify(one.panels.map((panel) => [panel.kind, panel.title]));
  if (!before || titles(before) !== titles(report)) showFigures();
  show(page.follows ? report.data.seq : page.seq);
  document.documentElement.dataset.ready = report.data.seq;
}

// ------------------------------------------------------------ controls

function play() {
  if (page.playing) return pause();
  if (page.seq >= page.report.data.seq) show(1);
  $("play").textContent = "Pause";
  const step = Math.max(1, Math.round(page.report.data.seq / 200));
  page.playing = setInterval(() => {
    show(page.seq + step);
    if (page.seq >= page.report.data.seq) pause();
  }, 100);
}

function pause() {
  clearInterval(page.playing);
  page.playing = 0;
  $("play").textContent = "Play";
}

function connectControls() {
  $("slider").addEventListener("input", (event) => show(Number(event.target.value)));
  $("number").addEventListener("change", (event) => show(Number(event.target.value) || 1));
  $("player").addEventListener("submit", (event) => event.preventDefault());
  $("play").addEventListener("click", play);
  $("first-event").addEventListener("click", () => show(1));
  $("last-event").addEventListener("click", () => show(page.report.data.seq));
  $("filter").addEventListener("input", () => showTrials(page.now));
  $("chosen").addEventListener("input", (event) => choose(event.target.value === "" ? -1 : Number(event.target.value)));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") $("tip").hidden = true; });
  $("player").hidden = false;
}

async function follow() {
  for (;;) {
    try {
      const answer = await fetch("data", { headers: page.stamp ? { "If-None-Match": page.stamp } : {} });
      if (answer.status === 200) {
        page.stamp = answer.headers.get("ETag") ?? "";
        take(await answer.json());
        $("connection").textContent = "live";
      } else if (answer.status !== 304) {
        $("connection").textContent = await answer.text();
      } else $("connection").textContent = "live";
    } catch {
      $("connection").textContent = "the server does not answer; this page tries again";
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function begin() {
  connectControls();
  if (LIVE) {
    follow();
  } else {
    take(await unpacked($("data").textContent.trim()));
  }
}

window.page = page;
begin();
