// How much changed in each pair of the sequence: one strip a layer, many pairs in a column.

const LABEL = 16, BARS = 32, GAP = 4, AXIS = 22; // heights in pixels
const SECONDS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600,
  7200, 14400, 28800, 86400];

const timeline = {canvas: byId("timeline"), still: document.createElement("canvas"), width: 0, bottom: 0};

function countOf(layer, pair) {
  if (layer === 2) return Math.max(0, pairs.larger[pair] - pairs.unmatched[pair]);
  return pairs[LAYERS[layer]][pair];
}

// Draw what stays the same while the position moves.
function drawTimeline() {
  const width = timeline.width = timeline.canvas.clientWidth;
  const most = [1, 2, 3].map((layer) => {
    return state.sequence.pairs.reduce((high, pair) => Math.max(high, countOf(layer, pair)), 0);
  });
  timeline.bottom = most.reduce((sum, count) => sum + LABEL + (count ? BARS + GAP : 0), 0);
  timeline.canvas.style.height = timeline.bottom + AXIS + "px";
  const context = prepare(timeline.still, width, timeline.bottom + AXIS);
  context.font = font(11);
  context.textBaseline = "top";
  let top = 0;
  most.forEach((count, index) => {
    const label = LAYERS[index + 1].replace("_", " ");
    context.fillStyle = ink("quiet");
    context.fillText(count ? `${label}, at most ${format(count)}` : `${label}: none`, 6, top + 2);
    if (count) drawStrip(context, index + 1, top + LABEL + BARS, count, width);
    top += LABEL + (count ? BARS + GAP : 0);
  });
  drawAxis(context, width);
  moveCursor();
}

function drawStrip(context, layer, bottom, most, width) {
  const shown = state.sequence.pairs, count = shown.length, scale = BARS / most;
  context.fillStyle = ink("rule");
  context.fillRect(0, bottom, width, 1);
  context.fillStyle = ink(COLORS[layer]);
  const columns = Math.min(count, Math.max(1, Math.floor(width)));
  for (let column = 0; column < columns; column++) {
    const from = Math.floor((column * count) / columns);
    const to = Math.max(from + 1, Math.floor(((column + 1) * count) / columns));
    let low = Infinity, high = 0;
    for (let i = from; i < to; i++) {
      const value = countOf(layer, shown[i]);
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const x = (column * width) / columns, wide = width / columns;
    const bar = wide > 4 ? wide - 1 : wide;
    context.globalAlpha = 0.4; // up to the most of these pairs
    context.fillRect(x, bottom - high * scale, bar, high * scale);
    context.globalAlpha = 1; // up to the least
    context.fillRect(x, bottom - low * scale, bar, low * scale);
  }
}

function areTimesKnown() {
  const shown = state.sequence.pairs;
  if (!pairs.time1) return false;
  for (let i = 0; i < shown.length; i++) {
    if (!Number.isFinite(timeOf(shown[i])) || (i && timeOf(shown[i]) < timeOf(shown[i - 1]))) return false;
  }
  return timeOf(shown[shown.length - 1]) > timeOf(shown[0]);
}

function drawAxis(context, width) {
  const shown = state.sequence.pairs, count = shown.length, top = timeline.bottom;
  const wanted = Math.max(1, Math.floor(width / 90));
  const ticks = []; // [index, label]
  if (areTimesKnown()) {
    const start = timeOf(shown[0]), length = timeOf(shown[count - 1]) - start;
    const step = SECONDS.find((s) => length / s <= wanted) || SECONDS[SECONDS.length - 1];
    for (let tick = Math.ceil(start / step - 1e-9), i = 0; i < count; tick++) {
      while (i < count && timeOf(shown[i]) < tick * step - 1e-6) i++;
      if (i < count) ticks.push([i, clock(tick * step, step)]);
    }
  } else {
    const power = 10 ** Math.floor(Math.log10(Math.max(1, count / wanted)));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => count / s <= wanted) || count;
    ticks.push([0, "1"]);
    for (let number = step; number <= count; number += step) {
      if (number > 1) ticks.push([number - 1, format(number)]);
    }
  }
  context.fillStyle = ink("quiet");
  let free = 0;
  for (const [index, text] of ticks) {
    const x = ((index + 0.5) * width) / count, half = context.measureText(text).width / 2;
    const left = Math.max(0, Math.min(width - 2 * half, x - half));
    if (left < free) continue;
    context.fillRect(Math.round(x), top - 3, 1, 4);
    context.fillText(text, left, top + 4);
    free = left + 2 * half + 10;
  }
}

// Seconds as people read them; the step between ticks tells how exactly.
function clock(seconds, step) {
  if (!Number.isFinite(seconds)) return "";
  const decimals = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  if (seconds < 60) return seconds.toFixed(decimals) + " s";
  const rest = (seconds % 60).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

function moveCursor() {
  const {canvas, still, width} = timeline;
  if (canvas.width !== still.width || canvas.height !== still.height) {
    canvas.width = still.width;
    canvas.height = still.height;
  }
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(still, 0, 0);
  const ratio = canvas.width / Math.max(1, width);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const count = state.sequence.pairs.length, wide = width / count;
  const x = state.at * wide, height = timeline.bottom - GAP;
  context.fillStyle = ink("ink");
  if (wide > 6) {
    context.globalAlpha = 0.1;
    context.fillRect(x, 0, wide, height);
    context.globalAlpha = 1;
  }
  context.fillRect(Math.min(width - 1.5, x + wide / 2 - 0.75), 0, 1.5, height);
}

function positionAt(clientX) {
  const box = timeline.canvas.getBoundingClientRect();
  const count = state.sequence.pairs.length;
  const index = Math.floor(((clientX - box.left) / box.width) * count);
  return Math.max(0, Math.min(count - 1, index));
}
