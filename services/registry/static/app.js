// The plots, and forms that are sent once. All else on the pages works without scripts.
"use strict";

const COLOURS = 8;
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];
const NAMES = {
  auc: "AUC", auc_recent: "AUC, recent", log_loss: "Log loss", log_loss_recent: "Log loss, recent",
  rmse: "RMSE", rmse_recent: "RMSE, recent", mae: "MAE",
};
const REFRESH_MS = 10_000;
const PLOT_HEIGHT = 230;
const NEAR = 6;

/** A custom property as the colour that the scheme in force makes of it. */
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function palette() {
  const names = ["text", "soft", "line", "bad", "warn"].map((name) => [name, colour(`--${name}`)]);
  return { ...Object.fromEntries(names), lines: [...Array(COLOURS).keys()].map((i) => colour(`--c${i}`)) };
}

function number(value) {
  return value == null ? "–" : value.toPrecision(4);
}

/** All lines over one time axis; a version that a candidate has not is a gap that is bridged. */
function aligned(plot) {
  return uPlot.join(plot.lines.map((line) => [line.x, line.y]));
}

/** Incidents as bands up to where they were resolved, decisions as dashed lines. */
function drawMarks(chart, drawing, colours) {
  const { ctx } = chart;
  const { left, top, width, height } = chart.bbox;
  const place = (x) => Math.round(Math.min(Math.max(chart.valToPos(x, "x", true), left), left + width));
  const inside = (x) => x >= chart.scales.x.min && x <= chart.scales.x.max;
  ctx.save();
  for (const mark of drawing.incidents) {
    const end = mark.until ?? chart.scales.x.max;
    if (end < chart.scales.x.min || mark.x > chart.scales.x.max) continue;
    ctx.fillStyle = mark.kind === "critical" ? colours.bad : colours.warn;
    ctx.globalAlpha = 0.14;
    ctx.fillRect(place(mark.x), top, Math.max(place(end) - place(mark.x), 1), height);
    ctx.globalAlpha = 1;
    if (inside(mark.x)) ctx.fillRect(place(mark.x), top, 2 * devicePixelRatio, height);
  }
  ctx.strokeStyle = colours.text;
  ctx.fillStyle = colours.text;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
  for (const mark of drawing.decisions.filter((each) => inside(each.x))) {
    const x = place(mark.x);
    const size = 5 * devicePixelRatio;
    const tip = mark.kind === "promoted" || mark.kind === "released" ? top : top + 1.6 * size;
    const base = top + 1.6 * size - (tip - top);
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    ctx.beginPath();
    ctx.moveTo(x, tip);
    ctx.lineTo(x - size, base);
    ctx.lineTo(x + size, base);
    ctx.fill();
  }
  ctx.restore();
}

/** In words, the marks under the pointer. */
function told(chart, drawing) {
  const at = chart.cursor.left;
  if (at == null || at < 0) return "";
  const near = (mark) => Math.abs(chart.valToPos(mark.x, "x") - at) <= NEAR;
  return [...drawing.decisions, ...drawing.incidents].filter(near).map((mark) => mark.text).join(" · ");
}

/** Ticks in ISO form: the date where it changes, the time where ticks are closer than a day. */
function ticks(splits, step) {
  const time = step >= 60 ? "{HH}:{mm}" : step >= 1 ? "{HH}:{mm}:{ss}" : "{HH}:{mm}:{ss}.{fff}";
  const [day, clock] = [uPlot.fmtDate("{YYYY}-{MM}-{DD}"), uPlot.fmtDate(time)];
  let before = "";
  return splits.map((seconds) => {
    const at = utc(seconds);
    const changed = day(at) === before ? "" : day(at);
    before = day(at);
    return step >= 86_400 ? changed : [clock(at), changed].filter(Boolean).join("\n");
  });
}

function utc(seconds) {
  return uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");
}

function moment(_, seconds) {
  return seconds == null ? "newest" : uPlot.fmtDate("{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}")(utc(seconds));
}

/** The value under the pointer, else the newest. */
function shown(chart, value, series, index) {
  return number(index == null ? chart.data[series].findLast((each) => each != null) : value);
}

function options(plot, state, width, words) {
  const { colours } = state;
  const axis = {
    stroke: colours.soft, font: "12px system-ui, sans-serif",
    grid: { stroke: colours.line, width: 1 }, ticks: { stroke: colours.line, width: 1 },
  };
  const lines = plot.lines.map((line, i) => ({
    label: line.candidate, stroke: colours.lines[i % COLOURS], dash: DASHES[i % DASHES.length], width: 2,
    spanGaps: true, value: shown, points: { show: line.x.length < 3, size: 6 },
  }));
  return {
    width, height: PLOT_HEIGHT, tzDate: utc,
    scales: { x: { range: (_, min, max) => spread(min, max) } },
    axes: [
      { ...axis, space: 90, values: (_, splits, __, ___, step) => ticks(splits, step) },
      { ...axis, size: 58 },
    ],
    series: [{ label: "time", value: moment }, ...lines],
    hooks: {
      drawClear: [(chart) => drawMarks(chart, state.drawing, colours)],
      setCursor: [(chart) => { words.textContent = told(chart, state.drawing); }],
    },
  };
}

function spread(min, max) {
  if (min == null) return [0, 1];
  const margin = Math.max((max - min) * 0.02, 0.5);
  return [min - margin, max + margin];
}

function figure(plot) {
  const found = document.createElement("figure");
  found.className = "plot";
  found.append(document.createElement("figcaption"), document.createElement("div"), document.createElement("p"));
  found.firstChild.textContent = NAMES[plot.metric] ?? plot.metric;
  found.lastChild.className = "told";
  return found;
}

function draw(place, state) {
  state.charts.forEach((chart) => chart.destroy());
  place.replaceChildren(...state.drawing.plots.map(figure));
  state.colours = palette();
  state.charts = state.drawing.plots.map((plot, i) => {
    const [caption, target, words] = place.children[i].children;
    const chart = new uPlot(options(plot, state, target.clientWidth, words), aligned(plot), target);
    const newest = plot.lines.map((line) => `${line.candidate} ${number(line.y.at(-1))}`).join(", ");
    chart.root.querySelector("canvas").setAttribute("role", "img");
    chart.root.querySelector("canvas").setAttribute("aria-label", `${caption.textContent} over time; newest: ${newest}`);
    return chart;
  });
}

/** The same lines with newer points need no new charts. */
function renew(place, state, drawing) {
  const shape = (each) => JSON.stringify(each.plots.map((plot) => [plot.metric, plot.lines.map((line) => line.candidate)]));
  const isSame = state.charts.length > 0 && shape(state.drawing) === shape(drawing);
  state.drawing = drawing;
  if (!isSame) {
    draw(place, state);
    return;
  }
  state.charts.forEach((chart, i) => chart.setData(aligned(drawing.plots[i])));
}

async function follow(place) {
  const state = { charts: [], drawing: { plots: [] }, colours: {} };
  const load = async () => {
    const answer = await fetch(place.dataset.plots).catch(() => null);  // the registry is away: asked again
    if (answer?.ok) renew(place, state, await answer.json());
  };
  await load();
  setInterval(() => { if (!document.hidden) load(); }, REFRESH_MS);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(place, state));
  new ResizeObserver(() => {
    for (const chart of state.charts) {
      const width = chart.root.parentElement.clientWidth;
      if (width !== chart.width) chart.setSize({ width, height: PLOT_HEIGHT });
    }
  }).observe(place);
}

document.querySelectorAll("[data-plots]").forEach(follow);
document.querySelectorAll("form[data-once]").forEach((form) => {
  form.addEventListener("submit", () => { form.querySelector("button").disabled = true; });
});
window.addEventListener("pageshow", () => {
  document.querySelectorAll("form[data-once] button").forEach((button) => { button.disabled = false; });
});
