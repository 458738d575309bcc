// The side of the page: latency, what was left out, and errors of forecasts beside simple methods.

import { Chart } from "./charts.js";

const METHODS = { network: "#58a6ff", hold: "#97a1ad", constant_velocity: "#d29922", kalman: "#db6d28" };
const SHORT = { constant_velocity: "velocity", kalman: "Kalman" };
const short = (ms) => (ms < 10 ? ms.toFixed(1) : ms.toFixed(0));
const element = (id) => document.getElementById(id);

function eventLine({ kind, time_s, about }) {
  const line = document.createElement("li");
  line.textContent = `${time_s.toFixed(1)} s: ${kind === "size" ? "another size" : `camera ${kind}`} (${about})`;
  return line;
}

// A simple method takes over where it was better over the last minute.
function methodLine(method) {
  if (!method) return "";
  return method === "network" ? "the network forecasts now" : `${SHORT[method] ?? method} was better and forecasts now`;
}

export class Statistics {
  constructor() {
    this.latency = new Chart(element("latency-chart"), { p50: "#7ee787", p95: "#d29922", p99: "#ff6b5e" }, "ms");
    this.drops = new Chart(element("drops-chart"), { a_second: "#ff6b5e" }, "");
    this.errors = new Chart(element("error-chart"), METHODS, "");
    this.clear();
  }

  clear() {
    this.number = 0;
    this.before = null; // { at, total }
    for (const chart of [this.latency, this.drops, this.errors]) chart.points = [];
  }

  show(stats) {
    if (!stats || stats.number === this.number) return;
    this.number = stats.number;
    const at = performance.now() / 1000;
    this.latency.add(at, stats.latency_ms);
    const { p50, p95, p99 } = stats.latency_ms;
    element("latency").textContent = p50 === undefined ? "" : `p50 ${short(p50)} · p95 ${short(p95)} · p99 ${short(p99)} ms`;
    this.showDrops(at, stats.counters);
    element("events").replaceChildren(...(stats.events ?? []).map(eventLine));
    this.showErrors(at, stats.errors);
    element("method").textContent = methodLine(stats.method);
    element("counts").textContent =
      `${stats.frames} frames, ${stats.rate_hz} a second, ${stats.keyframes} keyframes, ${stats.estimator_calls} estimator calls`;
  }

  showDrops(at, counters) {
    const reasons = Object.entries(counters).filter(([name]) => /dropped|skipped|corrupt|failed/.test(name));
    const total = reasons.reduce((sum, [, count]) => sum + count, 0);
    const { before } = this;
    this.drops.add(at, { a_second: before ? Math.max(total - before.total, 0) / (at - before.at) : 0 });
    this.before = { at, total };
    element("drops").textContent = Object.entries(counters).map(([name, count]) => `${name.replaceAll("_", " ")} ${count}`).join(", ");
  }

  showErrors(at, rows) {
    if (!rows.length) return;
    const names = Object.keys(METHODS);
    const mean = (name) => rows.reduce((sum, row) => sum + row[name], 0) / rows.length;
    this.errors.add(at, Object.fromEntries(names.map((name) => [name, mean(name)])));
    const simple = Math.min(...names.slice(1).map(mean));
    element("error").textContent = `${(mean("network") / Math.max(simple, 1e-9)).toFixed(2)} of the best simple one's`;
    const table = element("errors");
    table.replaceChildren();
    const head = table.insertRow();
    for (const name of ["ahead", ...names]) {
      const cell = document.createElement("th");
      cell.textContent = SHORT[name] ?? name;
      head.append(cell);
    }
    for (const row of rows) {
      const line = table.insertRow();
      line.insertCell().textContent = `${Math.round(1000 * row.horizon_s)} ms`;
      const best = Math.min(...names.map((name) => row[name]));
      for (const name of names) {
        const cell = line.insertCell();
        cell.textContent = row[name].toFixed(3);
        if (row[name] === best) cell.className = "best";
      }
    }
  }
}
