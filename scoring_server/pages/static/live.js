// The live strip: requests a second, latency and queue, from the server's own /metrics.

import { call } from "./api.js";
import { byId, duration } from "./dom.js";

const SECONDS = 2;
const POINTS = 60;

/** Show figures of the routes that predict, every two seconds while the page is looked at. */
export function showLive(predictionPaths) {
  const rates = [];
  let last = null;

  async function look() {
    if (document.visibilityState === "visible") {
      const now = await figures(predictionPaths);
      if (now !== null) {
        show(now, last, rates);
        last = now;
      }
    }
    setTimeout(look, SECONDS * 1000);
  }

  look();
}

/** The server's figures; null where it does not answer. */
async function figures(predictionPaths) {
  let text;
  try {
    const response = await call("metrics", { quiet: true });
    if (!response.ok) return null;
    text = await response.text();
  } catch {
    return null;
  }
  const found = { at: performance.now(), requests: 0, seconds: 0, buckets: new Map() };
  for (const line of text.split("\n")) {
    const [, name, labels, value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined) continue;
    const route = /route="([^"]*)"/.exec(labels ?? "")?.[1];
    if (route !== undefined && !predictionPaths.includes(route)) continue;
    const number = Number(value);
    if (name === "launcher_request_duration_seconds_count") found.requests += number;
    else if (name === "launcher_request_duration_seconds_sum") found.seconds += number;
    else if (name === "launcher_request_duration_seconds_bucket") {
      const bound = Number(/le="([^"]*)"/.exec(labels)[1].replace("+Inf", "Infinity"));
      found.buckets.set(bound, (found.buckets.get(bound) ?? 0) + number);
    } else if (name === "launcher_queue_depth") found.queue = number;
    else if (name === "launcher_workers") found.workers = number;
  }
  return found;
}

function show(now, last, rates) {
  byId("live-queue").textContent = now.queue;
  byId("live-workers").textContent = now.workers;
  // A restart of the server counts from nothing.
  const since = last !== null && last.requests <= now.requests ? last : null;
  if (since !== null) {
    const rate = (now.requests - since.requests) / ((now.at - since.at) / 1000);
    rates.push(rate);
    if (rates.length > POINTS) rates.shift();
    byId("live-rate").textContent = rate < 10 ? rate.toFixed(1) : Math.round(rate);
    drawChart(rates);
  }
  // Of the last interval; where nothing came in that, of all time.
  const base = since !== null && since.requests < now.requests ? since : null;
  const count = now.requests - (base?.requests ?? 0);
  if (count === 0) return;
  const mean = (now.seconds - (base?.seconds ?? 0)) / count;
  byId("live-mean").textContent = duration(mean * 1000);
  byId("live-high").textContent = quantile(now, base, 0.95 * count);
}

/** The bound under which so many requests were. */
function quantile(now, base, count) {
  const bounds = [...now.buckets.keys()].sort((a, b) => a - b);
  const bound = bounds.find((each) => now.buckets.get(each) - (base?.buckets.get(each) ?? 0) >= count);
  return Number.isFinite(bound) ? `≤ ${duration(bound * 1000)}` : "> 60 s";
}

function drawChart(rates) {
  const [area, line] = byId("live-chart").querySelectorAll("path");
  const highest = Math.max(1, ...rates);
  const points = rates.map((rate, place) => {
    const x = 120 - (rates.length - 1 - place) * (120 / (POINTS - 1));
    return `${x.toFixed(1)} ${(30 - 27 * (rate / highest)).toFixed(1)}`;
  });
  line.setAttribute("d", `M${points.join("L")}`);
  const first = points[0].split(" ")[0];
  area.setAttribute("d", `M${first} 32L${points.join("L")}L120 32Z`);
}
