// The list of the logs in a folder, as the server has it now.
"use strict";

const POLL_MS = 3000; // between two looks

function line(log) {
  const row = document.createElement("tr");
  const link = document.createElement("a");
  link.href = `log/${encodeURIComponent(log.id)}/`;
  link.textContent = log.name;
  const cells = [link, log.search, log.state, log.trials, log.problem || log.best, String(log.events), log.last];
  cells.forEach((content, k) => {
    const cell = document.createElement(k === 0 ? "th" : "td");
    if (k === 0) cell.scope = "row";
    cell.append(content);
    row.append(cell);
  });
  return row;
}

async function follow() {
  const said = document.getElementById("connection");
  for (;;) {
    try {
      const answer = await fetch("list");
      const logs = await answer.json();
      document.querySelector("#logs tbody").replaceChildren(...logs.map(line));
      document.getElementById("no-logs").hidden = logs.length > 0;
      said.textContent = `${logs.length} logs, live`;
    } catch {
      said.textContent = "the server does not answer; this page tries again";
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

follow();
