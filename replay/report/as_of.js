// The data of a report as of an event. `rows.py` has the same rules in Python; a test compares the two.
"use strict";

const STATUSES = ["running", "completed", "pruned", "failed", "aborted"];
const JOB_STATUSES = [
  "created", "bound", "queued", "running", "stopping", "completed", "pruned", "failed", "lost", "aborted",
];
const PARTS = ["winner", "completed", "pruned", "failed", "aborted"];
const SHORTEST = 250; // an idle stretch is drawn if it is longer than this part of the whole time

/** How many of the rising numbers in `column` are at most `seq`. */
function known(column, seq) {
  let low = 0, high = column.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column[middle] <= seq) low = middle + 1; else high = middle;
  }
  return low;
}

/** A number that an axis has a place for, else null: NaN and infinities come as texts. */
function finite(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** A number in at most six digits, as Python's `.6g` writes it. */
function digits(value) {
  if (value === null || value === undefined) return "-";
  if (typeof value === "string") return value;
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [mantissa, power] = value.toExponential(5).split("e");
  const exponent = Number(power);
  const trim = (text) => (text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text);
  if (exponent < -4 || exponent >= 6) {
    const size = String(Math.abs(exponent)).padStart(2, "0");
    return `${trim(mantissa)}e${exponent < 0 ? "-" : "+"}${size}`;
  }
  return trim(value.toFixed(5 - exponent));
}

/** What sorts better values first: numbers, then NaN, then none. */
function cost(value, maximize) {
  if (value === null) return [2, 0];
  const number = { nan: NaN, inf: Infinity, "-inf": -Infinity }[value] ?? value;
  if (Number.isNaN(number)) return [1, 0];
  return [0, maximize ? -number : number];
}

function compare(a, b) {
  return a[0] - b[0] || (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0);
}

class AsOfEvent {
  constructor(data, seq) {
    this.data = data;
    this.seq = seq;
    this.version = new Map();
    const versions = data.versions;
    for (let k = 0, end = known(versions.seq, seq); k < end; k++) this.version.set(versions.trial[k], k);
    this.jobStatus = new Map();
    const jobs = data.attempt_versions;
    for (let k = 0, end = known(jobs.seq, seq); k < end; k++) this.jobStatus.set(jobs.attempt[k], jobs.status[k]);
    this.standing = known(data.standing.seq, seq) - 1;
    this.at = data.times[seq - 1];
  }

  trials() {
    return [...this.version.keys()].sort((a, b) => a - b);
  }

  status(trial) {
    return this.data.trials.imported[trial] ? "imported" : this.data.versions.status[this.version.get(trial)];
  }

  raw(trial, objective) {
    return this.data.versions.values[objective][this.version.get(trial)];
  }

  value(trial, objective) {
    return finite(this.raw(trial, objective));
  }

  /** The value of a parameter as text, null if the trial has none, or none that is known yet. */
  text(trial, parameter) {
    const { text, known: since } = this.data.trials;
    return since.length && since[parameter][trial] > this.seq ? null : text[parameter][trial];
  }

  costs(trial) {
    return this.data.objectives.map((o, k) => cost(this.raw(trial, k), o.maximize));
  }

  // ---------------------------------------------------------- status and top

  trialCounts() {
    const counts = Object.fromEntries([...STATUSES, "imported"].map((status) => [status, 0]));
    for (const trial of this.version.keys()) counts[this.status(trial)]++;
    return counts;
  }

  jobCounts() {
    const counts = Object.fromEntries(JOB_STATUSES.map((status) => [status, 0]));
    for (const status of this.jobStatus.values()) counts[status]++;
    return counts;
  }

  /** The best `count` trials in the order of `eventhpo top`. */
  top(count) {
    const listed = this.trials().filter((t) => ["running", "completed", "pruned"].includes(this.status(t)));
    const costs = new Map(listed.map((t) => [t, this.costs(t)]));
    if (this.data.objectives.length === 1) {
      return listed.sort((a, b) => compare(costs.get(a)[0], costs.get(b)[0]) || a - b).slice(0, count);
    }
    const order = [];
    let left = listed;
    while (left.length && order.length < count) {
      const front = AsOfEvent.front(left, costs);
      order.push(...front);
      left = left.filter((t) => !front.includes(t));
    }
    return order.slice(0, count);
  }

  static front(trials, costs) {
    const dominates = (a, b) => {
      const pairs = costs.get(a).map((one, k) => compare(one, costs.get(b)[k]));
      return pairs.some((c) => c !== 0) && pairs.every((c) => c <= 0);
    };
    return trials.filter((t) => !trials.some((other) => dominates(other, t)));
  }

  bestCompleted() {
    const completed = this.trials().filter((t) => this.status(t) === "completed");
    const costs = new Map(completed.map((t) => [t, this.costs(t)]));
    if (this.data.objectives.length > 1) return AsOfEvent.front(completed, costs)[0] ?? null;
    return completed.sort((a, b) => compare(costs.get(a)[0], costs.get(b)[0]) || a - b)[0] ?? null;
  }

  /** The task of a trial's newest attempt, null as long as it has none. */
  task(trial) {
    const attempts = this.data.attempts;
    let task = null;
    for (let k = 0, end = known(attempts.seq, this.seq); k < end; k++) {
      if (attempts.trial[k] === trial) task = attempts.bound[k] !== null && attempts.bound[k] <= this.seq ? attempts.job_id[k] : null;
    }
    return task;
  }

  // ---------------------------------------------------------- the charts

  rows() {
    return {
      history: this.history(),
      curves: this.curves(),
      prunes: this.prunes(),
      timeline: [...this.idle(), ...this.jobs()],
      controllers: this.controllers(),
      parallel: this.parallel(),
      slices: this.slices(),
      spending: this.spending(),
      pareto: this.pareto(),
      importance: this.importance(),
    };
  }

  history() {
    const rows = [];
    for (const trial of this.trials()) {
      this.data.objectives.forEach((_, o) => {
        const value = this.value(trial, o);
        if (value !== null) rows.push({ trial, o, value, status: this.status(trial) });
      });
    }
    return rows;
  }

  curves() {
    const { curves, attempts } = this.data;
    const rows = [];
    curves.attempt.forEach((attempt, place) => {
      const cut = curves.cut[place];
      for (let k = 0, end = known(curves.seq[place], this.seq); k < end; k++) {
        const value = finite(curves.values[place][k]);
        if (value === null) continue;
        rows.push({
          trial: attempts.trial[attempt],
          attempt: attempts.number[attempt],
          o: curves.objective[place],
          iteration: curves.iterations[place][k],
          value,
          status: this.jobStatus.get(attempt) ?? "running",
          late: cut !== null && k >= cut,
        });
      }
    });
    return rows;
  }

  prunes() {
    const prunes = this.data.prunes;
    const rows = [];
    for (let k = 0, end = known(prunes.seq, this.seq); k < end; k++) {
      const value = finite(prunes.value[k]);
      if (value === null) continue;
      rows.push({
        trial: prunes.trial[k],
        iteration: prunes.iteration[k],
        value,
        needed: finite(prunes.needed[k]),
        needed_text: prunes.needed_text[k],
        event: prunes.seq[k],
      });
    }
    return rows;
  }

  jobs() {
    const attempts = this.data.attempts;
    const rows = [];
    for (let k = 0, end = known(attempts.seq, this.seq); k < end; k++) {
      const over = attempts.ended[k] !== null && attempts.ended[k] <= this.seq;
      rows.push({
        slot: attempts.slot[k],
        begin: attempts.at[k] / 1000,
        end: (over && attempts.ended_at[k] !== null ? attempts.ended_at[k] : this.at) / 1000,
        status: this.jobStatus.get(k) ?? "created",
        trial: attempts.trial[k],
        attempt: attempts.number[k],
        why: attempts.number[k] ? "retry" : "",
      });
    }
    return rows;
  }

  idle() {
    const { idle, times } = this.data;
    const least = (times[times.length - 1] - times[0]) / SHORTEST;
    const rows = [];
    idle.slot.forEach((slot, k) => {
      if (idle.seq[k] <= this.seq && idle.end[k] - idle.begin[k] > least) {
        rows.push({
          slot, begin: idle.begin[k] / 1000, end: idle.end[k] / 1000, status: "idle", why: idle.why[k],
        });
      }
    });
    return rows;
  }

  controllers() {
    const controllers = this.data.controllers;
    const rows = [];
    for (let k = 0, end = known(controllers.seq, this.seq); k < end; k++) {
      rows.push({
        begin: (controllers.at[k] - controllers.gap[k]) / 1000,
        at: controllers.at[k] / 1000,
        controller: k + 1,
        event: controllers.seq[k],
      });
    }
    return rows;
  }

  parallel() {
    const { trials, parameters, objectives } = this.data;
    const withValue = this.trials().map((t) => [t, this.value(t, 0)]).filter(([, value]) => value !== null);
    const numbers = withValue.map(([, value]) => value);
    const low = numbers.reduce((a, b) => Math.min(a, b), numbers[0] ?? 0);
    const high = numbers.reduce((a, b) => Math.max(a, b), numbers[0] ?? 0);
    const rows = [];
    for (const [trial, value] of withValue) {
      const status = this.status(trial);
      parameters.forEach((parameter, k) => {
        const position = trials.position[k][trial], text = this.text(trial, k);
        if (position === null || text === null) return;
        rows.push({ trial, order: k, axis: parameter.short, position, text, value, status });
      });
      const position = high <= low ? 0.5 : (value / 2 - low / 2) / (high / 2 - low / 2);
      rows.push({ trial, order: parameters.length, axis: objectives[0].name, position, text: "", value, status });
    }
    return rows;
  }

  slices() {
    const { trials, parameters } = this.data;
    const rows = [];
    for (const trial of this.trials()) {
      const value = this.value(trial, 0);
      if (value === null) continue;
      const status = this.status(trial);
      parameters.forEach((_, p) => {
        const text = this.text(trial, p);
        if (text !== null) rows.push({ trial, p, x: trials.numbers[p][trial], text, value, status });
      });
    }
    return rows;
  }

  spending() {
    const attempts = this.data.attempts;
    const winner = this.bestCompleted();
    const rows = Object.fromEntries(PARTS.map((part) => [part, { part, jobs: 0, iterations: 0, minutes: 0 }]));
    attempts.charged.forEach((charged, k) => {
      if (charged === null || charged > this.seq) return;
      const status = this.jobStatus.get(k);
      let part = PARTS.includes(status) ? status : "failed";
      if (part === "completed" && attempts.trial[k] === winner) part = "winner";
      rows[part].jobs += 1;
      rows[part].iterations += attempts.charge[k];
      rows[part].minutes += attempts.compute[k] / 60e6;
    });
    return PARTS.map((part) => rows[part]);
  }

  pareto() {
    if (this.data.objectives.length < 2) return [];
    const completed = this.trials().filter((t) => ["completed", "imported"].includes(this.status(t)));
    const front = new Set(AsOfEvent.front(completed, new Map(completed.map((t) => [t, this.costs(t)]))));
    const rows = [];
    for (const trial of completed) {
      const values = this.data.objectives.map((_, o) => this.value(trial, o));
      if (values.includes(null)) continue;
      const row = { trial, front: front.has(trial) };
      values.forEach((value, o) => { row[`v${o}`] = value; });
      rows.push(row);
    }
    return rows;
  }

  importance() {
    const { objective, parameter, importance } = this.data.importance;
    return objective.map((o, k) => ({ o, parameter: parameter[k], importance: importance[k] }));
  }
}

/** Give `data` what is computed once: the time of each event. */
function prepare(data) {
  let at = 0;
  data.times = data.events.at.map((step) => (at += step));
  return data;
}
